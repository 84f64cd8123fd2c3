"""What a goal or an exit rule asks of a round's row and a journey: an event, a segment's transition, or a condition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.relevance import Relevance, relevance_of
from journey_pipelines.compiler.scopes import context_of, event_scope, journey_scope, profile_of
from journey_pipelines.compiler.statement import HIGH, LOW, ROUND
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.expressions import compile_condition
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ExitRule, Goal, rule_event

Rule = Goal | ExitRule


def resolved(rule: Rule, goal: Goal | None) -> Rule:
    """The exit `goal` is the goal's own rule."""
    return goal if isinstance(rule, ExitRule) and rule.goal and goal is not None else rule


def is_condition(rule: Rule) -> bool:
    """`when` alone: looked at when the customer changes, not when an event comes."""
    return rule_event(rule) is None


def relevance_of_rule(definition: Definition, rule: Rule) -> Relevance:
    """What makes a condition rule worth asking."""
    return relevance_of([rule.when], definition.catalogue)


def rule_words(definition: Definition, rule: Rule) -> set[str]:
    """The words (see `relevance`) that bring a rule."""
    event = rule_event(rule)
    return {event} if event is not None else relevance_of_rule(definition, rule).words()


def described(rule: Rule) -> str:
    """The rule as the log of transitions says it."""
    parts = [rule_event(rule) or ""]
    if rule.segment:
        parts[0] += f" {rule.segment}"
    if rule.match:
        parts.append(f"match {rule.match}")
    if rule.when:
        parts.append(f"when {rule.when}")
    return ", ".join(part for part in parts if part)


def in_round(definition: Definition, rules: Iterable[Rule], *types: str) -> list[sa.ColumnElement[bool]]:
    """The rows of the round that may concern one of the rules, or are of one of the types."""
    b = batch_events.c
    events = sorted({*types, *(event for rule in rules if (event := rule_event(rule)) is not None)})
    where: list[sa.ColumnElement[bool]] = [b.type.in_(events)] if events else []
    where += [relevance_of_rule(definition, rule).rows() for rule in rules if is_condition(rule)]
    return [b.round == ROUND, b.seq.between(LOW, HIGH), sa.or_(*where)]


class RuleRows:
    """The laterals that the conditions of rules read, the conditions, and the values that they saw."""

    def __init__(self, definition: Definition, journeys: Any, around: Surroundings) -> None:
        b = batch_events
        self.definition = definition
        self.journey = journeys
        self.context = context_of(journeys.c.id)
        self.profile = profile_of(b.c.customer_id)
        self.scope = journey_scope(
            journeys, self.profile, self.context, event_scope(b), (b.c.occurred_at, b.c.seq), around.brand, definition.catalogue
        )
        self.values: dict[str, sa.ColumnElement[Any]] = {}

    def joined(self, source: Any) -> Any:
        """`source` with what the conditions read."""
        return source.outerjoin(self.context, sa.true()).outerjoin(self.profile, sa.true())

    def matches(self, rule: Rule) -> sa.ColumnElement[bool]:
        """Whether the row brings the rule, and it holds."""
        b = batch_events
        event = rule_event(rule)
        where: list[sa.ColumnElement[bool]] = []
        if event is None:
            where.append(relevance_of_rule(self.definition, rule).rows())
        else:
            where.append(b.c.type == event)
        if rule.segment:
            where.append(sa.func.journeys.txt(b.c.payload.op("->")(sa.literal("segment", sa.Text))) == sa.literal(rule.segment, sa.Text))
        if rule.match:
            key = sa.literal(rule.match, sa.Text)
            arrived = sa.func.journeys.present(b.c.payload.op("->")(key))
            where.append(arrived == sa.func.journeys.present(self.context.c.event.op("->")(key)))
            self.values[f"arrived.{rule.match}"] = arrived
        if rule.when:
            compiled = compile_condition(rule.when, self.scope)
            self.values.update(compiled.values)
            where.append(compiled.sql)
        if event is not None and event.startswith("message."):
            where.append(b.c.journey_id == self.journey.c.id)
        if isinstance(rule, Goal) and rule.within:
            within = sa.literal(rule.within.elapsed(), sa.Interval())
            where.append(b.c.occurred_at <= self.journey.c.entered_at + within)
        return sa.and_(*where)
