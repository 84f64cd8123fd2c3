"""What a step does, as CTEs over its `facts`: ledger rows, profile and segment writes, tasks, and the log of what was done.

A held-out journey goes the same way: its sends, webhooks and tasks are written as held_out and not done; profile and segment
writes are done.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as pg_insert

from journey_pipelines.compiler import emit
from journey_pipelines.compiler.details import built_array, built_object, null_json
from journey_pipelines.compiler.emit import effect_depth, effect_time
from journey_pipelines.compiler.relevance import WRITTEN
from journey_pipelines.compiler.statement import NOW, SALT, TS, lit
from journey_pipelines.expressions import Scope, compile_condition, compile_text, compile_value
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.store.moment_tables import customer_changes
from journey_pipelines.store.tables import messages, tasks, workflow_action_logs
from journey_pipelines.workflows.model import Action, Workflow

PROFILE_KINDS = {"update_profile"}
SEGMENT_KINDS = {"add_to_segment": "enter", "remove_from_segment": "leave"}
EVENT_KINDS = {"emit_event", "start_workflow", "exit_workflow"}
#: a step with these writes rows of a customer: one journey of a customer at a time, or the second write would vanish
CUSTOMER_KINDS = PROFILE_KINDS | set(SEGMENT_KINDS)


def fact_name(what: str, number: int, action: Action) -> str:
    """The name of an action's column in `facts`. The number in the step tells long ids apart: PostgreSQL cuts names at 63 bytes."""
    return f"{what}_{number}_{action.id[:40]}"


def condition_column(number: int, action: Action) -> str:
    """The column of `facts` that says whether the action is done for a journey."""
    return fact_name("do", number, action)


def fact_columns(
    actions: Sequence[Action], scope: Scope, doing: sa.ColumnElement[bool]
) -> tuple[list[sa.ColumnElement[Any]], dict[str, sa.ColumnElement[Any]]]:
    """Columns of `facts` for the actions: conditions, patches, texts; and the values their conditions saw. Without `doing` none is done."""
    columns: list[sa.ColumnElement[Any]] = []
    values: dict[str, sa.ColumnElement[Any]] = {}
    for n, action in enumerate(actions):
        condition: sa.ColumnElement[Any] = doing
        if action.when:
            compiled = compile_condition(action.when, scope)
            values.update(compiled.values)
            condition = sa.and_(doing, sa.func.coalesce(compiled.sql, sa.false(), type_=sa.Boolean))
        columns.append(condition.label(condition_column(n, action)))
        if action.kind == "update_profile":
            columns.append(_patch(action, scope).label(fact_name("patch", n, action)))
            columns.append(_increment(action, scope).label(fact_name("inc", n, action)))
        if action.kind in ("emit_event", "start_workflow"):
            payload = {key: _json_value(value, scope) for key, value in (action.params.get("payload") or {}).items()}
            columns.append(built_object(payload).label(fact_name("payload", n, action)))
        if action.kind == "create_task":
            for name in ("title", "body", "assignee"):
                text = action.params.get(name)
                column = compile_text(text, scope).as_text() if text else sa.cast(sa.null(), sa.Text)
                columns.append(column.label(fact_name(name, n, action)))
    if any(action.kind in PROFILE_KINDS for action in actions):
        assert scope.customer is not None
        # never older than the profile, or it would only fill what is missing; never newer than logical time, or the patch of a later
        # event would, depending on when the engine came to run
        columns.append(sa.func.greatest(scope.customer.c.updated_at, scope.at, type_=TS).label("patched_at"))
    return columns, values


def _json_value(value: Any, scope: Scope) -> sa.ColumnElement[Any]:
    """A value of `set`: a text is a template (a lone {{ expr }} keeps its type), also inside lists and mappings; the rest is itself."""
    match value:
        case None:
            return sa.cast(lit("null"), JSONB)
        case str():
            return compile_text(value, scope).as_jsonb()
        case dict() if value:
            return built_object({key: _json_value(item, scope) for key, item in value.items()})
        case list() if value:
            return built_array([_json_value(item, scope) for item in value])
    return sa.literal(value, JSONB)


def _patch(action: Action, scope: Scope) -> sa.ColumnElement[Any]:
    patch = {key: _json_value(value, scope) for key, value in (action.params.get("set") or {}).items()}
    return built_object({**patch, **{key: _json_value(None, scope) for key in action.params.get("unset") or []}})


def _increment(action: Action, scope: Scope) -> sa.ColumnElement[Any]:
    amounts: dict[str, sa.ColumnElement[Any]] = {}
    for key, value in (action.params.get("increment") or {}).items():
        amounts[key] = compile_value(_bare(value), scope).as_num() if isinstance(value, str) else sa.literal(value, sa.Numeric)
    return built_object(amounts)


def _bare(text: str) -> str:
    """'{{ event.total }}' -> 'event.total': an amount is an expression with or without its braces."""
    stripped = text.strip()
    return stripped[2:-2].strip() if stripped.startswith("{{") and stripped.endswith("}}") else stripped


def ledger(workflow: Workflow, step_key: str, actions: Sequence[Action], facts: Any, expires: Mapping[str, timedelta]) -> list[sa.CTE]:
    """[to_send, sent]: what should be in the ledger, and what was inserted (fewer = a row was there already, counted by the caller)."""
    f = facts.c
    rows = []
    for n, action in enumerate(actions):
        channel = action.channel
        if channel is None:
            continue
        life = Duration.parse(action.params["expires"]).elapsed() if action.params.get("expires") else expires[workflow.category]
        rows.append(
            sa.select(
                f.id,
                sa.literal(action.id, sa.Text).label("action_id"),
                sa.literal(channel, sa.Text).label("channel"),
                (f.at + sa.literal(life, sa.Interval())).label("expires_at"),
                f.workflow_id,
                f.version,
                f.customer_id,
                f.shard,
                f.entry_key,
                f.visit,
                f.at,
                f.held_out,
                f.arrived_event,
            ).where(f[condition_column(n, action)])
        )
    if not rows:
        return []
    to_send = (sa.union_all(*rows) if len(rows) > 1 else rows[0]).cte("to_send").prefix_with("MATERIALIZED", dialect="postgresql")
    s, step = to_send.c, sa.literal(step_key, sa.Text)
    columns: dict[str, Any] = {
        "message_key": sa.func.journeys.message_key(SALT, s.id, step, s.action_id, s.visit, s.channel),
        "journey_id": s.id,
        "step_key": step,
        "action_id": s.action_id,
        "visit": s.visit,
        "slot": s.channel,
        "workflow_id": s.workflow_id,
        "workflow_version": s.version,
        "customer_id": s.customer_id,
        "shard": s.shard,
        "entry_key": s.entry_key,
        "channel": s.channel,
        "category": lit(workflow.category),
        "topic": sa.literal(workflow.topic, sa.Text),
        "priority": sa.literal(workflow.priority, sa.Integer),
        "arrived_seq": s.arrived_event,
        "planned_at": s.at,
        "created_at": NOW,
        "send_after": s.at,
        "expires_at": s.expires_at,
        "state": sa.case((s.held_out, lit("held_out")), else_=lit("planned")),
        "updated_at": NOW,
    }
    sent = (
        pg_insert(messages)
        .from_select(list(columns), sa.select(*(value.label(name) for name, value in columns.items())))
        .on_conflict_do_nothing()
        .returning(messages.c.id)
        .cte("sent")
    )
    return [to_send, sent]


def task_rows(step_key: str, actions: Sequence[Action], facts: Any) -> sa.CTE | None:
    """Tasks for people: one INSERT for all create_task actions of the step. A title with a missing variable makes none (logged failed)."""
    f = facts.c
    rows = [
        sa.select(
            f.id,
            sa.literal(step_key, sa.Text),
            sa.literal(a.id, sa.Text),
            f.visit,
            f.workflow_id,
            f.customer_id,
            sa.func.left(f[fact_name("title", n, a)], 500),
            f[fact_name("body", n, a)],
            f[fact_name("assignee", n, a)],
            f.at + sa.literal(Duration.parse(a.params["due"]).elapsed(), sa.Interval()) if a.params.get("due") else sa.cast(sa.null(), TS),
            f.at,
        ).where(f[condition_column(n, a)], ~f.held_out, f[fact_name("title", n, a)].is_not(None))
        for n, a in enumerate(actions)
        if a.kind == "create_task"
    ]
    if not rows:
        return None
    names = [
        "journey_id", "step_key", "action_id", "visit", "workflow_id", "customer_id", "title", "body", "assignee", "due_at", "created_at",
    ]  # fmt: skip
    new = pg_insert(tasks).from_select(names, sa.union_all(*rows) if len(rows) > 1 else rows[0])
    return new.on_conflict_do_nothing().returning(tasks.c.id).cte("made_tasks")


def action_log(step_key: str, actions: Sequence[Action], facts: Any) -> sa.CTE | None:
    """What was done besides messages, or why not."""
    f = facts.c
    rows = []
    for n, a in enumerate(actions):
        if a.channel is not None:
            continue
        state: Any = lit("done")
        reason: Any = sa.cast(sa.null(), sa.Text)
        detail: Any = null_json()
        if a.kind == "create_task":
            missing = f[fact_name("title", n, a)].is_(None)
            state = sa.case((f.held_out, lit("held_out")), (missing, lit("failed")), else_=lit("done"))
            reason = sa.case((sa.and_(~f.held_out, missing), lit("the title names something that is missing")))
        elif a.kind == "update_profile":
            detail = f[fact_name("patch", n, a)].op("||")(f[fact_name("inc", n, a)])
        elif a.kind in EVENT_KINDS:
            key = "type" if a.kind == "emit_event" else "workflow"
            detail = sa.func.jsonb_build_object(lit(key), sa.literal(a.params[key], sa.Text), type_=JSONB)
        else:
            detail = sa.func.jsonb_build_object(lit("segment"), sa.literal(a.params["segment"], sa.Text), type_=JSONB)
        rows.append(
            sa.select(
                f.id,
                sa.literal(step_key, sa.Text),
                sa.literal(a.id, sa.Text),
                f.visit,
                f.workflow_id,
                f.version,
                f.customer_id,
                lit(a.kind),
                state,
                reason,
                f.at,
                NOW,
                detail,
            ).where(f[condition_column(n, a)])
        )
    if not rows:
        return None
    names = [
        "journey_id", "step_key", "action_id", "visit", "workflow_id", "version", "customer_id", "kind", "state", "reason", "at",
        "recorded_at", "detail",
    ]  # fmt: skip
    new = pg_insert(workflow_action_logs).from_select(names, sa.union_all(*rows) if len(rows) > 1 else rows[0])
    return new.on_conflict_do_nothing().returning(workflow_action_logs.c.journey_id).cte("action_log")


def profile_writes(actions: Sequence[Action], facts: Any) -> list[sa.ColumnElement[Any]]:
    """Calls of journeys.apply_profiles, one per update_profile action, in their order (rows of `facts` are one per customer)."""
    f = facts.c
    calls: list[sa.ColumnElement[Any]] = []
    for n, action in enumerate(actions):
        if action.kind in PROFILE_KINDS:
            columns = (f.customer_id, f[fact_name("patch", n, action)], f.patched_at, f[fact_name("inc", n, action)])
            call = sa.func.journeys.apply_profiles(*(sa.func.array_agg(column) for column in columns), type_=sa.BigInteger)
            done = sa.select(call).select_from(facts).where(f[condition_column(n, action)])
            calls.append(done.having(sa.func.count() > lit(0)).scalar_subquery())
    return calls


def segment_writes(workflow: Workflow, actions: Sequence[Action], facts: Any) -> list[sa.ColumnElement[Any]]:
    """One call of journeys.apply_segments for all moves of the step, in the order of its actions."""
    f = facts.c
    rows = [
        sa.select(
            lit(n).label("n"),
            sa.literal(a.params["segment"], sa.Text).label("segment"),
            f.customer_id,
            lit(SEGMENT_KINDS[a.kind]).label("change"),
            effect_time(f.at, f.at_seq).label("at"),
            effect_depth(f).label("depth"),
        ).where(f[condition_column(n, a)])
        for n, a in enumerate(actions)
        if a.kind in SEGMENT_KINDS
    ]
    if not rows:
        return []
    m = (sa.union_all(*rows) if len(rows) > 1 else rows[0]).subquery("moves")
    call = sa.func.journeys.apply_segments(
        *(sa.func.array_agg(aggregate_order_by(column, m.c.n)) for column in (m.c.segment, m.c.customer_id, m.c.change, m.c.at)),
        sa.literal(f"workflow {workflow.id}", sa.Text),
        sa.cast(sa.null(), ARRAY(TS)),
        sa.func.array_agg(aggregate_order_by(m.c.depth, m.c.n)),
        type_=sa.BigInteger,
    )
    return [sa.select(call).select_from(m).having(sa.func.count() > lit(0)).scalar_subquery()]


def events(actions: Sequence[Action], facts: Any) -> list[sa.Select[Any]]:
    """The events that emit_event, start_workflow and exit_workflow write, for `emit.written`."""
    f = facts.c
    found: list[sa.Select[Any]] = []
    for n, a in enumerate(actions):
        done = [f[condition_column(n, a)]] if a.kind in EVENT_KINDS else []
        if a.kind == "emit_event":
            type_ = sa.literal(a.params["type"], sa.Text)
            found.append(emit.event_rows(facts, type_, f[fact_name("payload", n, a)], done, cause=f.arrived_event))
        elif a.kind == "start_workflow":
            found.append(emit.started(facts, a.params["workflow"], f[fact_name("payload", n, a)], done, f.arrived_event))
        elif a.kind == "exit_workflow":
            found.append(emit.let_go(facts, a.params["workflow"], done, f.arrived_event))
    return found


def written_keys(params: Mapping[str, Any]) -> set[str]:
    """The keys of the profile that an update_profile changes."""
    return {*(params.get("set") or {}), *(params.get("unset") or []), *(params.get("increment") or {}), WRITTEN}


def changes(actions: Sequence[Action], facts: Any, watched: frozenset[str]) -> sa.CTE | None:
    """Rows of `customer_changes` for what update_profile writes of the keys that a condition reads."""
    f = facts.c
    at = effect_time(f.at, f.at_seq)
    rows = []
    for n, a in enumerate(actions):
        if a.kind not in PROFILE_KINDS:
            continue
        keys = sorted(written_keys(a.params) & watched)
        if keys:
            rows.append(
                sa.select(f.customer_id, at, at, sa.literal(keys, ARRAY(sa.Text)), effect_depth(f)).where(f[condition_column(n, a)])
            )
    if not rows:
        return None
    names = ["customer_id", "at", "received_at", "keys", "depth"]
    new = sa.insert(customer_changes).from_select(names, sa.union_all(*rows) if len(rows) > 1 else rows[0])
    return new.returning(customer_changes.c.id).cte("changed")
