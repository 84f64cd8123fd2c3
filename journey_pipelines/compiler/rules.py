"""Goals and exits: rules that compare the round's rows with journeys of their customer.

A rule belongs to every version that wrote it the same way: its uid is a hash of its text, and the engine passes the versions
that share it. Exits end journeys; goals and exits also take back unsent messages of what they match, journeys that completed
meanwhile included (engine.md, 4). Every workflow can be left by its own `exit.<workflow>` event: exit_workflow, `journeys exit`.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler import emit
from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.details import json_object, null_json
from journey_pipelines.compiler.journeys import end_admissions, transitions
from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.rule_rows import RuleRows, described, in_round, resolved, rule_words
from journey_pipelines.compiler.rule_uids import Rule, is_condition
from journey_pipelines.compiler.scopes import later
from journey_pipelines.compiler.statement import NOW, TS, VERSIONS, Statement, compile_statement, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.expressions import compile_value
from journey_pipelines.store.tables import conversions, customer_journeys, messages
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ExitRule, Goal, rule_event
from journey_pipelines.workflows.triggers import exit_event

UNSENT = ("planned", "deferred", "retry")


@dataclass(frozen=True)
class RuleStatements:
    """The goal or the exits of one or more versions of a workflow, in the order a round runs them."""

    event_types: frozenset[str]
    statements: tuple[Statement, ...]


def goal_words(definition: Definition) -> set[str]:
    """What brings the goal's statement; nothing where there is no goal."""
    goal = definition.workflow.goal
    return rule_words(definition, goal) if goal else set()


def exit_words(definition: Definition) -> set[str]:
    """What brings the exits' statements."""
    workflow = definition.workflow
    words = {word for rule in _rules(definition) for word in rule_words(definition, resolved(rule, workflow.goal))}
    return {exit_event(workflow.id), *words}


@kept
def goal_statements(definition: Definition, around: Surroundings) -> RuleStatements | None:
    """Count conversions; None where the workflow has no goal."""
    goal = definition.workflow.goal
    if goal is None:
        return None
    return RuleStatements(
        frozenset(goal_words(definition)),
        (compile_statement(f"{definition.workflow.id}: goal", _goal(definition, goal, around)),),
    )


@kept
def exit_statements(definition: Definition, around: Surroundings) -> RuleStatements:
    """End journeys, then take back what they have not sent."""
    name = f"{definition.workflow.id}: exit"
    return RuleStatements(
        frozenset(exit_words(definition)),
        (
            compile_statement(name, _exit(definition, around)),
            compile_statement(f"{name}, take back unsent", _take_back(definition, around)),
        ),
    )


def _rules(definition: Definition) -> list[ExitRule]:
    """The goal first: where one event is both, the reason is goal."""
    return sorted((rule for rule in definition.workflow.exit if not rule.goal or definition.workflow.goal), key=lambda rule: not rule.goal)


def _journeys(definition: Definition, *, active: bool) -> LateralFromClause:
    """The journeys of a batch event's customer that entered before the event."""
    b, j = batch_events, customer_journeys
    query = sa.select(j).where(
        j.c.customer_id == b.c.customer_id,
        j.c.workflow_id == definition.workflow.id,
        j.c.version == sa.any_(VERSIONS),
        later((b.c.occurred_at, b.c.seq), (j.c.entered_at, j.c.entered_seq)),
    )
    if active:
        query = query.where(j.c.status == lit("active"))
    return query.offset(lit(0)).lateral("j")


def _goal(definition: Definition, goal: Goal, around: Surroundings) -> sa.Select[Any]:
    b = batch_events
    rows = RuleRows(definition, _journeys(definition, active=False), around)
    j = rows.journey.c
    condition = rows.matches(goal)
    if is_condition(goal):
        # becoming true counts once a journey
        condition = sa.and_(condition, ~sa.exists().where(conversions.c.journey_id == j.id))
    value = compile_value(goal.value, rows.scope).as_num() if goal.value else sa.cast(sa.null(), sa.Numeric)
    # exposed = something of this journey had been accepted by a provider when the goal came
    exposed = sa.exists().where(messages.c.journey_id == j.id, messages.c.accepted_at <= b.c.occurred_at)
    kind = lit("condition") if is_condition(goal) else b.c.type
    counted = (
        pg_insert(conversions)
        .from_select(
            ["journey_id", "event_seq", "workflow_id", "version", "customer_id", "event_type", "at", "value", "exposed"],
            sa.select(j.id, b.c.seq, j.workflow_id, j.version, j.customer_id, kind, b.c.occurred_at, value, exposed)
            .select_from(rows.joined(b.join(rows.journey, sa.true())))
            .where(*in_round(definition, [goal]), condition),
        )
        .on_conflict_do_nothing()
        .returning(conversions.c.journey_id)
        .cte("counted")
    )
    return sa.select(sa.select(sa.func.count()).select_from(counted).scalar_subquery().label("conversions"))


def _conditions(definition: Definition, rows: RuleRows) -> list[tuple[sa.ColumnElement[bool], str, str]]:
    """(condition, exit reason, the rule in words) of every way out that a row can bring."""
    workflow, b = definition.workflow, batch_events.c
    found: list[tuple[sa.ColumnElement[bool], str, str]] = []
    for rule in _rules(definition):
        meant: Rule = resolved(rule, workflow.goal)
        reason = "goal" if rule.goal else "unsubscribed" if rule_event(rule) == "message.unsubscribed" else "exit_rule"
        found.append((rows.matches(meant), reason, f"goal: {described(meant)}" if rule.goal else described(meant)))
    asked = b.type == exit_event(workflow.id)
    manual = sa.func.journeys.txt(b.payload.op("->")(sa.literal("by", sa.Text)), type_=sa.Text) == sa.literal("manual", sa.Text)
    found.append((sa.and_(asked, manual), "manual", "journeys exit"))
    found.append((asked, "exit_rule", "exit_workflow"))
    return found


def _exit(definition: Definition, around: Surroundings) -> sa.Select[Any]:
    b, workflow = batch_events, definition.workflow
    rows = RuleRows(definition, _journeys(definition, active=True), around)
    j = rows.journey.c
    conditions = _conditions(definition, rows)
    reason = sa.case(*((c, lit(why)) for c, why, _ in conditions))
    text = sa.case(*((c, sa.literal(words, sa.Text)) for c, _, words in conditions))
    detail = sa.func.jsonb_build_object(
        sa.literal("rule"), text, sa.literal("event"), b.c.seq, sa.literal("values"), json_object(rows.values), type_=JSONB
    )
    hit = (
        sa.select(
            j.id,
            j.workflow_id,
            j.version,
            j.customer_id,
            j.entry_key,
            j.visit,
            j.trigger_id,
            j.entered_at,
            j.entered_seq,
            j.depth,
            j.step_key.label("from_step"),
            sa.cast(sa.null(), sa.Text).label("to_step"),
            # a late event ends the journey where it is, not in its past
            sa.func.greatest(b.c.occurred_at, j.at, type_=TS).label("at"),
            b.c.seq.label("at_seq"),
            reason.label("why"),
            (detail if rows.values else sa.func.coalesce(detail, null_json())).label("detail"),
        )
        .select_from(rows.joined(b.join(rows.journey, sa.true())))
        .where(*in_round(definition, [resolved(rule, workflow.goal) for rule in _rules(definition)], exit_event(workflow.id)))
        .where(sa.or_(*(c for c, _, _ in conditions)))
        .cte("hit")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    t = customer_journeys
    ended = (
        sa.update(t)
        .where(t.c.id == hit.c.id)
        .values(status=lit("ended"), exit_reason=hit.c.why, ended_at=hit.c.at, at=hit.c.at, at_seq=hit.c.at_seq, arrived_seq=sa.null())
        .returning(t.c.id)
        .cte("ended")
    )
    told = emit.written(emit.ended_events(hit, around.named))
    return sa.select(
        sa.select(sa.func.count()).select_from(ended).scalar_subquery().label("ended"),
        (sa.select(sa.func.count()).select_from(told).scalar_subquery() if told is not None else lit(0)).label("emitted"),
    ).add_cte(end_admissions(hit), transitions(hit))


def _take_back(definition: Definition, around: Surroundings) -> sa.Select[Any]:
    """Unsent messages of the journeys that the rules match, ended ones too."""
    b, workflow = batch_events, definition.workflow
    m, j = messages, customer_journeys
    unsent = (
        sa.select(m.c.id.label("message_id"), m.c.journey_id)
        .where(m.c.customer_id == b.c.customer_id, m.c.workflow_id == workflow.id, m.c.state.in_([lit(s) for s in UNSENT]))
        .offset(lit(0))
        .lateral("unsent")
    )
    journey = (
        sa.select(j)
        .where(
            j.c.id == unsent.c.journey_id,
            j.c.version == sa.any_(VERSIONS),
            later((b.c.occurred_at, b.c.seq), (j.c.entered_at, j.c.entered_seq)),
        )
        .limit(lit(1))
        .lateral("j")
    )
    rows = RuleRows(definition, journey, around)
    # whom the row has just ended is not asked again: a condition may read what the end has changed (journey.step_entered_at)
    own = sa.and_(journey.c.status == lit("ended"), journey.c.at_seq == b.c.seq)
    by_goal = sa.and_(own, journey.c.exit_reason == lit("goal"))
    conditions = [(by_goal, "goal"), (own, "exit"), *((c, why) for c, why, _ in _conditions(definition, rows))]
    reason = sa.case(*((c, lit("goal" if why == "goal" else "exit")) for c, why in conditions))
    hit = (
        sa.select(unsent.c.message_id, reason.label("reason"))
        .select_from(rows.joined(b.join(unsent, sa.true()).join(journey, sa.true())))
        .where(*in_round(definition, [resolved(rule, workflow.goal) for rule in _rules(definition)], exit_event(workflow.id)))
        .where(sa.or_(*(c for c, _ in conditions)))
        .cte("hit")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    done = (
        sa.update(m)
        .where(m.c.id == hit.c.message_id, m.c.state.in_([lit(s) for s in UNSENT]))
        .values(state=lit("suppressed"), reason=hit.c.reason, updated_at=NOW)
        .returning(m.c.id)
        .cte("done")
    )
    return sa.select(sa.select(sa.func.count()).select_from(done).scalar_subquery().label("taken_back"))
