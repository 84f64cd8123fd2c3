"""Entering: one statement per workflow version, for everybody's event of a round, and what a trigger does to those already in.

Admission is one row (`journey_admissions`): the INSERT .. ON CONFLICT .. WHERE <re-entry policy> decides, so two entries at
once cannot both pass (engine.md, 9). An event needs no ticket: it leaves the inbox once, and its key is unique.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as pg_insert

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.details import json_object
from journey_pipelines.compiler.scopes import entry_scope, profile_of
from journey_pipelines.compiler.statement import HIGH, LOW, NOW, ROUND, Statement, compile_statement, lit
from journey_pipelines.compiler.texts import event_keys, uses_event
from journey_pipelines.compiler.waits import due_of, step_of
from journey_pipelines.expressions import Scope, compile_condition, compile_value
from journey_pipelines.store.tables import (
    automation_workflows,
    customer_journeys,
    journey_admissions,
    journey_context,
    journey_transitions,
    messages,
)
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import EventTrigger, Reentry


@dataclass(frozen=True)
class EntryStatements:
    """What a round runs for a workflow whose trigger types came: first what happens to those in it, then the entry."""

    event_types: frozenset[str]
    refresh: Statement | None
    restart: Statement | None
    enter: Statement


def entry_statements(definition: Definition, version: int, brand: Mapping[str, Any]) -> EntryStatements:
    """Compile the triggers and `entry` of one version."""
    workflow = definition.workflow
    triggers = [t for t in workflow.triggers if t.active]
    name = f"{workflow.id} v{version}"
    mode = workflow.entry.while_active if workflow.entry.reentry.policy != "always" else "ignore"
    return EntryStatements(
        event_types=frozenset(t.event for t in triggers),
        refresh=compile_statement(f"{name}: refresh", _refresh(definition, version, brand, triggers)) if mode != "ignore" else None,
        restart=compile_statement(f"{name}: restart", _restart(definition, version, brand, triggers)) if mode == "restart" else None,
        enter=compile_statement(f"{name}: enter", _enter(definition, version, brand, triggers)),
    )


def _candidates(
    definition: Definition, version: int, brand: Mapping[str, Any], triggers: list[EventTrigger]
) -> tuple[sa.CTE, sa.ColumnElement[Any]]:
    """The round's events that a trigger and `entry.when` accept; entry_key is null where the key is missing."""
    workflow = definition.workflow
    b, w = batch_events, automation_workflows
    p = profile_of(b.c.customer_id)
    scope = entry_scope(b, p, brand, definition.catalogue)
    accepted: list[tuple[sa.ColumnElement[bool], EventTrigger]] = []
    values: dict[str, sa.ColumnElement[Any]] = {}
    for trigger in triggers:
        condition = b.c.type == trigger.event
        if trigger.when:
            compiled = compile_condition(trigger.when, scope)
            values.update(compiled.values)
            condition = sa.and_(condition, compiled.sql)
        accepted.append((condition, trigger))
    where = [
        b.c.round == ROUND,
        b.c.seq.between(LOW, HIGH),
        b.c.type.in_(sorted({t.event for t in triggers})),
        sa.or_(*(condition for condition, _ in accepted)),
        b.c.received_at - b.c.occurred_at <= sa.literal(workflow.entry.max_lateness.elapsed(), sa.Interval()),
    ]
    if workflow.entry.when:
        compiled = compile_condition(workflow.entry.when, scope)
        values.update(compiled.values)
        where.append(compiled.sql)
    trigger_id = sa.case(*((condition, sa.literal(t.id)) for condition, t in accepted))
    detail: list[sa.ColumnElement[Any]] = [sa.literal("trigger"), trigger_id, sa.literal("event"), b.c.seq]
    if any(t.when for t in triggers):
        detail += [sa.literal("rule"), sa.case(*((c, sa.literal(t.when, sa.Text)) for c, t in accepted))]
    if workflow.entry.when:
        detail += [sa.literal("eligibility"), sa.literal(workflow.entry.when)]
    if values:
        detail += [sa.literal("values"), json_object(values)]
    query = (
        sa.select(
            b.c.seq,
            b.c.customer_id,
            b.c.shard,
            b.c.occurred_at,
            b.c.type,
            b.c.payload,
            trigger_id.label("trigger_id"),
            _key(definition, scope).label("entry_key"),
            sa.func.jsonb_build_object(*detail, type_=JSONB).label("detail"),
        )
        .select_from(
            b.join(w, sa.and_(w.c.id == workflow.id, w.c.version == version, w.c.is_current, w.c.status == lit("active"))).outerjoin(
                p, sa.true()
            )
        )
        .where(*where)
    )
    return query.cte("candidates").prefix_with("MATERIALIZED", dialect="postgresql"), trigger_id


def _key(definition: Definition, scope: Scope) -> sa.ColumnElement[Any]:
    """Text of the entry key: '' without one; shortened with its md5 where it is long (engine.md, 12)."""
    key = definition.workflow.entry.key
    if not key:
        return lit("")
    text = compile_value(key, scope).as_text()
    short = sa.func.left(text, 150).concat(lit("~")).concat(sa.func.md5(text))
    return sa.case((sa.func.length(text) > 200, short), else_=text)


def _admission(reentry: Reentry, a: Any, new_at: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """The re-entry policy over the admission row that is there; times are logical."""
    interval = sa.literal(reentry.after.elapsed(), sa.Interval()) if reentry.after else None
    match reentry.policy:
        case "never":
            allowed = sa.false()
        case "always":
            allowed = sa.true()
        case "after_exit":
            allowed = sa.and_(a.active == lit(0), new_at >= sa.func.coalesce(a.last_ended_at, new_at))
        case "after" if reentry.of == "entry":
            allowed = sa.and_(a.active == lit(0), new_at >= a.last_entered_at + interval)
        case _:
            allowed = sa.and_(a.active == lit(0), new_at >= sa.func.coalesce(a.last_ended_at, a.last_entered_at) + interval)
    if reentry.max is not None:
        allowed = sa.and_(allowed, a.entries < reentry.max)
    return allowed


def _enter(definition: Definition, version: int, brand: Mapping[str, Any], triggers: list[EventTrigger]) -> sa.Select[Any]:
    workflow = definition.workflow
    candidates, _ = _candidates(definition, version, brand, triggers)
    workflow_id, version_ = sa.literal(workflow.id), lit(version)

    new = pg_insert(journey_admissions).from_select(
        ["workflow_id", "customer_id", "entry_key", "entries", "active", "last_entered_at"],
        sa.select(workflow_id, candidates.c.customer_id, candidates.c.entry_key, lit(1), lit(1), candidates.c.occurred_at).where(
            candidates.c.entry_key.is_not(None)
        ),
    )
    a = journey_admissions.c
    admitted = (
        new.on_conflict_do_update(
            index_elements=[a.workflow_id, a.customer_id, a.entry_key],
            set_={
                "entries": a.entries + lit(1),
                "active": a.active + lit(1),
                "last_entered_at": sa.func.greatest(a.last_entered_at, new.excluded.last_entered_at),
            },
            where=_admission(workflow.entry.reentry, a, new.excluded.last_entered_at),
        )
        .returning(a.customer_id, a.entry_key)
        .cte("admitted")
    )
    # one event of a customer is in a round, so the customer alone names the candidate
    c = candidates.c
    start = step_of(workflow_id, version_, sa.literal(workflow.steps[0].id))
    due = due_of(start, c.customer_id, c.occurred_at, c.seq)
    bucket = sa.func.journeys.bucket_of(sa.literal(f"hold-out|{workflow.id}|").concat(c.customer_id), type_=sa.Integer)
    columns: dict[str, sa.ColumnElement[Any]] = {
        "workflow_id": workflow_id,
        "version": version_,
        "customer_id": c.customer_id,
        "shard": c.shard,
        "entry_key": c.entry_key,
        "trigger_id": c.trigger_id,
        "step_key": start.c.step_key,
        "step_uid": start.c.entry_uid,
        "at": c.occurred_at,
        "at_seq": c.seq,
        "due_at": due.at,
        "due_seq": due.seq,
        "entered_at": c.occurred_at,
        "entered_seq": c.seq,
        "held_out": bucket < round(workflow.hold_out * 100) if workflow.hold_out else sa.false(),
    }
    j = customer_journeys.c
    entered = (
        sa.insert(customer_journeys)
        .from_select(
            list(columns),
            sa.select(*(value.label(name) for name, value in columns.items()))
            .select_from(due.joined(_hashed(candidates, admitted).join(start, sa.true())))
            .where(sa.func.coalesce(admitted.c.customer_id, lit("")) != lit("")),
        )
        .returning(j.id, j.customer_id, j.step_key)
        .cte("entered")
    )
    t = journey_transitions.c
    logged = (
        sa.insert(journey_transitions)
        .from_select(
            ["journey_id", "workflow_id", "version", "customer_id", "visit", "to_step", "at", "at_seq", "recorded_at", "why", "detail"],
            sa.select(
                entered.c.id,
                workflow_id,
                version_,
                entered.c.customer_id,
                lit(1),
                entered.c.step_key,
                c.occurred_at,
                c.seq,
                NOW,
                lit("entered"),
                c.detail,
            )
            .select_from(_hashed(candidates, entered))
            .where(sa.func.coalesce(entered.c.customer_id, lit("")) != lit("")),
        )
        .returning(t.journey_id)
        .cte("logged")
    )
    extra = []
    if uses_event(definition):
        extra.append(
            sa.insert(journey_context)
            .from_select(
                ["journey_id", "event_type", "event"],
                sa.select(entered.c.id, c.type, _kept(definition, c.payload))
                .select_from(_hashed(candidates, entered))
                .where(sa.func.coalesce(entered.c.customer_id, lit("")) != lit("")),
            )
            .returning(journey_context.c.journey_id)
            .cte("context")
        )
    counts = sa.select(
        sa.select(sa.func.count()).select_from(candidates).scalar_subquery().label("candidates"),
        sa.select(sa.func.count()).select_from(candidates).where(c.entry_key.is_(None)).scalar_subquery().label("keyless"),
        sa.select(sa.func.count()).select_from(entered).scalar_subquery().label("entered"),
    )
    return counts.add_cte(logged, *extra)


def _hashed(candidates: Any, other: Any) -> Any:
    """The candidates beside what became of them. A FULL JOIN has no nested-loop plan: however few rows the planner believes a CTE to
    hold, the two are hashed. The caller drops those without a partner by a test that is not strict, or the join would be reduced again.
    """
    return candidates.join(other, other.c.customer_id == candidates.c.customer_id, full=True)


def _kept(definition: Definition, payload: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    keys = event_keys(definition)
    if keys is None:
        return payload
    pairs: list[sa.ColumnElement[Any]] = []
    for key in sorted(keys):
        pairs += [sa.literal(key), payload.op("->")(sa.literal(key, sa.Text))]
    return sa.func.jsonb_strip_nulls(sa.func.jsonb_build_object(*pairs), type_=JSONB)


def _active(definition: Definition, candidates: sa.CTE) -> sa.sql.expression.Lateral:
    """The journeys in progress of a candidate's customer and key."""
    j = customer_journeys
    return (
        sa.select(j)
        .where(
            j.c.customer_id == candidates.c.customer_id,
            j.c.workflow_id == definition.workflow.id,
            j.c.entry_key == candidates.c.entry_key,
            j.c.status == lit("active"),
            # a late event must not take a journey back behind its own entry
            sa.tuple_(candidates.c.occurred_at, candidates.c.seq) > sa.tuple_(j.c.entered_at, j.c.entered_seq),
        )
        .offset(lit(0))
        .lateral("j")
    )


def _refresh(definition: Definition, version: int, brand: Mapping[str, Any], triggers: list[EventTrigger]) -> sa.Select[Any]:
    """The entry event's payload of those in progress becomes that of the event now looked at."""
    candidates, _ = _candidates(definition, version, brand, triggers)
    j = _active(definition, candidates)
    found = (
        sa.select(j.c.id, candidates.c.type, _kept(definition, candidates.c.payload).label("event"))
        .select_from(candidates.join(j, sa.true()))
        .cte("found")
    )
    x = journey_context
    done = (
        sa.update(x)
        .where(x.c.journey_id == found.c.id)
        .values(event_type=found.c.type, event=found.c.event)
        .returning(x.c.journey_id)
        .cte("done")
    )
    return sa.select(sa.select(sa.func.count()).select_from(done).scalar_subquery().label("refreshed"))


def _restart(definition: Definition, version: int, brand: Mapping[str, Any], triggers: list[EventTrigger]) -> sa.Select[Any]:
    """The same journey back to its first wait, one visit more, as long as it has no row in the ledger."""
    workflow = definition.workflow
    candidates, _ = _candidates(definition, version, brand, triggers)
    j = _active(definition, candidates)
    c = candidates.c
    start = step_of(j.c.workflow_id, j.c.version, sa.literal(workflow.steps[0].id))
    due = due_of(start, c.customer_id, c.occurred_at, c.seq)
    sent = sa.exists().where(messages.c.journey_id == j.c.id)
    found = (
        sa.select(
            j.c.id,
            j.c.workflow_id,
            j.c.version,
            j.c.customer_id,
            (j.c.visit + lit(1)).label("visit"),
            j.c.step_key.label("from_step"),
            start.c.step_key,
            start.c.entry_uid,
            c.occurred_at,
            c.seq,
            due.at.label("due_at"),
            due.seq.label("due_seq"),
            c.detail,
        )
        .select_from(due.joined(candidates.join(j, sa.true()).join(start, sa.true())))
        .where(~sent)
        .cte("found")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    t, f = customer_journeys, found.c
    moved = (
        sa.update(t)
        .where(t.c.id == f.id)
        .values(
            visit=f.visit,
            step_key=f.step_key,
            step_uid=f.entry_uid,
            at=f.occurred_at,
            at_seq=f.seq,
            due_at=f.due_at,
            due_seq=f.due_seq,
            arrived_seq=sa.null(),
        )
        .returning(t.c.id)
        .cte("moved")
    )
    logged = (
        sa.insert(journey_transitions)
        .from_select(
            [
                "journey_id",
                "workflow_id",
                "version",
                "customer_id",
                "visit",
                "from_step",
                "to_step",
                "at",
                "at_seq",
                "recorded_at",
                "why",
                "detail",
            ],
            sa.select(
                f.id,
                f.workflow_id,
                f.version,
                f.customer_id,
                f.visit,
                f.from_step,
                f.step_key,
                f.occurred_at,
                f.seq,
                NOW,
                lit("restarted"),
                f.detail,
            ),
        )
        .returning(journey_transitions.c.journey_id)
        .cte("logged")
    )
    return sa.select(sa.select(sa.func.count()).select_from(moved).scalar_subquery().label("restarted")).add_cte(logged)
