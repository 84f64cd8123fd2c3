"""`runs: {until: ...}`: a workflow whose time is over is completed when nobody is left in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.workflows.model import Workflow


def closes_at(workflow: Workflow) -> datetime | None:
    """From when on nobody enters any more: `until`, and the lateness that its events may have. None: it runs on."""
    if workflow.runs is None or workflow.runs.until is None:
        return None
    return workflow.runs.until + workflow.entry.max_lateness.elapsed()


def complete(conn: sa.Connection, closing: Mapping[str, datetime], now: datetime) -> list[str]:
    """Active workflows of `closing` (id -> `closes_at`) that are over at `now` and hold nobody become completed; returns them.

    To be called where a batch had nothing left to do: people who are due, or in the inbox, are still on their way.
    """
    over = {workflow: until for workflow, until in closing.items() if until <= now}
    if not over:
        return []
    return list(run_fixed(conn, "operations/complete", {"workflows": list(over), "untils": list(over.values())}).scalars())
