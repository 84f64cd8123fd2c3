"""Where rows live: table definitions, migrations, connections, the engine's clock, the zone table, the embedded server.

Not here: what rows mean. Engine, delivery and intake write them; nothing in this folder knows a workflow, and nothing
here imports Dagster.
"""
