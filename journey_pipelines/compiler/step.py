"""One statement per step: claim what is due, evaluate, write the ledger and the log, move.

Two ways to claim, the same otherwise: `scan` takes what is due in the worker's shards, `chosen` takes journeys by id (a round's
timers and woken journeys, and the halves of a batch that failed).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.compiler import actions as acts
from journey_pipelines.compiler.details import json_object, null_json
from journey_pipelines.compiler.journeys import end_admissions, transitions
from journey_pipelines.compiler.route import assignments, branch_target, logged_arm, split_target
from journey_pipelines.compiler.scopes import context_of, event_of, journey_scope, profile_of
from journey_pipelines.compiler.statement import IDS, LIMIT, NOW, SHARDS, TS, Statement, compile_statement, lit
from journey_pipelines.compiler.waits import due_of, step_of
from journey_pipelines.compiler.wake import history_of_wait
from journey_pipelines.expressions import EventScope
from journey_pipelines.store.tables import customer_journeys
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import END, EventWait, Step


@dataclass(frozen=True)
class StepStatements:
    """A step's program: advance what is due, by scan or by id."""

    uid: int
    scan: Statement
    chosen: Statement


def step_statements(
    definition: Definition, step: Step, uid: int, brand: Mapping[str, Any], expires: Mapping[str, timedelta]
) -> StepStatements:
    """Compile the advance of one step for the journeys that carry `uid`."""
    name = f"{definition.workflow.id}/{step.id}: advance"
    return StepStatements(
        uid,
        compile_statement(name, _advance(definition, step, _due(uid, step, by_id=False), brand, expires)),
        compile_statement(name, _advance(definition, step, _due(uid, step, by_id=True), brand, expires)),
    )


def arrive_statements(definition: Definition, step: Step, uid: int, brand: Mapping[str, Any]) -> StepStatements:
    """For `since: entry`: an event that came before the journey reached the step ends the wait at once."""
    name = f"{definition.workflow.id}/{step.id}: arrive"
    return StepStatements(
        uid,
        compile_statement(name, _arrive(definition, step, _due(uid, step, by_id=False), brand)),
        compile_statement(name, _arrive(definition, step, _due(uid, step, by_id=True), brand)),
    )


def _due(uid: int, step: Step, *, by_id: bool) -> sa.CTE:
    """The journeys of this statement; every journey column of it comes from here (engine.md, 8)."""
    t = customer_journeys
    # by id through the primary key and nothing else: without statistics the planner would rather read everybody parked at the step
    given = sa.func.unnest(IDS).table_valued(sa.column("id", sa.BigInteger)).render_derived("given")
    j = sa.select(t).where(t.c.id == given.c.id).limit(lit(1)).lateral("j") if by_id else t
    query = sa.select(
        j.c.id, j.c.customer_id, j.c.shard, j.c.workflow_id, j.c.version, j.c.entry_key, j.c.trigger_id, j.c.visit, j.c.held_out,
        j.c.entered_at, j.c.entered_seq, j.c.at, j.c.at_seq, j.c.due_at, j.c.due_seq, j.c.arrived_seq,
    ).where(
        j.c.step_uid == sa.literal_column(str(uid), sa.BigInteger), j.c.status == lit("active"), j.c.held_at.is_(None)
    )
    if by_id:
        query = query.select_from(given.join(j, sa.true()))
    else:
        query = query.where(j.c.due_at <= NOW, j.c.shard == sa.any_(SHARDS)).order_by(j.c.due_at).limit(LIMIT)
    due = query.cte("due").prefix_with("MATERIALIZED", dialect="postgresql")
    if not any(action.kind in acts.CUSTOMER_KINDS for action in step.do):
        return due
    d = due.c
    return (
        sa.select(due)
        .distinct(d.customer_id)
        .order_by(d.customer_id, d.due_at, d.due_seq, d.id)
        .cte("due_one_each")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )


def _advance(definition: Definition, step: Step, due: sa.CTE, brand: Mapping[str, Any], expires: Mapping[str, timedelta]) -> sa.Select[Any]:
    facts = _facts(definition, step, due, brand)
    f = facts.c
    target = step_of(f.workflow_id, f.version, f.target)
    due_time = due_of(target, f.customer_id, f.at, f.at_seq)
    moves = (
        sa.select(
            f.id,
            f.workflow_id,
            f.version,
            f.customer_id,
            f.entry_key,
            f.visit,
            sa.literal(step.id, sa.Text).label("from_step"),
            target.c.step_key.label("to_step"),
            target.c.entry_uid,
            f.at,
            f.at_seq,
            due_time.at.label("due_at"),
            due_time.seq.label("due_seq"),
            # a target that the version does not hold cannot be (deploy writes all of them), END is the only name without a row
            sa.case((f.target == lit(END), lit("completed")), else_=f.why).label("why"),
            f.detail,
        )
        .select_from(due_time.joined(facts.outerjoin(target, sa.true())))
        .where(sa.or_(target.c.step_key.is_not(None), f.target == lit(END)))
        .cte("moves")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    extra: list[sa.CTE] = [transitions(moves)]
    if END in step.next.targets():
        extra.append(end_admissions(moves))
    if step.next.split is not None:
        extra.append(assignments(definition, step, facts))
    ledger = acts.ledger(definition.workflow, step.id, step.do, facts, expires)
    extra += ledger[1:]
    extra += [cte for cte in (acts.task_rows(step.id, step.do, facts), acts.action_log(step.id, step.do, facts)) if cte is not None]
    moved = _move(moves)
    columns = [
        _count(due).label("due"),
        _count(moved).label("moved"),
        sa.select(sa.func.count()).select_from(moves).where(moves.c.to_step.is_(None)).scalar_subquery().label("ended"),
        (_count(ledger[1]) if ledger else lit(0)).label("planned"),
        (_count(ledger[0]) - _count(ledger[1]) if ledger else lit(0)).label("conflicts"),
    ]
    writes = [*acts.profile_writes(step.do, facts), *acts.segment_writes(definition.workflow, step.do, facts)]
    columns += [write.label(f"writes_{n}") for n, write in enumerate(writes)]
    return sa.select(*columns).add_cte(*extra)


def _count(rows: Any) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(rows).scalar_subquery()


def _move(moves: sa.CTE) -> sa.CTE:
    t, m = customer_journeys, moves.c
    ends = m.to_step.is_(None)
    return (
        sa.update(t)
        .where(t.c.id == m.id)
        .values(
            step_key=sa.func.coalesce(m.to_step, t.c.step_key),
            step_uid=sa.func.coalesce(m.entry_uid, t.c.step_uid),
            at=m.at,
            at_seq=m.at_seq,
            due_at=sa.func.coalesce(m.due_at, m.at),
            due_seq=sa.func.coalesce(m.due_seq, m.at_seq),
            arrived_seq=sa.null(),
            status=sa.case((ends, lit("ended")), else_=lit("active")),
            ended_at=sa.case((ends, m.at)),
            exit_reason=sa.case((ends, lit("completed"))),
        )
        .returning(t.c.id)
        .cte("moved")
    )


def _facts(definition: Definition, step: Step, due: sa.CTE, brand: Mapping[str, Any]) -> sa.CTE:
    """One row per due journey: its place in time, the event that came, conditions, the target, what was seen."""
    d = due.c
    types = definition.catalogue
    profile, context = profile_of(d.customer_id), context_of(d.id)
    source: Any = due
    reads_rows = any(a.when or a.kind in ("update_profile", "create_task") for a in step.do)
    reads_rows = reads_rows or any(b.when for b in step.next.branches or ())
    wait = step.wait
    if isinstance(wait, EventWait):
        reads_rows = reads_rows or bool(wait.match or wait.when)
    if reads_rows:
        source = source.outerjoin(profile, sa.true()).outerjoin(context, sa.true())

    at: tuple[Any, Any] = (d.due_at, d.due_seq)
    arrived: EventScope | None = None
    arrived_event: Any = sa.cast(sa.null(), sa.BigInteger)
    why: Any = lit("timer") if wait is not None else lit("at once")
    detail: list[Any] = []
    if isinstance(wait, EventWait):
        came = event_of(d.arrived_seq)
        # the belt: a timeout looks once more before it says that nothing came (engine.md, 6)
        belt = history_of_wait(wait, due, context, profile, brand, types, (d.due_at, d.due_seq), d.arrived_seq.is_(None))
        source = source.outerjoin(came, sa.true()).outerjoin(belt, sa.true())
        arrived = EventScope(
            payload=sa.func.coalesce(came.c.payload, belt.c.payload, type_=JSONB),
            type=sa.func.coalesce(came.c.type, belt.c.type, type_=sa.Text),
            occurred_at=sa.func.coalesce(came.c.occurred_at, belt.c.occurred_at, type_=TS),
        )
        arrived_event = sa.func.coalesce(d.arrived_seq, belt.c.seq, type_=sa.BigInteger)
        at = (sa.func.coalesce(belt.c.occurred_at, d.due_at, type_=TS), sa.func.coalesce(belt.c.seq, d.due_seq, type_=sa.BigInteger))
        why = sa.case((arrived_event.is_not(None), lit("event")), else_=lit("timeout"))
        detail += [lit("arrived"), arrived.type, lit("event"), arrived_event]

    scope = journey_scope(due, profile, context, arrived, at, brand, types)
    action_columns, values = acts.fact_columns(step.do, scope)
    if step.next.split is not None:
        logged = logged_arm(definition, step, due)
        source = source.outerjoin(logged, sa.true())
        target = split_target(definition, step, due, logged.c.arm)
        route = [lit("rule"), lit("split"), lit("to"), target]
    else:
        target, route = branch_target(step, scope, values)
    detail += route
    if values:
        detail += [lit("values"), json_object(values)]
    return (
        sa.select(
            d.id, d.customer_id, d.shard, d.workflow_id, d.version, d.entry_key, d.visit, d.held_out,
            at[0].label("at"),
            at[1].label("at_seq"),
            arrived_event.label("arrived_event"),
            why.label("why"),
            target.label("target"),
            (sa.func.jsonb_build_object(*detail, type_=JSONB) if detail else null_json()).label("detail"),
            *action_columns,
        )
        .select_from(source)
        .cte("facts")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )


def _arrive(definition: Definition, step: Step, due: sa.CTE, brand: Mapping[str, Any]) -> sa.Select[Any]:
    """No transition is written: the journey is at the step already, this only sets what it waits for."""
    assert isinstance(step.wait, EventWait)
    d, t = due.c, customer_journeys
    profile, context = profile_of(d.customer_id), context_of(d.id)
    target = step_of(d.workflow_id, d.version, sa.literal(step.id, sa.Text))
    timeout = due_of(target, d.customer_id, d.at, d.at_seq, arriving=True)
    # what came between entry and now, in logical time: history up to the journey's own place
    e = history_of_wait(step.wait, due, context, profile, brand, definition.catalogue, (d.at, d.at_seq), sa.true())
    found = (
        sa.select(d.id, target.c.step_uid, e.c.seq, d.at, d.at_seq, timeout.at.label("due_at"), timeout.seq.label("due_seq"))
        .select_from(
            timeout.joined(due.outerjoin(profile, sa.true()).outerjoin(context, sa.true()).join(target, sa.true())).outerjoin(e, sa.true())
        )
        .cte("found")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    f = found.c
    moved = (
        sa.update(t)
        .where(t.c.id == f.id)
        .values(
            step_uid=f.step_uid,
            arrived_seq=f.seq,
            due_at=sa.case((f.seq.is_not(None), f.at), else_=f.due_at),
            due_seq=sa.case((f.seq.is_not(None), f.at_seq), else_=f.due_seq),
        )
        .returning(t.c.id)
        .cte("moved")
    )
    return sa.select(_count(due).label("due"), _count(moved).label("moved"), *(lit(0).label(n) for n in ("ended", "planned", "conflicts")))


