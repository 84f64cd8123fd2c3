"""Arriving at a step whose wait is more than a length of time: when it is due is computed here, once.

No transition is written: the journey is at the step already, this only sets what it waits for. Who was held on the way here and released
later keeps the instant of the release where the wait is over by then, and what `on_resume` said.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.best_time import best_time
from journey_pipelines.compiler.calendar_dates import date_of
from journey_pipelines.compiler.claim import count_of
from journey_pipelines.compiler.scopes import context_of, journey_scope, later, profile_of
from journey_pipelines.compiler.statement import FOREVER_SEQ, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.waits import cap_of, capped, step_of
from journey_pipelines.compiler.wake import history_of_wait
from journey_pipelines.compiler.wall import after
from journey_pipelines.compiler.windows import opening
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.store.tables import customer_journeys
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import AfterWait, DateWait, EventWait, Step

_A_DAY = Duration.parse("24 hours")


def arrival(definition: Definition, step: Step, due: sa.CTE, around: Surroundings) -> sa.Select[Any]:
    """From the journeys in `due` (see `claim`), which have just reached the step, to those that wait there."""
    d, t, types = due.c, customer_journeys, definition.catalogue
    profile, context = profile_of(d.customer_id), context_of(d.id)
    target = step_of(d.workflow_id, d.version, sa.literal(step.id, sa.Text))
    source: Any = due.join(target, sa.true()).outerjoin(profile, sa.true())
    if not isinstance(step.wait, AfterWait):
        source = source.outerjoin(context, sa.true())
    scope = journey_scope(due, profile, context, None, (d.at, d.at_seq), around.brand, types)
    arrived: Any = sa.cast(sa.null(), sa.BigInteger)
    at: Any
    seq: Any = FOREVER_SEQ
    match step.wait:
        case AfterWait() as wait:
            base = after(d.at, wait.after, scope.zone)
            open_ = opening(wait, base.at, scope.zone)
            source, at = open_.joined(base.joined(source)), open_.at
            if wait.best_time:
                best = best_time(open_.at, (wait.within or _A_DAY).elapsed(), scope)
                source, at = best.joined(source), best.at
        case DateWait() as wait:
            date = date_of(wait, scope)
            source = date.joined(source)
            ahead = date.at > d.at
            at, seq = sa.case((ahead, date.at), else_=d.at), sa.case((ahead, FOREVER_SEQ), else_=d.at_seq)
        case EventWait() as wait:
            timeout = after(d.at, wait.timeout, scope.zone)
            # What came between entry and now, in logical time: history up to the journey's own place. Who was held at the door was not
            # there for what came meanwhile.
            held = d.due_was.is_not(None)
            until = sa.case((held, sa.func.least(timeout.at, d.due_at)), else_=d.at), sa.case((held, FOREVER_SEQ), else_=d.at_seq)
            e = history_of_wait(wait, due, context, profile, around, types, until, sa.true())
            source, arrived = timeout.joined(source).outerjoin(e, sa.true()), e.c.seq
            before = arrived.is_not(None) & ~later((e.c.occurred_at, e.c.seq), (d.at, d.at_seq))
            at = sa.case((before, d.at), (arrived.is_not(None), e.c.occurred_at), else_=timeout.at)
            seq = sa.case((before, d.at_seq), (arrived.is_not(None), arrived), else_=FOREVER_SEQ)
        case _:
            raise AssertionError(f"step {step.id} needs no statement for those who arrive")
    ready = (
        sa.select(
            d.id,
            target.c.step_uid,
            d.due_at.label("released_at"),
            d.due_was.is_not(None).label("released"),
            d.skip,
            capped(at, d.at, cap_of(definition.workflow, d.entered_at)).label("due_at"),
            seq.label("due_seq"),
            arrived.label("arrived_seq"),
        )
        .select_from(source)
        .cte("ready")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    r = ready.c
    overdue = sa.and_(r.released, r.due_at <= r.released_at)
    found = (
        sa.select(
            r.id,
            r.step_uid,
            r.arrived_seq,
            sa.case((overdue, r.released_at), else_=r.due_at).label("due_at"),
            sa.case((overdue, FOREVER_SEQ), else_=r.due_seq).label("due_seq"),
            sa.case((overdue, r.due_at)).label("due_was"),
            sa.and_(r.skip, overdue).label("skip"),
        )
        .select_from(ready)
        .cte("found")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    f = found.c
    names = ("step_uid", "arrived_seq", "due_at", "due_seq", "due_was", "skip")
    moved = sa.update(t).where(t.c.id == f.id).values({name: f[name] for name in names}).returning(t.c.id).cte("moved")
    none = (lit(0).label(name) for name in ("ended", "planned", "conflicts"))
    return sa.select(count_of(due).label("due"), count_of(moved).label("moved"), *none)
