"""What every statement that moves or ends journeys writes beside them: the log of transitions and the admission rows."""

from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.statement import NOW, TS
from journey_pipelines.store.tables import journey_admissions, journey_transitions


def transitions(moves: Any) -> sa.CTE:
    """One row of `journey_transitions` per row of `moves` (id, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq,
    why, detail)."""
    m = moves.c
    names = ["workflow_id", "version", "customer_id", "visit", "from_step", "to_step", "at", "at_seq", "why", "detail"]
    return (
        sa.insert(journey_transitions)
        .from_select(
            ["journey_id", "recorded_at", *names],
            sa.select(m.id, NOW, *(m[name] for name in names)),
        )
        .returning(journey_transitions.c.journey_id)
        .cte("logged")
    )


def end_admissions(moves: Any) -> sa.CTE:
    """Those of `moves` without to_step give their admission back; several journeys of one key in one statement count each."""
    m, a = moves.c, journey_admissions
    ended = (
        sa.select(m.workflow_id, m.customer_id, m.entry_key, sa.func.count().label("n"), sa.func.max(m.at, type_=TS).label("at"))
        .where(m.to_step.is_(None))
        .group_by(m.workflow_id, m.customer_id, m.entry_key)
        .subquery("gone")
    )
    return (
        sa.update(a)
        .where(a.c.workflow_id == ended.c.workflow_id, a.c.customer_id == ended.c.customer_id, a.c.entry_key == ended.c.entry_key)
        .values(active=a.c.active - ended.c.n, last_ended_at=sa.func.greatest(a.c.last_ended_at, ended.c.at))
        .returning(a.c.customer_id)
        .cte("released")
    )
