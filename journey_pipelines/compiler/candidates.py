"""Who an event may enter or touch: the round's events that a trigger and `entry.when` accept, with their entry key."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.details import built_object, json_object
from journey_pipelines.compiler.scopes import entry_scope, profile_of
from journey_pipelines.compiler.statement import HIGH, LOW, ROUND, lit
from journey_pipelines.compiler.texts import event_keys
from journey_pipelines.expressions import Scope, compile_condition, compile_value
from journey_pipelines.store.tables import automation_workflows
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import EventTrigger


def candidates_of(
    definition: Definition, version: int, brand: Mapping[str, Any], triggers: list[EventTrigger]
) -> sa.CTE:
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
    return query.cte("candidates").prefix_with("MATERIALIZED", dialect="postgresql")


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
