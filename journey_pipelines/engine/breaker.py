"""The breaker: where many times more people enter a workflow than it is used to, its sends are held until a person has looked.

A trigger that fires for everybody, or an app that writes an event a thousand times, must not become a thousand messages. Journeys go on,
nothing is sent. Only `journeys release` ends it. A workflow without any entry in the seven days before has nothing to be compared with,
and is not held.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.store.moment_tables import operator_holds
from journey_pipelines.workflows.project import Breaker

HELD_BY = "breaker"


def check_breaker(conn: sa.Connection, entered: Mapping[str, Mapping[datetime, int]], now: datetime, breaker: Breaker) -> list[str]:
    """After `limits.note_entries` of the same batch, with the same `entered`: hold the dispatch of workflows that let in too many within
    an hour, by the entries' own times. Returns them. One question for all where nobody comes near `minimum`.
    """
    latest = {workflow: max(minutes) for workflow, minutes in entered.items() if minutes}
    if not latest:
        return []
    given = {"workflows": list(latest), "ats": list(latest.values()), "minimum": breaker.minimum, "now": now}
    held = []
    for row in run_fixed(conn, "operations/last_hour", given).all():
        usual = run_fixed(conn, "operations/usual_hours", {"workflow": row.workflow_id, "at": row.at}).one()
        if usual.hours and row.entrants > breaker.factor * usual.mean:
            _hold(conn, row.workflow_id, _why(row.entrants, usual.mean, usual.hours, breaker.factor), now)
            held.append(row.workflow_id)
    return held


def _why(entrants: int, mean: float, hours: int, factor: float) -> str:
    usual = f"{mean:,.1f} an hour (mean of the {hours} hours with entries in the last 7 days)"
    return f"{entrants:,} entered within an hour, more than {factor:g} times the usual {usual}"


def _hold(conn: sa.Connection, workflow_id: str, why: str, now: datetime) -> None:
    row = {"workflow_id": workflow_id, "what": "dispatch", "why": why, "held_by": HELD_BY, "held_at": now}
    # another worker may have held it in the same moment
    conn.execute(insert(operator_holds).values(row).on_conflict_do_nothing())
