"""From Jinja's syntax tree to SQLAlchemy Core: conditions for WHERE, typed values, and texts with {{ }}.

Every text and number of the expression is a bound parameter; what can be worked out without a row is worked out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import sqlalchemy as sa
from jinja2 import nodes

from . import history, operators
from .check import check
from .durations import Duration
from .names import CUSTOMER_COLUMNS, ENGAGEMENT, FILTER_ALIASES, HISTORY, JOURNEY_FIELDS, Catalogue, Kind, as_catalogue, attribute_kind
from .operators import MixedKinds, negated
from .parse import error_at, parse_expression, parse_template
from .paths import path_of, thing_of
from .rewrite import unparse
from .scope import EventScope, Scope
from .terms import MISSING, Sql, Term, as_bool, as_json, as_number, as_text, as_time, condition, constant, settled, spelled, truth


@dataclass(frozen=True)
class Compiled:
    """An expression as SQL.

    sql: of `compile_condition` a predicate for WHERE, whose NULL means false; of the others the value, NULL where it is missing.
    type: num, text, bool, ts or json. values: label -> jsonb of every value of the row that the text names.
    """

    sql: Sql
    type: Kind
    values: dict[str, Sql]
    term: Term = field(repr=False)

    def as_text(self) -> Sql:
        """The value as text: numbers without idle zeros, times in ISO 8601, true and false; lists and mappings are NULL."""
        return _typed(spelled(self.term), sa.Text())

    def as_jsonb(self) -> Sql:
        """The value as jsonb in its own type, a time as text; SQL NULL where it is missing."""
        return as_json(self.term)

    def as_num(self) -> Sql:
        """The number; NULL where the value is none."""
        return _typed(as_number(self.term), sa.Numeric())

    def as_time(self) -> Sql:
        """The time, or the time a text spells; NULL where the value is none."""
        return _typed(as_time(self.term), sa.TIMESTAMP(timezone=True))


def compile_condition(text: str, scope: Scope) -> Compiled:
    """A condition for WHERE. Raises ExpressionError, the first of them."""
    compiler = Compiler(scope)
    sql = compiler.condition(checked(parse_expression(text), truth=True))
    return Compiled(sql, "bool", compiler.values, condition(sql))


def compile_value(text: str, scope: Scope) -> Compiled:
    """A typed value. Raises ExpressionError, the first of them."""
    compiler = Compiler(scope)
    return compiler.finished(compiler.value(checked(parse_expression(text), truth=False)))


def compile_text(template: str, scope: Scope) -> Compiled:
    """Text with {{ }}, missing as a whole where a value without default is; a lone {{ }} keeps its type. Raises ExpressionError."""
    compiler = Compiler(scope)
    parts: list[Term] = []
    for statement in parse_template(template).body:
        if not isinstance(statement, nodes.Output):
            raise error_at(statement, "only {{ }} is possible here, not {% %}")
        for part in statement.nodes:
            parts.append(constant(part.data) if isinstance(part, nodes.TemplateData) else compiler.value(checked(part, truth=False)))
    if len(parts) == 1:
        return compiler.finished(parts[0])
    return compiler.finished(operators.joined(parts) if parts else constant(""))


def checked(tree: nodes.Expr, truth: bool) -> nodes.Expr:
    """The tree, if the language has all of it; raises ExpressionError, the first of them."""
    found = check([tree], Catalogue(), truth)
    if found.errors:
        raise found.errors[0]
    return tree


def _typed(term: Term, type_: Any) -> Sql:
    return sa.cast(sa.null(), type_) if term.kind is None else settled(term)


class Compiler:
    """Trees that passed `checked`, in one scope. `values` gathers label -> jsonb of what they name."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.catalogue = as_catalogue(scope.catalogue)
        self.values: dict[str, Sql] = {}

    def finished(self, term: Term) -> Compiled:
        if term.kind is None:
            return Compiled(as_json(term), "json", self.values, term)
        return Compiled(settled(term), term.kind, self.values, term)

    def condition(self, node: nodes.Expr) -> Sql:
        match node:
            case nodes.Not():
                return negated(self.condition(node.node))
            case nodes.And():
                return operators.all_of([self.condition(node.left), self.condition(node.right)])
            case nodes.Or():
                return operators.any_of([self.condition(node.left), self.condition(node.right)])
        if (thing := thing_of(node)) is not None:
            return self._there(*thing, node)
        return truth(self.value(node))

    def value(self, node: nodes.Expr) -> Term:
        match node:
            case nodes.Const():
                return constant(node.value)
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                return self._path(node)
            case nodes.Not():
                return condition(self.condition(node))
            case nodes.Compare():
                return condition(self._compare(node))
            case nodes.And():
                return self._mixing(node, partial(operators.both, self.value(node.left), self.value(node.right)))
            case nodes.Or():
                return self._mixing(node, partial(operators.either, self.value(node.left), self.value(node.right)))
            case nodes.Add() | nodes.Sub() | nodes.Mul() | nodes.Div():
                return operators.arithmetic(node.operator, self.value(node.left), self.value(node.right))
            case nodes.Neg() | nodes.Pos():
                return operators.arithmetic(node.operator, constant(0), self.value(node.node))
            case nodes.Concat():
                return operators.joined([self.value(part) for part in node.nodes])
            case nodes.CondExpr():
                otherwise = MISSING if node.expr2 is None else self.value(node.expr2)
                return self._mixing(node, partial(operators.chosen, self.condition(node.test), self.value(node.expr1), otherwise))
            case nodes.Filter():
                return self._filter(node)
            case nodes.Test():
                return condition(self._test(node))
            case nodes.Call():
                term = self._call(node)
                if not term.constant:
                    self.values[unparse(node)] = as_json(term)
                return term
        raise error_at(node, f"{type(node).__name__.lower()} is not in the language")

    def _mixing(self, node: nodes.Expr, make: Any) -> Term:
        try:
            term: Term = make()
        except MixedKinds:
            raise error_at(node, f"{unparse(node)} is a time in one case and no time in the other: make it text with | date") from None
        return term

    def _path(self, node: nodes.Expr) -> Term:
        path = path_of(node)
        assert path is not None, "the check refuses other forms"
        root, keys = path
        if root.name == "now":
            return Term("ts", self.scope.now)
        if root.name == "brand":
            return self._brand(keys)
        readers = {"customer": self._customer, "journey": self._journey, "steps": self._result}
        term = readers.get(root.name, partial(self._event, root.name))(node, keys)
        if not term.constant:
            self.values[unparse(node)] = as_json(term)
        return term

    def _customer(self, node: nodes.Expr, keys: list[str | int]) -> Term:
        profile = self.scope.customer
        if profile is None:
            raise error_at(node, "no customer is known here")
        name = str(keys[0])
        if name in CUSTOMER_COLUMNS:
            return Term(CUSTOMER_COLUMNS[name], profile.c[name])
        leaf = Term("json", operators.json_at(profile.c.attributes, keys), raw=True)
        kind = attribute_kind(self.catalogue, name)
        if kind is None:
            return leaf
        return {"num": as_number, "text": as_text, "bool": as_bool, "ts": as_time}[kind](leaf) if len(keys) == 1 else MISSING

    def _events(self, name: str, node: nodes.Expr) -> EventScope | None:
        event = self.scope.event if name == "event" else self.scope.arrived
        if event is None and name == "event":
            raise error_at(node, "no event is known here")
        return event

    def _event(self, name: str, node: nodes.Expr, keys: list[str | int]) -> Term:
        event = self._events(name, node)
        if event is None:
            return MISSING
        match keys:
            case ["type"]:
                return Term("text", event.type)
            case ["occurred_at"]:
                return Term("ts", event.occurred_at)
        return Term("json", operators.json_at(event.payload, keys), raw=True)

    def _there(self, root: nodes.Name, step: str, node: nodes.Expr) -> Sql:
        """A bare `arrived`, `event` or `steps.<id>`: whether there is one."""
        if step:
            found = self._result(node, [step])
            self.values[unparse(node)] = as_json(found)
            return found.sql
        event = self._events(root.name, node)
        if event is None:
            return sa.false()
        self.values[f"{root.name}.type"] = as_json(Term("text", event.type))
        return event.type.is_not(None)

    def _result(self, node: nodes.Expr, keys: list[str | int]) -> Term:
        if "id" not in self.scope.journey:
            raise error_at(node, f"{unparse(node)} is not known here: there is no journey yet, so no step of it")
        return self._once(node, history.step_result(self.scope, str(keys[0]), keys[1:]))

    def _once(self, node: nodes.Expr, term: Term) -> Term:
        look_ups = self.scope.look_ups
        return term if look_ups is None else look_ups.once(unparse(node), self.scope.arrived is not None, term)

    def _journey(self, node: nodes.Expr, keys: list[str | int]) -> Term:
        name = str(keys[0])
        if name not in self.scope.journey:
            raise error_at(node, f"journey.{name} is not known here: there is no journey yet")
        column, kind = self.scope.journey[name], JOURNEY_FIELDS[name]
        return Term(kind, sa.cast(column, sa.Numeric()) if kind == "num" else column)

    def _brand(self, keys: list[str | int]) -> Term:
        found: Any = self.scope.brand.get(str(keys[0]))
        if isinstance(found, sa.ColumnElement):
            return _from_column(found)
        for key in keys[1:]:
            found = found.get(str(key)) if isinstance(found, Mapping) else None
        return constant(found)

    def _compare(self, node: nodes.Compare) -> Sql:
        left = self.value(node.expr)
        conditions: list[Sql] = []
        for operand in node.ops:
            if isinstance(operand.expr, (nodes.List, nodes.Tuple)):
                held = operators.listed(left, [self.value(item) for item in operand.expr.items])
                conditions.append(held if operand.op == "in" else negated(held))
                continue
            right = self.value(operand.expr)
            conditions.append(operators.compared(operand.op, left, right))
            left = right
        return operators.all_of(conditions)

    def _filter(self, node: nodes.Filter) -> Term:
        assert node.node is not None, "the check refuses filter blocks"
        value = self.value(node.node)
        arguments = [argument.value for argument in node.args if isinstance(argument, nodes.Const)]
        match FILTER_ALIASES.get(node.name, node.name):
            case "lower":
                return operators.lowered(value)
            case "upper":
                return operators.uppered(value)
            case "trim":
                return operators.trimmed(value)
            case "length":
                return operators.measured(value)
            case "round":
                return operators.rounded(value, arguments[0] if arguments else 0)
            case "date":
                return operators.dated(value, arguments[0] if arguments else "%Y-%m-%d")
            case "int" | "float" as name:
                return operators.numbered(value, whole=name == "int")
        also_false = len(node.args) == 2 and bool(arguments[-1])
        return self._mixing(node, partial(operators.defaulted, value, self.value(node.args[0]), also_false))

    def _test(self, node: nodes.Test) -> Sql:
        if node.name in ("string", "number"):
            return operators.is_kind(self.value(node.node), "text" if node.name == "string" else "num")
        there = operators.is_there(self.value(node.node)) if thing_of(node.node) is None else self.condition(node.node)
        return there if node.name == "defined" else negated(there)

    def _call(self, node: nodes.Call) -> Term:
        assert isinstance(node.node, nodes.Name), "the check refuses other calls"
        name, words = node.node.name, [argument.value for argument in node.args if isinstance(argument, nodes.Const)]
        if name in HISTORY:
            return self._once(node, self._history(name, node, words))
        if name in ENGAGEMENT:
            if "id" not in self.scope.journey:
                raise error_at(node, f"{name}() is not possible here: there is no journey yet")
            return self._once(node, history.engaged(self.scope, ENGAGEMENT[name], words[0], words[1] if len(words) > 1 else None))
        match name:
            case "in_segment":
                return self._once(node, history.in_segment(self.scope, words[0]))
            case "in_workflow":
                return self._once(node, history.in_workflow(self.scope, words[0]))
            case "days_since":
                return history.days_between(self.value(node.args[0]), Term("ts", self.scope.now))
            case "days_until":
                return history.days_between(Term("ts", self.scope.now), self.value(node.args[0]))
            case "add":
                return history.later(self.value(node.args[0]), Duration.parse(words[-1]).elapsed())
            case "local_hour":
                return history.local_hour(self.scope)
        return history.local_weekday(self.scope)

    def _history(self, name: str, node: nodes.Call, words: list[Any]) -> Term:
        if not node.kwargs and name != "event_sum":
            return history.kept(name, self.scope, words[0])
        events, where = self.looked_at(node)
        return history.looked_up(name, events, where, words[1] if len(words) > 1 else "")

    def looked_at(self, node: nodes.Call, with_when: bool = True) -> tuple[history.Events, list[Sql]]:
        """The events that a call of has_event, event_count, ... looks at, and their conditions; `with_when`: when= is one of them."""
        kind = node.args[0]
        assert isinstance(kind, nodes.Const), "the check refuses other event types"
        events, where = history.events_of(self.scope, kind.value)
        for keyword in node.kwargs:
            given = keyword.value
            text = given.value if isinstance(given, nodes.Const) else None
            if keyword.key == "within":
                where.append(history.within(events, self.scope, Duration.parse(text or "").elapsed()))
            elif keyword.key == "when":
                if with_when:
                    where.append(self.inside(events).condition(parse_expression(text or "")))
            elif text in ("entry", "step"):
                try:
                    where.append(history.since_place(events, self.scope, text))
                except KeyError:
                    raise error_at(given, f"since={text!r} is not possible here: there is no journey yet") from None
            else:
                time = as_time(self.value(given))
                where.append(history.since_time(events, time.sql) if time.kind else sa.false())
        return events, where

    def inside(self, events: history.Events) -> Compiler:
        """The compiler of when=: its `event` is the event of the history."""
        return Compiler(replace(self.scope, event=EventScope(events.c.payload, events.c.type, events.c.occurred_at), look_ups=None))


def _from_column(column: Sql) -> Term:
    match column.type:
        case sa.Text() | sa.String():
            return Term("text", column)
        case sa.Numeric() | sa.Integer():
            return Term("num", sa.cast(column, sa.Numeric()))
        case sa.Boolean():
            return Term("bool", column)
        case sa.DateTime():
            return Term("ts", column)
    return Term("json", column, raw=True)
