"""When the truth of an expression may change by the passing of time alone, read off its tree: no row is needed, no SQL is made.

Three forms say when, and may stand anywhere in an expression, since its value stays as it is between such instants: a comparison of `now`
with a time, a comparison of days_since() or days_until() with a number written out, and a look into history. Whatever else counts from
`now` has no next instant that could be worked out, or too many of them (local_hour()): `polled`, every quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from jinja2 import nodes

from . import values
from .durations import Duration
from .names import HISTORY
from .parse import parse_expression

TICK = timedelta(microseconds=1)
_DAY = 86_400_000_000
# More days than the calendar has: no two times are that far apart.
_ALL_DAYS = 4_000_000
_MIRRORED: Mapping[str, str] = {"lt": "gt", "gt": "lt", "lteq": "gteq", "gteq": "lteq", "eq": "eq", "ne": "ne"}
_CLOCK = frozenset({"local_hour", "local_weekday", "days_since", "days_until"})


@dataclass(frozen=True)
class Crossing:
    """A comparison that may change at the time `time` gives plus each of `offsets` (negative ones too)."""

    time: nodes.Expr
    offsets: tuple[timedelta, ...]


@dataclass(frozen=True)
class Look:
    """A call of has_event, event_count, ... that may change: an event leaves its window (`within`), or `inner`, its when=, changes."""

    call: nodes.Call
    within: timedelta | None
    inner: Timing


@dataclass
class Timing:
    """All that time changes in one expression. `polled`: also something whose instants cannot be worked out."""

    crossings: list[Crossing] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    polled: bool = False

    @property
    def timed(self) -> bool:
        return bool(self.crossings or self.looks or self.polled)


def timing(tree: nodes.Node) -> Timing:
    """Of a tree that the checks have passed."""
    found = Timing()
    _walk(tree, found)
    return found


def _walk(node: nodes.Node, found: Timing) -> None:
    match node:
        case nodes.Compare():
            _compared(node, found)
            return
        case nodes.Call(node=nodes.Name(name=name)) if name in HISTORY:
            _looked(node, found)
            return
        case nodes.Call(node=nodes.Name(name=name)) if name in _CLOCK:
            found.polled = True
        case nodes.Name(name="now"):
            found.polled = True
    for part in node.iter_child_nodes():
        _walk(part, found)


def _compared(node: nodes.Compare, found: Timing) -> None:
    """Each two neighbours of a < b < c; what is no crossing of theirs is walked like any value, once."""
    plain: dict[int, nodes.Node] = {}
    left = node.expr
    for operand in node.ops:
        right = operand.expr
        crossing = _crossing(left, operand.op, right) or _crossing(right, _MIRRORED.get(operand.op, ""), left)
        if crossing is None:
            plain.update({id(left): left, id(right): right})
        else:
            if crossing.offsets:
                found.crossings.append(crossing)
            plain[id(crossing.time)] = crossing.time
        left = right
    for part in plain.values():
        _walk(part, found)


def _looked(call: nodes.Call, found: Timing) -> None:
    within, inner = None, Timing()
    for keyword in call.kwargs:
        match keyword.key, keyword.value:
            case "within", nodes.Const(value=length):
                within = Duration.parse(length).elapsed()
            case "when", nodes.Const(value=text):
                inner = timing(parse_expression(text))
            case _:
                _walk(keyword.value, found)
    found.polled |= inner.polled
    if within is not None or inner.crossings:
        found.looks.append(Look(call, within, inner))


def _crossing(moving: nodes.Expr, operator: str, other: nodes.Expr) -> Crossing | None:
    """moving <operator> other, where `moving` goes with the clock; None where it is not of that form."""
    if operator not in _MIRRORED:
        return None
    ahead = _ahead(moving)
    if ahead is not None:
        return Crossing(other, _changes(operator, -ahead, TICK - ahead))
    match moving:
        case nodes.Call(node=nodes.Name(name="days_since" | "days_until" as name), args=[time]):
            written = _written(other)
            if written is None:
                return None
            reached = _reached(written[0])
            if reached is None:
                return Crossing(time, ())
            if name == "days_since":
                return Crossing(time, _changes(operator, *reached))
            # days_until falls: it leaves a number of days one microsecond after it had them
            least, more = reached
            return Crossing(time, _changes(operator, TICK - least, TICK - more))
    return None


def _changes(operator: str, reached: timedelta, passed: timedelta) -> tuple[timedelta, ...]:
    """Which of the two instants matter: < and >= change where the other side is reached, <= and > where it is passed."""
    if operator in ("eq", "ne"):
        return (reached, passed)
    return (reached,) if operator in ("lt", "gteq") else (passed,)


def _ahead(node: nodes.Expr) -> timedelta | None:
    """How far ahead of `now` a time is: now, add(now, '7 days'); None where it is no such time."""
    match node:
        case nodes.Name(name="now"):
            return timedelta(0)
        case nodes.Call(node=nodes.Name(name="add"), args=[time, nodes.Const(value=length)]):
            ahead = _ahead(time)
            return None if ahead is None else ahead + Duration.parse(length).elapsed()
    return None


def _written(node: nodes.Expr) -> tuple[Any] | None:
    """The value of what is written out (a number, or arithmetic with numbers) in a tuple; None where a row is needed."""
    match node:
        case nodes.Const():
            return (values.normal(node.value),)
        case nodes.Neg() | nodes.Pos():
            inner = _written(node.node)
            return None if inner is None else (values.arithmetic(node.operator, 0, inner[0]),)
        case nodes.Add() | nodes.Sub() | nodes.Mul() | nodes.Div():
            left, right = _written(node.left), _written(node.right)
            return None if left is None or right is None else (values.arithmetic(node.operator, left[0], right[0]),)
    return None


def _reached(days: Any) -> tuple[timedelta, timedelta] | None:
    """The shortest lengths that are at least and more than a number of days, as days_since() counts; None where nothing is."""
    if not isinstance(days, Decimal) or abs(days) > _ALL_DAYS:
        return None
    near = Fraction(days) * _DAY
    # days_since() has 12 decimals, a microsecond is 0.000000000012 days: rounding moves the edge by less than one of them
    around = [(micros, values.fitted(Fraction(micros, _DAY))) for micros in range(int(near) - 2, int(near) + 4)]
    least = next(micros for micros, found in around if found is not None and found >= days)
    more = next(micros for micros, found in around if found is not None and found > days)
    return timedelta(microseconds=least), timedelta(microseconds=more)
