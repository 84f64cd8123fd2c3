"""Entering: one statement per workflow version, for everybody's event of a round, and what a trigger does to those already in.

Admission is one row (`journey_admissions`): the INSERT .. ON CONFLICT .. WHERE <re-entry policy> decides, so two entries at
once cannot both pass (engine.md, 9). An event needs no ticket: it leaves the inbox once, and its key is unique.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert

from journey_pipelines.compiler import emit
from journey_pipelines.compiler.candidates import candidates_of, hashed, kept_payload, trigger_events
from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.room import entered_by_bucket, roomy, wanted
from journey_pipelines.compiler.statement import NOW, Statement, compile_statement, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.texts import uses_event
from journey_pipelines.compiler.waits import cap_of, due_of, step_of
from journey_pipelines.compiler.while_active import refresh, restart
from journey_pipelines.store.tables import customer_journeys, journey_admissions, journey_context, journey_transitions
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import Limits, Reentry, Trigger, Workflow


@dataclass(frozen=True)
class EntryStatements:
    """What a round runs for a workflow whose trigger types came: first what happens to those in it, then the entry."""

    event_types: frozenset[str]
    refresh: Statement | None
    restart: Statement | None
    enter: Statement
    #: where entering is limited: the limits, and who would enter, by bucket of time
    limits: Limits | None = None
    wanted: Statement | None = None


@kept
def entry_statements(definition: Definition, version: int, around: Surroundings) -> EntryStatements:
    """Compile the triggers and `entry` of one version."""
    workflow = definition.workflow
    triggers = [t for t in workflow.triggers if t.active]
    name = f"{workflow.id} v{version}"
    mode = workflow.entry.while_active if workflow.entry.reentry.policy != "always" else "ignore"
    return EntryStatements(
        event_types=frozenset(trigger_events(workflow, triggers)),
        refresh=compile_statement(f"{name}: refresh", refresh(definition, version, around, triggers)) if mode != "ignore" else None,
        restart=compile_statement(f"{name}: restart", restart(definition, version, around, triggers)) if mode == "restart" else None,
        enter=compile_statement(f"{name}: enter", _enter(definition, version, around, triggers)),
        limits=_limits(workflow),
        wanted=compile_statement(f"{name}: wanted", _wanted(definition, version, around, triggers)) if _limits(workflow) else None,
    )


def _admission(reentry: Reentry, a: Any, new_at: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """The re-entry policy over the admission row that is there; times are logical."""
    interval = sa.literal(reentry.after.elapsed(), sa.Interval()) if reentry.after else None
    allowed: sa.ColumnElement[bool]
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


def _asking(workflow: Workflow, candidates: sa.CTE) -> sa.Select[Any]:
    """Those whom the re-entry policy would let in: one customer has one event in a round, and its admission row belongs to a shard that
    this worker holds, so that what is read here is still so when it is written."""
    c, a = candidates.c, journey_admissions
    admission = (
        sa.select(a)
        .where(a.c.workflow_id == workflow.id, a.c.customer_id == c.customer_id, a.c.entry_key == c.entry_key)
        .limit(lit(1))
        .lateral("admission")
    )
    allowed = sa.or_(admission.c.workflow_id.is_(None), _admission(workflow.entry.reentry, admission.c, c.occurred_at))
    return (
        sa.select(c.customer_id, c.occurred_at, c.seq)
        .select_from(candidates.outerjoin(admission, sa.true()))
        .where(c.entry_key.is_not(None), allowed)
    )


def _wanted(definition: Definition, version: int, around: Surroundings, triggers: Sequence[Trigger]) -> sa.Select[Any]:
    limits = _limits(definition.workflow)
    assert limits is not None
    return wanted(_asking(definition.workflow, candidates_of(definition, version, around, triggers)), limits)


def _limits(workflow: Workflow) -> Limits | None:
    """Those that bear on entering."""
    limits = workflow.limits
    return limits if limits and (limits.in_flight is not None or limits.entries is not None) else None


def _enter(definition: Definition, version: int, around: Surroundings, triggers: Sequence[Trigger]) -> sa.Select[Any]:
    workflow = definition.workflow
    candidates = candidates_of(definition, version, around, triggers)
    workflow_id, version_ = sa.literal(workflow.id), lit(version)

    asking = sa.select(workflow_id, candidates.c.customer_id, candidates.c.entry_key, lit(1), lit(1), candidates.c.occurred_at).where(
        candidates.c.entry_key.is_not(None)
    )
    limits = _limits(workflow)
    refused: sa.ColumnElement[Any] = lit(0)
    if limits:
        would = _asking(workflow, candidates)
        admissible = roomy(would, limits)
        asking = asking.where(candidates.c.customer_id.in_(sa.select(admissible.c.customer_id)))
        refused = _count(would.subquery("would")) - _count(admissible)
    new = pg_insert(journey_admissions).from_select(
        ["workflow_id", "customer_id", "entry_key", "entries", "active", "last_entered_at"], asking
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
    due = due_of(start, c.customer_id, c.occurred_at, c.seq, cap_of(workflow, c.occurred_at))
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
        "depth": c.depth,
        "held_out": bucket < round(workflow.hold_out * 100) if workflow.hold_out else sa.false(),
    }
    j = customer_journeys.c
    entered = (
        sa.insert(customer_journeys)
        .from_select(
            list(columns),
            sa.select(*(value.label(name) for name, value in columns.items()))
            .select_from(due.joined(hashed(candidates, admitted).join(start, sa.true())))
            .where(sa.func.coalesce(admitted.c.customer_id, lit("")) != lit("")),
        )
        .returning(j.id, j.customer_id, j.step_key, j.entered_at)
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
            .select_from(hashed(candidates, entered))
            .where(sa.func.coalesce(entered.c.customer_id, lit("")) != lit("")),
        )
        .returning(t.journey_id)
        .cte("logged")
    )
    extra = []
    if "journey.entered" in around.named:
        told = emit.entered_events(workflow_id, version_, candidates, entered)
        extra += [told] if told is not None else []
    if uses_event(definition):
        extra.append(
            sa.insert(journey_context)
            .from_select(
                ["journey_id", "event_type", "event"],
                sa.select(entered.c.id, c.type, kept_payload(definition, c.payload))
                .select_from(hashed(candidates, entered))
                .where(sa.func.coalesce(entered.c.customer_id, lit("")) != lit("")),
            )
            .returning(journey_context.c.journey_id)
            .cte("context")
        )
    counts = sa.select(
        _count(candidates).label("candidates"),
        sa.select(sa.func.count()).select_from(candidates).where(c.entry_key.is_(None)).scalar_subquery().label("keyless"),
        _count(entered).label("entered"),
        (_count(entered) if "journey.entered" in around.named else lit(0)).label("emitted"),
        refused.label("limited"),
        entered_by_bucket(entered, workflow.limits),
    )
    return counts.add_cte(logged, *extra)


def _count(rows: Any) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(rows).scalar_subquery()
