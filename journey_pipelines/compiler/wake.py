"""Waits for events: the wake of a round's event, the look into history on arriving, and the belt before a timeout.

All three ask the same question of an event: is it one of the wait's types, after the journey reached the step (or entered), not
after the timeout, with the same match key, and is `when` true. And of a closed task: is it one that is still waited for.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.scopes import context_of, event_scope, journey_scope, later, profile_of
from journey_pipelines.compiler.statement import FOREVER_SEQ, HIGH, LOW, ROUND, TS, Statement, compile_statement, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.expressions import compile_condition
from journey_pipelines.store.tables import customer_events, customer_journeys, interests, journey_transitions, workflow_steps
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import EventWait, Step

#: a place in a customer's history: (occurred_at, seq)
Place = tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]
#: answers to what a journey did: without `any` they have to belong to it
_OWN = ("message.", "webhook.", "task.")
TASK_DONE = "task.done"


def waits_until(journey: Any) -> Place:
    """Up to and with when a journey's wait for an event lasts: a release moves it to later, and what came meanwhile came too late."""
    released = journey.c.due_was.is_not(None)
    return sa.func.coalesce(journey.c.due_was, journey.c.due_at), sa.case((released, FOREVER_SEQ), else_=journey.c.due_seq)


def accepts(
    wait: EventWait,
    event: Any,
    journey: Any,
    context: Any,
    profile: Any,
    around: Surroundings,
    types: Mapping[str, str],
    *,
    until: Place,
) -> list[sa.ColumnElement[bool]]:
    """Conditions on `event` (columns seq, type, occurred_at, payload, journey_id) for a journey that waits up to and with `until`."""
    since = (journey.c.entered_at, journey.c.entered_seq) if wait.since == "entry" else (journey.c.at, journey.c.at_seq)
    where: list[sa.ColumnElement[bool]] = [
        event.c.type.in_(wait.events),
        later((event.c.occurred_at, event.c.seq), since),
        sa.tuple_(event.c.occurred_at, event.c.seq) <= sa.tuple_(*until),
    ]
    ours = sorted(t for t in wait.events if t.startswith(_OWN))
    if ours and not wait.any:
        where.append(sa.or_(event.c.type.not_in(ours), event.c.journey_id == journey.c.id))
        if TASK_DONE in ours:
            where.append(sa.or_(event.c.type != lit(TASK_DONE), ~_given_up(event, journey)))
    if wait.match:
        key = sa.literal(wait.match, sa.Text)
        where.append(sa.func.journeys.present(event.c.payload.op("->")(key)) == sa.func.journeys.present(context.c.event.op("->")(key)))
    if wait.when:
        at = (event.c.occurred_at, event.c.seq)
        scope = journey_scope(journey, profile, context, event_scope(event), at, around.brand, types)
        where.append(compile_condition(wait.when, scope).sql)
    return where


def _given_up(event: Any, journey: Any) -> sa.ColumnElement[bool]:
    """Whether the journey has left a wait for tasks without one since the task was made: who closes it now answers what is over."""
    x, s, n = journey_transitions, workflow_steps, interests
    made = sa.func.journeys.ts(event.c.payload.op("->")(sa.literal("created_at", sa.Text)), type_=TS)
    arrived = x.c.detail.op("->>")(sa.literal("arrived", sa.Text))
    return (
        sa.exists()
        .where(
            x.c.journey_id == journey.c.id,
            x.c.at > made,
            x.c.why != lit("retried"),
            arrived.is_distinct_from(lit(TASK_DONE)),
            s.c.workflow_id == x.c.workflow_id,
            s.c.version == x.c.version,
            s.c.step_key == x.c.from_step,
            n.c.event_type == lit(TASK_DONE),
            n.c.kind == lit("wake"),
            n.c.statement_uid == s.c.step_uid,
        )
        .correlate_except(x, s, n)
    )


def history_of_wait(
    wait: EventWait, journey: Any, context: Any, profile: Any, around: Surroundings, types: Mapping[str, str], until: Place, only: Any
) -> LateralFromClause:
    """The first event of the history that the wait accepts; `only` says for which journeys to look at all."""
    e = customer_events.alias("e")
    return (
        sa.select(e.c.seq, e.c.type, e.c.occurred_at, e.c.payload)
        .where(only, e.c.customer_id == journey.c.customer_id, *accepts(wait, e, journey, context, profile, around, types, until=until))
        .order_by(e.c.occurred_at, e.c.seq)
        .limit(lit(1))
        .lateral("belt")
    )


@kept
def wake_statement(definition: Definition, step: Step, step_uid: int, around: Surroundings) -> Statement:
    """Journeys of any version at this step whose event came: due at once, at the event's place in time, or their own where that is later.

    Held journeys are woken too: what happened is recorded, they go on when released.
    """
    assert isinstance(step.wait, EventWait)
    b, t = batch_events, customer_journeys
    j = (
        sa.select(t)
        .where(
            t.c.customer_id == b.c.customer_id,
            t.c.status == lit("active"),
            t.c.step_uid == sa.literal_column(str(step_uid), sa.BigInteger),
            t.c.arrived_seq.is_(None),
        )
        .offset(lit(0))
        .lateral("j")
    )
    context, profile = context_of(j.c.id), profile_of(b.c.customer_id)
    source: Any = b.join(j, sa.true())
    if step.wait.match or step.wait.when:
        source = source.outerjoin(context, sa.true()).outerjoin(profile, sa.true())
    # `since: entry` takes a late event from before the step: a journey's clock never goes back (engine.md, 1)
    ahead = later((j.c.at, j.c.at_seq), (b.c.occurred_at, b.c.seq))
    hit = (
        sa.select(
            j.c.id,
            b.c.seq,
            b.c.depth,
            sa.case((ahead, j.c.at), else_=b.c.occurred_at).label("due_at"),
            sa.case((ahead, j.c.at_seq), else_=b.c.seq).label("due_seq"),
        )
        .select_from(source)
        .where(b.c.round == ROUND, b.c.seq.between(LOW, HIGH))
        .where(*accepts(step.wait, b, j, context, profile, around, definition.catalogue, until=waits_until(j)))
        .cte("hit")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    woken = (
        sa.update(t)
        .where(t.c.id == hit.c.id)
        .values(due_at=hit.c.due_at, due_seq=hit.c.due_seq, arrived_seq=hit.c.seq, depth=hit.c.depth)
        .returning(t.c.id)
        .cte("woken")
    )
    return compile_statement(
        f"{definition.workflow.id}/{step.id}: wake",
        sa.select(sa.select(sa.func.count()).select_from(woken).scalar_subquery().label("woken")),
    )
