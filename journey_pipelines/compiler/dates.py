"""Dates that move: waits that follow their date, and when a date trigger fires next.

Both are run for a round's customers of whom something changed that the date is read from; the arithmetic is that of `calendar_dates`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.calendar_dates import date_of, next_date_of
from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.moments import planned_moments
from journey_pipelines.compiler.people import customer_scope
from journey_pipelines.compiler.relevance import relevance_of
from journey_pipelines.compiler.scopes import context_of, journey_scope, later, profile_of
from journey_pipelines.compiler.statement import DEFAULT_ZONE, FOREVER_SEQ, HIGH, LOW, ROUND, TS, Statement, compile_statement, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.waits import cap_of, capped
from journey_pipelines.store.moment_tables import customer_moments
from journey_pipelines.store.tables import customer_journeys
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import DateTrigger, DateWait, Step


@kept
def follow_statement(definition: Definition, step: Step, uid: int, around: Surroundings) -> Statement:
    """Journeys of any version that wait at this step for a date that is another now: due then, or, if it has gone by, at the round's row.

    No transition: they are where they were. Held journeys follow too: they go on when released. `followed` counts those moved.
    """
    wait = step.wait
    assert isinstance(wait, DateWait)
    b, t = batch_events, customer_journeys
    j = (
        sa.select(t)
        .where(
            t.c.customer_id == b.c.customer_id,
            t.c.status == lit("active"),
            t.c.step_uid == sa.literal_column(str(uid), sa.BigInteger),
        )
        .offset(lit(0))
        .lateral("j")
    )
    context, profile = context_of(j.c.id), profile_of(b.c.customer_id)
    # a late event is looked at from where the journey is: its clock never goes back (engine.md, 1)
    ahead = later((j.c.at, j.c.at_seq), (b.c.occurred_at, b.c.seq))
    place = (sa.case((ahead, j.c.at), else_=b.c.occurred_at), sa.case((ahead, j.c.at_seq), else_=b.c.seq))
    scope = journey_scope(j, profile, context, None, place, around.brand, definition.catalogue)
    date = date_of(wait, scope)
    ahead_of_us = date.at > place[0]
    due = capped(sa.case((ahead_of_us, date.at), else_=place[0]), j.c.at, cap_of(definition.workflow, j.c.entered_at))
    # what it was planned for, before a release moved it
    planned = sa.func.coalesce(j.c.due_was, j.c.due_at, type_=TS)
    found = (
        sa.select(
            j.c.id,
            due.label("due_at"),
            sa.case((ahead_of_us, FOREVER_SEQ), else_=place[1]).label("due_seq"),
            planned.label("planned"),
            ahead_of_us.is_(sa.true()).label("ahead"),
        )
        .select_from(date.joined(b.join(j, sa.true()).outerjoin(context, sa.true()).outerjoin(profile, sa.true())))
        .where(b.c.round == ROUND, b.c.seq.between(LOW, HIGH), relevance_of([wait.date], definition.catalogue).with_keys("timezone").rows())
        .cte("found")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    f = found.c
    moved = (
        sa.update(t)
        # who is due already, for a date that has gone by, stays so
        .where(t.c.id == f.id, f.due_at != f.planned, sa.or_(f.ahead, f.due_at < f.planned))
        .values(due_at=f.due_at, due_seq=f.due_seq, due_was=sa.null(), skip=sa.false())
        .returning(t.c.id)
        .cte("moved")
    )
    return compile_statement(
        f"{definition.workflow.id}/{step.id}: follow",
        sa.select(sa.select(sa.func.count()).select_from(moved).scalar_subquery().label("followed")),
    )


def plan_statement(
    definition: Definition, trigger: DateTrigger, uid: int, around: Surroundings, rows: Any, *, in_round: bool = False
) -> Statement:
    """When the trigger fires next for each of `rows` (customer_id, shard, at, at_seq: one a customer): strictly after `at`.

    Written to `customer_moments`; who had a plan and has no such date any more gets 'infinity'. `dated` counts what changed.
    """
    t, r = customer_moments, rows.c
    ref = f"{definition.workflow.id}.{trigger.id}"
    profile = profile_of(r.customer_id)
    zone = sa.func.coalesce(profile.c.zone, DEFAULT_ZONE)
    date = next_date_of(trigger, customer_scope(rows, profile, zone, around.brand, definition.catalogue))
    kind, name = lit("date"), sa.literal(ref, sa.Text)
    had_one: sa.ColumnElement[bool] = (
        sa.exists().where(t.c.customer_id == r.customer_id, t.c.kind == kind, t.c.ref == name).correlate_except(t)
    )
    if in_round:
        # a plan whose time has come in this batch has left the queue already
        b = batch_events
        had_one = sa.or_(had_one, sa.exists().where(b.c.customer_id == r.customer_id, b.c.type == f"date:{ref}").correlate_except(b))
    dated = (
        sa.select(r.customer_id, r.shard, r.received_at, date.at.label("at"), had_one.label("had_one"))
        .select_from(date.joined(rows.outerjoin(profile, sa.true())))
        .cte("dated")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    d = dated.c
    never = sa.cast(lit("infinity"), TS)
    plans = sa.select(d.customer_id, kind, name, d.shard, sa.func.coalesce(d.at, never, type_=TS), d.received_at).where(
        sa.or_(d.at.is_not(None), d.had_one)
    )
    count = sa.select(sa.func.count()).select_from(planned_moments(plans, "planned"))
    return compile_statement(f"{ref}: plan", sa.select(count.scalar_subquery().label("dated")))
