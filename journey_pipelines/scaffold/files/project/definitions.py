"""The Dagster code location: the workflows of `workflow_defs`, and what runs and reports them.

Beside what you have already: defs = dg.Definitions.merge(yours, build_definitions(...)); let only `defs` stand at the top of this file.
"""

from pathlib import Path

from journey_pipelines.definitions import build_definitions

defs = build_definitions(Path(__file__).parent / "workflow_defs")
