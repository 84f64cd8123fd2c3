"""Assets: what the engine makes, as Dagster sees it, and the checks on it.

An asset body reads its config, calls one function of the engine and reports its figures. Decisions about people, SQL that moves rows and
anything that sends do not belong here; neither do the reports (`reports.assets`) or sending (`journey_pipelines.ops`).
"""
