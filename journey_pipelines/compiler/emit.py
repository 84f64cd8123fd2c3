"""What journeys tell the rest of the engine: events in the inbox, taken within the batch that wrote them.

An effect comes right after its cause: at the cause's instant, where its own seq puts it behind; where the cause is a moment or a timer,
whose places are behind all events of their instant, one microsecond later. `depth` counts effects in a row at one instant: take refuses
what is deeper than its limit, so that two workflows that start each other cannot stop the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.compiler.candidates import hashed
from journey_pipelines.compiler.statement import lit
from journey_pipelines.store.tables import event_inbox
from journey_pipelines.workflows.triggers import STARTED, enter_event, exit_event

_COLUMNS = ["source", "customer_id", "type", "occurred_at", "received_at", "payload", "causation_id", "depth", "journey_id"]
#: the columns of `facts` and `moves` that effects read, beside id, customer_id, at, at_seq
CAUSE = ("entered_at", "entered_seq", "depth")


def effect_time(at: sa.ColumnElement[Any], at_seq: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """When an effect of what happened at (at, at_seq) happens. Moments and timers have places above those of all events."""
    moment = sa.literal(timedelta(microseconds=1), sa.Interval())
    return sa.case((at_seq >= sa.literal_column(str(1 << 60), sa.BigInteger), at + moment), else_=at)


def effect_depth(rows: Any) -> sa.ColumnElement[Any]:
    """One more than that of what moved the journey last; a timer starts anew (`facts`)."""
    return sa.cast(rows.depth + lit(1), sa.SmallInteger)


def event_rows(
    rows: Any,
    type_: sa.ColumnElement[Any],
    payload: sa.ColumnElement[Any],
    where: Sequence[sa.ColumnElement[bool]] = (),
    *,
    cause: sa.ColumnElement[Any] | None = None,
) -> sa.Select[Any]:
    """One event per row (id, customer_id, at, at_seq and CAUSE); `cause`: the event that led to it, else the one that entered."""
    r = rows.c
    at = effect_time(r.at, r.at_seq)
    return sa.select(
        lit("engine").label("source"),
        r.customer_id,
        type_.label("type"),
        at.label("occurred_at"),
        at.label("received_at"),
        payload.label("payload"),
        sa.func.coalesce(cause, r.entered_seq, type_=sa.BigInteger).label("causation_id") if cause is not None else r.entered_seq,
        effect_depth(r).label("depth"),
        r.id.label("journey_id"),
    ).where(*where)


def written(selects: Sequence[sa.Select[Any]], name: str = "emitted") -> sa.CTE | None:
    """All events of a statement in one INSERT; None where there are none."""
    if not selects:
        return None
    union = sa.union_all(*selects) if len(selects) > 1 else selects[0]
    return sa.insert(event_inbox).from_select(_COLUMNS, union).returning(event_inbox.c.id).cte(name)


def entered_events(workflow_id: Any, version: Any, candidates: Any, entered: Any) -> sa.CTE:
    """`journey.entered`, right after the event that entered."""
    c, e = candidates.c, entered.c
    at = effect_time(c.occurred_at, c.seq)
    payload = sa.func.jsonb_build_object(
        *_pairs({"workflow": workflow_id, "version": version, "trigger": c.trigger_id, "entry_key": c.entry_key}), type_=JSONB
    )
    rows = (
        sa.select(
            lit("engine"), c.customer_id, lit("journey.entered"), at, at, payload, c.seq, sa.cast(c.depth + lit(1), sa.SmallInteger), e.id
        )
        .select_from(hashed(candidates, entered))
        .where(sa.func.coalesce(e.customer_id, lit("")) != lit(""))
    )
    return sa.insert(event_inbox).from_select(_COLUMNS, rows).returning(event_inbox.c.id).cte("emitted")


def ended_events(moves: Any, named: frozenset[str]) -> list[sa.Select[Any]]:
    """`journey.ended` for those of `moves` without to_step (columns: trigger_id, entry_key, from_step, why and CAUSE)."""
    if "journey.ended" not in named:
        return []
    m = moves.c
    payload = sa.func.jsonb_build_object(
        *_pairs({"workflow": m.workflow_id, "version": m.version, "trigger": m.trigger_id, "entry_key": m.entry_key}),
        *_pairs({"step": m.from_step, "exit_reason": m.why}),
        type_=JSONB,
    )
    return [event_rows(moves, lit("journey.ended"), payload, [m.to_step.is_(None)])]


def started(
    rows: Any, workflow_id: str, payload: sa.ColumnElement[Any], where: Sequence[sa.ColumnElement[bool]], cause: Any
) -> sa.Select[Any]:
    """start_workflow: the target is asked to take the customer in."""
    trigger = sa.func.jsonb_build_object(*_pairs({"trigger": lit(STARTED)}), type_=JSONB)
    return event_rows(
        rows, sa.literal(enter_event(workflow_id), sa.Text), payload.op("||", return_type=JSONB())(trigger), where, cause=cause
    )


def let_go(rows: Any, workflow_id: str, where: Sequence[sa.ColumnElement[bool]], cause: Any) -> sa.Select[Any]:
    """exit_workflow: the target is asked to let the customer go."""
    payload = sa.func.jsonb_build_object(*_pairs({"by": lit("exit_workflow")}), type_=JSONB)
    return event_rows(rows, sa.literal(exit_event(workflow_id), sa.Text), payload, where, cause=cause)


def _pairs(values: Mapping[str, sa.ColumnElement[Any]]) -> list[sa.ColumnElement[Any]]:
    return [part for key, value in values.items() for part in (lit(key), value)]
