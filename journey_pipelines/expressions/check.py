"""The walk that finds what an expression names and what the language does not have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from jinja2 import nodes

from .constants import constant_problem, format_problem
from .durations import Duration, DurationError
from .errors import ExpressionError, did_you_mean
from .names import (
    BUILT_IN_EVENTS,
    CUSTOMER_COLUMNS,
    ENGAGEMENT,
    FILTER_ALIASES,
    FILTERS,
    FUNCTIONS,
    HISTORY,
    JOURNEY_FIELDS,
    ROOTS,
    TESTS,
    Catalogue,
)
from .parse import error_at, error_on, parse_expression, position
from .paths import Keys, bare_problem, called_problem, foreign_problem, path_of, step_problem, unknown_problem

_BARE = ("event", "arrived")
_FOREIGN: dict[type[nodes.Node], str] = {
    nodes.FloorDiv: "// is not in the language: write (a / b) | int",
    nodes.Mod: "% is not in the language",
    nodes.Pow: "** is not in the language",
    nodes.Dict: "a mapping cannot be written here",
    nodes.Slice: "slices are not in the language",
}


@dataclass
class Analysis:
    """What a text names. Field and key names are the first after the dot; `errors` has all problems in reading order.

    `names`: the roots used (customer, event, ...). `steps`: those named by opened(), clicked(), ... `step_results`: those of steps.<id>.
    `workflows`: those of in_workflow(). `functions`: those called. `event_types`: those written out, and the message.* of opened(),
    clicked(), ...; all that a text's truth depends on is `dependencies`'.
    """

    customer_fields: set[str] = field(default_factory=set)
    event_keys: set[str] = field(default_factory=set)
    arrived_keys: set[str] = field(default_factory=set)
    brand_keys: set[str] = field(default_factory=set)
    event_types: set[str] = field(default_factory=set)
    segments: set[str] = field(default_factory=set)
    workflows: set[str] = field(default_factory=set)
    steps: set[str] = field(default_factory=set)
    step_results: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    uses_arrived: bool = False
    names: set[str] = field(default_factory=set)
    errors: list[ExpressionError] = field(default_factory=list)


def check(trees: Iterable[nodes.Expr], catalogue: Catalogue, truth: bool = True) -> Analysis:
    """The names and errors of expressions that are parsed already. `truth`: they are conditions, so a bare `arrived` will do."""
    found = Analysis()
    checker = _Checker(catalogue, found)
    for tree in trees:
        checker.expression(tree, truth)
    found.errors = sorted(set(found.errors), key=lambda e: (e.line, e.col, e.message))
    return found


class _Checker:
    def __init__(self, catalogue: Catalogue, found: Analysis, history: bool = True) -> None:
        self.catalogue = catalogue
        self.found = found
        self.history = history

    def wrong(self, node: nodes.Node, message: str) -> None:
        self.found.errors.append(error_at(node, message))

    def expression(self, node: nodes.Node, truth: bool = True) -> None:
        """`truth`: only whether it is there is asked of it, so a bare `arrived` will do."""
        match node:
            case nodes.Const():
                self._constant(node)
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                self._path(node, truth)
            case nodes.Not():
                self.expression(node.node)
            case nodes.And() | nodes.Or():
                self.expression(node.left, truth)
                self.expression(node.right, truth)
            case nodes.Compare():
                self._compare(node)
            case nodes.Add() | nodes.Sub() | nodes.Mul() | nodes.Div():
                self._arithmetic(node)
            case nodes.Neg() | nodes.Pos():
                self.expression(node.node, truth=False)
            case nodes.Concat():
                for part in node.nodes:
                    self.expression(part, truth=False)
            case nodes.CondExpr():
                self.expression(node.test)
                self.expression(node.expr1, truth=False)
                if node.expr2 is not None:
                    self.expression(node.expr2, truth=False)
            case nodes.Filter():
                self._filter(node)
            case nodes.Test():
                self._test(node)
            case nodes.Call():
                self._call(node)
            case nodes.List() | nodes.Tuple():
                self.wrong(node, "a list can only stand on the right of in or not in")
            case _:
                self.wrong(node, _FOREIGN.get(type(node), f"{type(node).__name__.lower()} is not in the language"))

    def _constant(self, node: nodes.Const) -> None:
        if problem := constant_problem(node.value):
            self.wrong(node, problem)

    def _path(self, node: nodes.Expr, truth: bool) -> None:
        path = path_of(node)
        if path is None:
            self.wrong(node, foreign_problem(node))
            return
        root, keys = path
        self.found.names.add(root.name)
        if root.name not in ROOTS:
            self.wrong(root, unknown_problem(root.name, not keys, {**CUSTOMER_COLUMNS, **(self.catalogue.attributes or {})}))
            return
        for key in keys:
            problem = constant_problem(key) if isinstance(key, str) else None
            if problem or (isinstance(key, int) and not -(2**31) < key < 2**31):
                self.wrong(node, problem or f"no list has a place {key}")
        first = str(keys[0]) if keys else ""
        match root.name:
            case "now":
                if keys:
                    self.wrong(node, "now is a point in time and has no parts")
            case _ if not keys:
                self._bare(root, truth)
            case "customer":
                self.found.customer_fields.add(first)
                self._customer(node, first, len(keys))
            case "event":
                self.found.event_keys.add(first)
            case "arrived":
                self.found.uses_arrived = True
                self.found.arrived_keys.add(first)
            case "steps":
                self._step_result(node, keys, truth)
            case "journey":
                if first not in JOURNEY_FIELDS or len(keys) > 1:
                    self.wrong(node, f"journey has no {'.'.join(map(str, keys))}.{did_you_mean(first, JOURNEY_FIELDS)}")
            case "brand":
                self.found.brand_keys.add(first)
        if root.name in _BARE and first in ("type", "occurred_at") and len(keys) > 1:
            self.wrong(node, f"{root.name}.{first} has no parts")

    def _step_result(self, node: nodes.Expr, keys: Keys, truth: bool) -> None:
        if problem := step_problem(keys, truth):
            self.wrong(node, problem)
        elif isinstance(keys[0], str):
            self.found.step_results.add(keys[0])

    def _bare(self, root: nodes.Name, truth: bool) -> None:
        if root.name not in _BARE:
            self.wrong(root, bare_problem(root.name))
            return
        self.found.uses_arrived |= root.name == "arrived"
        if not truth:
            self.wrong(root, f"{root.name} as a whole can only be asked for (when: {root.name}); name one of its keys: {root.name}.type")

    def _customer(self, node: nodes.Expr, name: str, depth: int) -> None:
        declared = self.catalogue.attributes
        if name in CUSTOMER_COLUMNS:
            if depth > 1:
                self.wrong(node, f"customer.{name} has no parts")
        elif declared is not None and name not in declared:
            self.wrong(node, f"the catalogue declares no attribute {name!r}.{did_you_mean(name, [*declared, *CUSTOMER_COLUMNS])}")
        elif declared is not None and depth > 1:
            self.wrong(node, f"customer.{name} is declared as {declared[name]} and has no parts")

    def _compare(self, node: nodes.Compare) -> None:
        self.expression(node.expr, truth=False)
        for operand in node.ops:
            if operand.op in ("in", "notin") and isinstance(operand.expr, (nodes.List, nodes.Tuple)):
                if len(operand.expr.items) > 1000:
                    self.wrong(operand.expr, f"a list of {len(operand.expr.items):,}: at most 1,000; use a segment or an attribute")
                for item in operand.expr.items:
                    self.expression(item, truth=False)
                if operand is not node.ops[-1]:
                    self.wrong(operand.expr, "nothing can be compared with a list")
            else:
                self.expression(operand.expr, truth=False)

    def _arithmetic(self, node: nodes.BinExpr) -> None:
        for side in (node.left, node.right):
            self.expression(side, truth=False)
            if isinstance(side, nodes.Const) and isinstance(side.value, str):
                better = "texts are joined with ~" if isinstance(node, nodes.Add) else f"{node.operator} is for numbers"
                self.wrong(side, f"{side.value!r} is text: {better}")

    def _filter(self, node: nodes.Filter) -> None:
        name = FILTER_ALIASES.get(node.name, node.name)
        if node.node is not None:
            self.expression(node.node, truth=False)
        if name not in FILTERS:
            self.found.errors.append(error_on(node, f"unknown filter {node.name!r}.{did_you_mean(node.name, FILTERS)}"))
            return
        least, most = FILTERS[name]
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            self.wrong(node, f"the filter {name} takes no named arguments")
        elif not least <= len(node.args) <= most:
            self.wrong(node, f"the filter {name} takes {_count(least, most)}, got {len(node.args)}")
        elif name == "default":
            self.expression(node.args[0], truth=False)
            if len(node.args) == 2 and not (isinstance(node.args[1], nodes.Const) and isinstance(node.args[1].value, bool)):
                self.wrong(node.args[1], "the second argument of default is true or false")
        elif name == "round" and node.args:
            digits = node.args[0].value if isinstance(node.args[0], nodes.Const) else None
            if type(digits) is not int or not 0 <= digits <= 10:
                self.wrong(node.args[0], "round takes a number of decimals from 0 to 10")
        elif name == "date" and node.args:
            self._date_format(node.args[0])

    def _date_format(self, node: nodes.Expr) -> None:
        if problem := format_problem(node):
            self.wrong(node, problem)

    def _test(self, node: nodes.Test) -> None:
        if node.name not in TESTS:
            self.found.errors.append(error_on(node, f"unknown test {node.name!r}.{did_you_mean(node.name, TESTS)}"))
        elif node.args or node.kwargs:
            self.wrong(node, f"the test {node.name} takes no arguments")
        self.expression(node.node, truth=node.name in ("defined", "undefined", "none"))

    def _call(self, node: nodes.Call) -> None:
        if not isinstance(node.node, nodes.Name):
            self.wrong(node, "only the functions of the language can be called, not the values of a row")
            return
        name = node.node.name
        if name in ROOTS:
            self.wrong(node, called_problem(name))
            return
        if name not in FUNCTIONS:
            known = {**FUNCTIONS, **dict.fromkeys(FILTERS)}
            filtered = f" {name} is a filter: write value | {name}." if name in FILTERS else did_you_mean(name, known)
            self.wrong(node, f"unknown function {name!r}.{filtered}")
            return
        self.found.functions.add(name)
        signature = FUNCTIONS[name]
        if node.dyn_args is not None or node.dyn_kwargs is not None or not signature.least <= len(node.args) <= signature.most:
            self.wrong(node, f"{name} takes {_count(signature.least, signature.most)}, got {len(node.args)}: {signature.usage}")
            return
        if not self.history and (name in HISTORY or name in ENGAGEMENT):
            self.wrong(node, f"{name} cannot stand inside when=")
        given: set[str] = set()
        for keyword in node.kwargs:
            if keyword.key not in signature.named:
                self.wrong(keyword.value, f"{name} has no argument {keyword.key!r}.{did_you_mean(keyword.key, signature.named)}")
            elif keyword.key in given:
                self.wrong(keyword.value, f"{keyword.key} is given twice")
            else:
                self._window(keyword.key, keyword.value)
            given.add(keyword.key)
        self._arguments(name, node)

    def _arguments(self, name: str, node: nodes.Call) -> None:
        if name in HISTORY:
            for index, argument in enumerate(node.args):
                text = self._word(argument, f"{name}: the {'event type' if index == 0 else 'key'}")
                if text and index == 0:
                    self.found.event_types.add(text)
                    self._event_type(argument, text)
        elif name in ENGAGEMENT:
            words = [self._word(argument, f"{name}: the {'step' if index == 0 else 'action'}") for index, argument in enumerate(node.args)]
            if words[0]:
                self.found.steps.add(words[0])
                self.found.event_types.add(ENGAGEMENT[name])
        elif name == "in_segment":
            if segment := self._word(node.args[0], "in_segment: the segment"):
                self.found.segments.add(segment)
                known = self.catalogue.segments
                if known is not None and segment not in known:
                    self.wrong(node.args[0], f"unknown segment {segment!r}.{did_you_mean(segment, known)}")
        elif name == "in_workflow":
            if workflow := self._word(node.args[0], "in_workflow: the workflow"):
                self.found.workflows.add(workflow)
        elif name == "add":
            self.expression(node.args[0], truth=False)
            self._duration(node.args[1])
        else:
            for argument in node.args:
                self.expression(argument, truth=False)

    def _event_type(self, node: nodes.Node, name: str) -> None:
        known = self.catalogue.event_types
        if known is not None and name not in known and name not in BUILT_IN_EVENTS:
            self.wrong(node, f"unknown event type {name!r}.{did_you_mean(name, [*known, *BUILT_IN_EVENTS])}")

    def _word(self, node: nodes.Expr, what: str) -> str | None:
        if not isinstance(node, nodes.Const) or not isinstance(node.value, str) or not 0 < len(node.value) <= 128:
            self.wrong(node, f"{what} is a text written out, such as 'name'")
            return None
        self._constant(node)
        return node.value

    def _duration(self, node: nodes.Expr) -> None:
        if not isinstance(node, nodes.Const):
            self.wrong(node, "a duration is written out, such as '7 days'")
            return
        try:
            Duration.parse(node.value).elapsed()
        except DurationError as problem:
            self.wrong(node, str(problem))

    def _window(self, key: str, node: nodes.Expr) -> None:
        if key == "within":
            self._duration(node)
        elif key == "since":
            if isinstance(node, nodes.Const) and isinstance(node.value, str):
                if node.value not in ("entry", "step"):
                    self.wrong(node, f"since is 'entry', 'step' or a time such as customer.created_at, got {node.value!r}")
            else:
                self.expression(node, truth=False)
        elif not isinstance(node, nodes.Const) or not isinstance(node.value, str):
            self.wrong(node, "when= takes a condition as text: when='event.total > 10'")
        else:
            self._inner(node)

    def _inner(self, node: nodes.Const) -> None:
        """The text of when=: its `event` is the event of the history, so its keys are not those of the journey's event."""
        inside = Analysis()
        try:
            _Checker(self.catalogue, inside, history=False).expression(parse_expression(node.value))
        except ExpressionError as problem:
            inside.errors.append(problem)
        line, column = position(node)
        # the text begins after its quote; without escapes and line breaks before the fault the column is exact
        for fault in inside.errors:
            shift = column if fault.line == 1 else 0
            self.found.errors.append(ExpressionError(line + fault.line - 1, shift + fault.col, f"in when=: {fault.message}"))
        self.found.customer_fields |= inside.customer_fields
        self.found.arrived_keys |= inside.arrived_keys
        self.found.brand_keys |= inside.brand_keys
        self.found.segments |= inside.segments
        self.found.workflows |= inside.workflows
        self.found.step_results |= inside.step_results
        self.found.functions |= inside.functions
        self.found.uses_arrived |= inside.uses_arrived
        self.found.names |= inside.names - {"event"}


def _count(least: int, most: int) -> str:
    if most == 0:
        return "no arguments"
    plain = f"{least}" if least == most else f"{least} to {most}"
    return f"{plain} argument{'' if most == 1 else 's'}"
