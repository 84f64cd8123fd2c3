"""Who an event may enter or touch: the round's events that a trigger and `entry.when` accept, with their entry key."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.details import built_object, json_object
from journey_pipelines.compiler.scopes import entry_scope, profile_of
from journey_pipelines.compiler.statement import HIGH, LOW, ROUND, TS, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.texts import event_keys
from journey_pipelines.expressions import Scope, compile_condition, compile_value
from journey_pipelines.store.tables import automation_workflows
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ConditionTrigger, EventTrigger, SegmentTrigger, Trigger, Workflow, event_type
from journey_pipelines.workflows.triggers import STARTED, condition_segment, enter_event


def candidates_of(definition: Definition, version: int, around: Surroundings, triggers: Sequence[Trigger]) -> sa.CTE:
    """The round's events that a trigger and `entry.when` accept; entry_key is null where the key is missing."""
    workflow = definition.workflow
    b, w = batch_events, automation_workflows
    p = profile_of(b.c.customer_id)
    scope = entry_scope(b, p, around.brand, definition.catalogue)
    accepted: list[tuple[sa.ColumnElement[bool], str, str | None]] = []
    values: dict[str, sa.ColumnElement[Any]] = {}
    for trigger in triggers:
        condition = _comes(workflow, trigger)
        if trigger.when:
            compiled = compile_condition(trigger.when, scope)
            values.update(compiled.values)
            condition = sa.and_(condition, compiled.sql)
        accepted.append((condition, trigger.id, trigger.when))
    asked = sa.and_(b.c.type == enter_event(workflow.id), _payload("trigger") == sa.literal(STARTED, sa.Text))
    accepted.append((asked, STARTED, None))
    where = [
        b.c.round == ROUND,
        b.c.seq.between(LOW, HIGH),
        b.c.type.in_(sorted(trigger_events(workflow, triggers))),
        sa.or_(*(condition for condition, _, _ in accepted)),
        b.c.received_at - b.c.occurred_at <= sa.literal(workflow.entry.max_lateness.elapsed(), sa.Interval()),
    ]
    if workflow.runs and workflow.runs.start:
        where.append(b.c.occurred_at >= sa.literal(workflow.runs.start, TS))
    if workflow.runs and workflow.runs.until:
        where.append(b.c.occurred_at < sa.literal(workflow.runs.until, TS))
    if workflow.entry.when:
        compiled = compile_condition(workflow.entry.when, scope)
        values.update(compiled.values)
        where.append(compiled.sql)
    trigger_id = sa.case(*((condition, sa.literal(name, sa.Text)) for condition, name, _ in accepted))
    detail: list[sa.ColumnElement[Any]] = [sa.literal("trigger"), trigger_id, sa.literal("event"), b.c.seq]
    if any(t.when for t in triggers):
        detail += [sa.literal("rule"), sa.case(*((c, sa.literal(rule, sa.Text)) for c, _, rule in accepted))]
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
            b.c.depth,
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
    return query.cte("candidates").prefix_with("MATERIALIZED", dialect="postgresql")


def trigger_events(workflow: Workflow, triggers: Sequence[Trigger]) -> set[str]:
    """The types of the events that may enter: those of the triggers, and of those who ask for it."""
    return {*(event_type(trigger, workflow.id) for trigger in triggers), enter_event(workflow.id)}


def _payload(key: str) -> sa.ColumnElement[Any]:
    return sa.func.journeys.txt(batch_events.c.payload.op("->")(sa.literal(key, sa.Text)), type_=sa.Text)


def _comes(workflow: Workflow, trigger: Trigger) -> sa.ColumnElement[bool]:
    """Whether a round's event is that of the trigger."""
    type_ = batch_events.c.type
    if isinstance(trigger, EventTrigger):
        return type_ == trigger.event
    asked = sa.and_(type_ == enter_event(workflow.id), _payload("trigger") == sa.literal(trigger.id, sa.Text))
    if not isinstance(trigger, SegmentTrigger | ConditionTrigger):
        return asked
    segment = trigger.segment if isinstance(trigger, SegmentTrigger) else condition_segment(workflow.id, trigger.id)
    moved = sa.and_(type_ == event_type(trigger, workflow.id), _payload("segment") == sa.literal(segment, sa.Text))
    # members at activation are asked in (entry.existing)
    return sa.or_(moved, asked)


def _key(definition: Definition, scope: Scope) -> sa.ColumnElement[Any]:
    """Text of the entry key: '' without one; shortened with its md5 where it is long (engine.md, 12)."""
    key = definition.workflow.entry.key
    if not key:
        return lit("")
    text = compile_value(key, scope).as_text()
    short = sa.func.left(text, 150).concat(lit("~")).concat(sa.func.md5(text))
    return sa.case((sa.func.length(text) > 200, short), else_=text)


def hashed(candidates: Any, other: Any) -> Any:
    """The candidates beside what became of them. A FULL JOIN has no nested-loop plan: however few rows the planner believes a CTE to
    hold, the two are hashed. The caller drops those without a partner by a test that is not strict, or the join would be reduced again.
    """
    return candidates.join(other, other.c.customer_id == candidates.c.customer_id, full=True)


def kept_payload(definition: Definition, payload: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """What of an entry event's payload goes to `journey_context`: the keys that the workflow names later."""
    keys = event_keys(definition)
    if keys is None:
        return payload
    return sa.func.jsonb_strip_nulls(built_object({key: payload.op("->")(sa.literal(key, sa.Text)) for key in sorted(keys)}), type_=JSONB)
