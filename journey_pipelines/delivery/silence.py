"""Workflows from which nothing is sent for now: drafts, paused ones, and those an operator or the breaker holds.

Their messages wait and are no reason for a doorbell; what expires meanwhile is not sent later. Archived and completed workflows drain.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from journey_pipelines.store.moment_tables import operator_holds
from journey_pipelines.store.tables import automation_workflows


def silent_workflows() -> sa.Select[Any]:
    """Their ids, one column; a few rows of two small tables, asked once per statement."""
    w, h = automation_workflows.c, operator_holds.c
    open_hold = (
        sa.exists().where(h.released_at.is_(None), sa.or_(h.workflow_id.is_(None), h.workflow_id == w.id)).correlate(automation_workflows)
    )
    # states as literals, as the gate writes them
    halted = w.status.in_([sa.literal_column("'draft'"), sa.literal_column("'paused'")])
    return sa.select(w.id).where(w.is_current, sa.or_(halted, open_hold))
