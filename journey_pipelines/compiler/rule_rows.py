"""What a goal or an exit rule asks of a round's row and a journey: an event, a segment's transition, or a condition.

A condition is asked where something it reads changed, and where time alone may have made it true: at the row that `rule_watch` planned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.relevance import Relevance, recheck_word, relevance_of
from journey_pipelines.compiler.rule_uids import Rule, exit_uid, hangs_on, is_condition, timed_rules
from journey_pipelines.compiler.scopes import context_of, event_scope, journey_scope, profile_of
from journey_pipelines.compiler.statement import FOREVER_SEQ, HIGH, LOW, ROUND, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.expressions import compile_condition
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ExitRule, Goal, rule_event

_MICROSECOND = timedelta(microseconds=1)


def resolved(rule: Rule, goal: Goal | None) -> Rule:
    """The exit `goal` is the goal's own rule."""
    return goal if isinstance(rule, ExitRule) and rule.goal and goal is not None else rule


def relevance_of_rule(definition: Definition, rule: Rule) -> Relevance:
    """What makes a condition rule worth asking."""
    return relevance_of([rule.when], definition.catalogue)


def rule_words(definition: Definition, rule: Rule) -> set[str]:
    """The words (see `relevance`) that bring a rule."""
    event = rule_event(rule)
    if event is not None:
        return {event}
    watched = {recheck_word(exit_uid(definition))} if timed_rules(definition, [rule]) else set()
    return relevance_of_rule(definition, rule).words() | watched


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
    looked_at = list(rules)
    events = {*types, *(event for rule in looked_at if (event := rule_event(rule)) is not None)}
    if timed_rules(definition, looked_at):
        events.add(recheck_word(exit_uid(definition)))
    where: list[sa.ColumnElement[bool]] = [b.type.in_(sorted(events))] if events else []
    where += [relevance_of_rule(definition, rule).rows() for rule in looked_at if is_condition(rule)]
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
            where.append(self._asked(rule))
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

    def _asked(self, rule: Rule) -> sa.ColumnElement[bool]:
        """Whether the row is one at which a condition is asked."""
        changed = relevance_of_rule(self.definition, rule).rows()
        return sa.or_(changed, self._turned(rule)) if timed_rules(self.definition, [rule]) else changed

    def _turned(self, rule: Rule) -> sa.ColumnElement[bool]:
        """Whether its time has come, for a journey under way (a goal with `within`: until that is over).

        What was so a microsecond ago was not brought about by time: a row may be planned too early. A condition that is asked every
        quarter of an hour has no instant of its own.
        """
        b, j = batch_events.c, self.journey.c
        where: list[sa.ColumnElement[bool]] = [b.type == sa.literal(recheck_word(exit_uid(self.definition)), sa.Text)]
        if not (isinstance(rule, Goal) and rule.within):
            where.append(j.status == lit("active"))
        if not hangs_on(rule.when or "").polled:
            before = b.occurred_at - sa.literal(_MICROSECOND, sa.Interval())
            was = compile_condition(rule.when or "", replace(self.scope, at=before, at_seq=FOREVER_SEQ, now=before))
            where.append(was.sql.is_not(sa.true()))
        return sa.and_(*where)
