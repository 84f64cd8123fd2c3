"""Goals and exits: rules that compare the round's event with journeys of its customer.

A rule belongs to every version that wrote it the same way: its uid is a hash of its text, and the engine passes the versions
that share it. Exits end journeys; goals and exits also take back unsent messages of what they match, journeys that completed
meanwhile included (engine.md, 4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.details import json_object, null_json
from journey_pipelines.compiler.journeys import end_admissions, transitions
from journey_pipelines.compiler.scopes import context_of, event_scope, journey_scope, later, profile_of
from journey_pipelines.compiler.statement import HIGH, LOW, NOW, ROUND, TS, VERSIONS, Statement, compile_statement, lit
from journey_pipelines.expressions import compile_condition, compile_value
from journey_pipelines.store.tables import conversions, customer_journeys, messages
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ExitRule, Goal

UNSENT = ("planned", "deferred", "retry")


@dataclass(frozen=True)
class RuleStatements:
    """The goal or the exits of one or more versions of a workflow, in the order a round runs them."""

    event_types: frozenset[str]
    statements: tuple[Statement, ...]


def goal_statements(definition: Definition, brand: Mapping[str, Any]) -> RuleStatements | None:
    """Count conversions; None where the workflow has no goal."""
    goal = definition.workflow.goal
    if goal is None:
        return None
    name = f"{definition.workflow.id}: goal"
    return RuleStatements(
        frozenset({goal.event}),
        (compile_statement(name, _goal(definition, goal, brand)),),
    )


def exit_statements(definition: Definition, brand: Mapping[str, Any]) -> RuleStatements | None:
    """End journeys, then take back what they have not sent; None where the workflow has no exit on events."""
    workflow = definition.workflow
    rules = [rule for rule in workflow.exit if rule.event or (rule.goal and workflow.goal)]
    if not rules:
        return None
    types = frozenset(rule.event or (workflow.goal.event if workflow.goal else "") for rule in rules)
    name = f"{workflow.id}: exit"
    return RuleStatements(
        types,
        (
            compile_statement(name, _exit(definition, rules, brand)),
            compile_statement(f"{name}, take back unsent", _take_back(definition, rules, brand)),
        ),
    )


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


class _Rows:
    """The laterals a rule's conditions read, and the conditions."""

    def __init__(self, definition: Definition, journeys: Any, brand: Mapping[str, Any]) -> None:
        b = batch_events
        self.journey = journeys
        self.context = context_of(journeys.c.id)
        self.profile = profile_of(b.c.customer_id)
        self.scope = journey_scope(
            journeys, self.profile, self.context, event_scope(b), (b.c.occurred_at, b.c.seq), brand, definition.catalogue
        )
        self.values: dict[str, sa.ColumnElement[Any]] = {}

    def joined(self, source: Any) -> Any:
        return source.outerjoin(self.context, sa.true()).outerjoin(self.profile, sa.true())

    def matches(self, event: str, match: str | None, when: str | None) -> sa.ColumnElement[bool]:
        b = batch_events
        where: list[sa.ColumnElement[bool]] = [b.c.type == event]
        if match:
            key = sa.literal(match, sa.Text)
            arrived = sa.func.journeys.present(b.c.payload.op("->")(key))
            where.append(arrived == sa.func.journeys.present(self.context.c.event.op("->")(key)))
            self.values[f"arrived.{match}"] = arrived
        if when:
            compiled = compile_condition(when, self.scope)
            self.values.update(compiled.values)
            where.append(compiled.sql)
        if event.startswith("message."):
            where.append(b.c.journey_id == self.journey.c.id)
        return sa.and_(*where)

    def goal(self, goal: Goal) -> sa.ColumnElement[bool]:
        condition = self.matches(goal.event, goal.match, goal.when)
        if goal.within:
            within = sa.literal(goal.within.elapsed(), sa.Interval())
            condition = sa.and_(condition, batch_events.c.occurred_at <= self.journey.c.entered_at + within)
        return condition

    def rule(self, rule: ExitRule, goal: Goal | None) -> sa.ColumnElement[bool]:
        if rule.goal:
            assert goal is not None
            return self.goal(goal)
        assert rule.event is not None
        return self.matches(rule.event, rule.match, rule.when)


def _in_round(types: list[str]) -> list[sa.ColumnElement[bool]]:
    b = batch_events
    return [b.c.round == ROUND, b.c.seq.between(LOW, HIGH), b.c.type.in_(types)]


def _goal(definition: Definition, goal: Goal, brand: Mapping[str, Any]) -> sa.Select[Any]:
    b = batch_events
    rows = _Rows(definition, _journeys(definition, active=False), brand)
    j = rows.journey.c
    condition = rows.goal(goal)
    value = compile_value(goal.value, rows.scope).as_num() if goal.value else sa.cast(sa.null(), sa.Numeric)
    # exposed = something of this journey had been accepted by a provider when the goal came
    exposed = sa.exists().where(messages.c.journey_id == j.id, messages.c.accepted_at <= b.c.occurred_at)
    counted = (
        pg_insert(conversions)
        .from_select(
            ["journey_id", "event_seq", "workflow_id", "version", "customer_id", "event_type", "at", "value", "exposed"],
            sa.select(j.id, b.c.seq, j.workflow_id, j.version, j.customer_id, b.c.type, b.c.occurred_at, value, exposed)
            .select_from(rows.joined(b.join(rows.journey, sa.true())))
            .where(*_in_round([goal.event]), condition),
        )
        .on_conflict_do_nothing()
        .returning(conversions.c.journey_id)
        .cte("counted")
    )
    return sa.select(sa.select(sa.func.count()).select_from(counted).scalar_subquery().label("conversions"))


def _exit(definition: Definition, rules: list[ExitRule], brand: Mapping[str, Any]) -> sa.Select[Any]:
    b, workflow = batch_events, definition.workflow
    rows = _Rows(definition, _journeys(definition, active=True), brand)
    j = rows.journey.c
    ordered = sorted(rules, key=lambda rule: not rule.goal)  # where one event is both, the reason is goal
    conditions = [(rows.rule(rule, workflow.goal), rule) for rule in ordered]
    reason = sa.case(*((c, lit("goal" if rule.goal else "exit_rule")) for c, rule in conditions))
    text = sa.case(*((c, sa.literal(_text(rule, workflow.goal), sa.Text)) for c, rule in conditions))
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
            j.step_key.label("from_step"),
            sa.cast(sa.null(), sa.Text).label("to_step"),
            # a late event ends the journey where it is, not in its past
            sa.func.greatest(b.c.occurred_at, j.at, type_=TS).label("at"),
            b.c.seq.label("at_seq"),
            reason.label("why"),
            (detail if rows.values else sa.func.coalesce(detail, null_json())).label("detail"),
        )
        .select_from(rows.joined(b.join(rows.journey, sa.true())))
        .where(*_in_round(sorted({rule.event or (workflow.goal.event if workflow.goal else "") for rule in rules})))
        .where(sa.or_(*(c for c, _ in conditions)))
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
    return sa.select(sa.select(sa.func.count()).select_from(ended).scalar_subquery().label("ended")).add_cte(
        end_admissions(hit), transitions(hit)
    )


def _text(rule: ExitRule, goal: Goal | None) -> str:
    if rule.goal and goal:
        return "goal: " + _described(goal.event, goal.match, goal.when)
    return _described(rule.event or "", rule.match, rule.when)


def _described(event: str, match: str | None, when: str | None) -> str:
    return event + (f", match {match}" if match else "") + (f", when {when}" if when else "")


def _take_back(definition: Definition, rules: list[ExitRule], brand: Mapping[str, Any]) -> sa.Select[Any]:
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
    rows = _Rows(definition, journey, brand)
    conditions = [(rows.rule(rule, workflow.goal), rule) for rule in sorted(rules, key=lambda rule: not rule.goal)]
    hit = (
        sa.select(unsent.c.message_id, sa.case(*((c, lit("goal" if rule.goal else "exit")) for c, rule in conditions)).label("reason"))
        .select_from(rows.joined(b.join(unsent, sa.true()).join(journey, sa.true())))
        .where(*_in_round(sorted({rule.event or (workflow.goal.event if workflow.goal else "") for rule in rules})))
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
