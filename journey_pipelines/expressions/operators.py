"""Operators and filters on terms: the truth table of `values` as SQL, constants worked out here and never by the planner."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from . import letters, values
from .constants import DATE_CODES, date_parts, format_date
from .terms import (
    FALSE,
    MISSING,
    TRUE,
    Sql,
    Term,
    as_bool,
    as_json,
    as_number,
    as_text,
    as_time,
    by_code_point,
    call,
    constant,
    settled,
    spelled,
    truth,
)

_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "lt": lambda a, b: a < b,
    "lteq": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gteq": lambda a, b: a >= b,
}


class MixedKinds(Exception):
    """A time and another kind of value would have to share one column."""


def negated(sql: Sql) -> Sql:
    """The exact negation of a condition: true where it is false or NULL."""
    if sql is TRUE or sql is FALSE:
        return FALSE if sql is TRUE else TRUE
    return sql.is_not(TRUE)


def any_of(conditions: Iterable[Sql]) -> Sql:
    kept = [c for c in conditions if c is not FALSE]
    return TRUE if any(c is TRUE for c in kept) else sa.or_(*kept) if kept else FALSE


def all_of(conditions: Iterable[Sql]) -> Sql:
    kept = [c for c in conditions if c is not TRUE]
    return FALSE if any(c is FALSE for c in kept) else sa.and_(*kept) if kept else TRUE


def compared(operator: str, left: Term, right: Term) -> Sql:
    """One comparison by Jinja's name of its operator, as a condition."""
    if left.constant and right.constant:
        return TRUE if values.compare(operator, left.value, right.value) else FALSE
    match operator:
        case "eq":
            return equal(left, right)
        case "ne":
            return negated(equal(left, right))
        case "in":
            return held(right, left)
        case "notin":
            return negated(held(right, left))
    return any_of(_ORDER[operator](a, b) for a, b in _pairs(left, right, ordered=True))


def equal(left: Term, right: Term) -> Sql:
    if left.constant and right.constant:
        return TRUE if values.equal(left.value, right.value) else FALSE
    return any_of(a == b for a, b in _pairs(left, right, ordered=False))


def _pairs(left: Term, right: Term, ordered: bool) -> list[tuple[Sql, Sql]]:
    """The two sides in every kind in which they can be compared; none where the kinds differ."""
    kinds = (left.kind, right.kind)
    if None in kinds:
        return []
    if kinds == ("json", "json"):
        if not ordered:
            return [(as_json(left), as_json(right))]
        texts = (by_code_point(as_text(left).sql), by_code_point(as_text(right).sql))
        return [(as_number(left).sql, as_number(right).sql), texts]
    if "ts" in kinds:
        return _both(as_time(left), as_time(right))
    for kind, read in (("num", as_number), ("text", as_text), ("bool", as_bool)):
        if kind in kinds:
            pairs = _both(read(left), read(right))
            if not ordered:
                return pairs
            return [] if kind == "bool" else [(by_code_point(a), by_code_point(b)) for a, b in pairs] if kind == "text" else pairs
    return []


def _both(left: Term, right: Term) -> list[tuple[Sql, Sql]]:
    return [] if left.kind is None or right.kind is None else [(left.sql, right.sql)]


def held(container: Term, item: Term) -> Sql:
    """item in container, where the container is one value: part of a text, element of a list, key of a mapping."""
    if item.kind is None:
        return FALSE
    if container.kind == "text":
        part = as_text(item)
        return FALSE if part.kind is None else sa.func.strpos(container.sql, part.sql) > sa.literal_column("0")
    if container.kind != "json":
        return FALSE
    if item.kind == "ts":
        return call("holds_time", container.sql, item.sql, sa.Boolean())
    return call("holds", container.sql, as_json(item), sa.Boolean())


def listed(item: Term, choices: list[Term]) -> Sql:
    """item in [choices]: constants of one kind become one array."""
    conditions: list[Sql] = []
    arrays: dict[str, list[Any]] = {"num": [], "text": []}
    for choice in choices:
        if choice.constant and choice.kind in arrays and item.kind in (choice.kind, "json") and not item.constant:
            arrays[choice.kind].append(choice.value)
        else:
            conditions.append(equal(item, choice))
    for kind, type_, read in (("num", sa.Numeric(), as_number), ("text", sa.Text(), as_text)):
        if arrays[kind]:
            conditions.append(read(item).sql == sa.any_(sa.literal(arrays[kind], ARRAY(type_))))
    return any_of(conditions)


def arithmetic(operator: str, left: Term, right: Term) -> Term:
    """+ - * / with 12 decimals; what is no number, a division by zero and 1e15 and beyond are missing."""
    if left.constant and right.constant:
        return constant(values.arithmetic(operator, left.value, right.value))
    a, b = as_number(left), as_number(right)
    if a.kind is None or b.kind is None:
        return MISSING
    if operator == "/":
        return Term("num", call("quotient", a.sql, b.sql, sa.Numeric()))
    return Term("num", call("fit", a.sql.op(operator)(b.sql), sa.Numeric()))


def joined(parts: list[Term]) -> Term:
    """~ : the texts of all parts, missing if one is."""
    texts = [spelled(part) for part in parts]
    if any(text.kind is None or text.kind != "text" for text in texts):
        return MISSING
    if all(text.constant for text in texts):
        return constant("".join(text.value for text in texts))
    result = texts[0].sql
    for text in texts[1:]:
        result = result.op("||", return_type=sa.Text())(text.sql)
    return Term("text", result)


def chosen(test: Sql, yes: Term, no: Term) -> Term:
    """yes if test else no, in one kind. Raises MixedKinds."""
    if test is TRUE or test is FALSE:
        return yes if test is TRUE else no
    kind, first, second = _unified(yes, no)
    return MISSING if kind is None else Term(kind, sa.case((test, first), else_=second))


def defaulted(value: Term, fallback: Term, also_false: bool) -> Term:
    """value | default(fallback[, true]). Raises MixedKinds."""
    if value.constant:
        return fallback if value.value is None or (also_false and not values.truth(value.value)) else value
    if also_false:
        return chosen(truth(value), value, fallback)
    if fallback.kind is None or value.two_valued:
        return value
    kind, first, second = _unified(value, fallback)
    return Term(kind, sa.func.coalesce(first, second, type_=first.type))


def _unified(one: Term, other: Term) -> tuple[Any, Sql, Sql]:
    kinds = {one.kind, other.kind} - {None}
    if len(kinds) > 1 and "ts" in kinds:
        raise MixedKinds
    if len(kinds) == 1:
        return kinds.pop(), settled(one), settled(other)
    return ("json", as_json(one), as_json(other)) if kinds else (None, sa.null(), sa.null())


def either(left: Term, right: Term) -> Term:
    """left or right, as a value. Raises MixedKinds."""
    if left.two_valued and right.two_valued:
        return Term("bool", any_of([left.sql, right.sql]), two_valued=True)
    return chosen(truth(left), left, right)


def both(left: Term, right: Term) -> Term:
    """left and right, as a value. Raises MixedKinds."""
    if left.two_valued and right.two_valued:
        return Term("bool", all_of([left.sql, right.sql]), two_valued=True)
    return chosen(truth(left), right, left)


def is_there(term: Term) -> Sql:
    if term.constant:
        return FALSE if term.value is None else TRUE
    return TRUE if term.two_valued else settled(term).is_not(None)


def is_kind(term: Term, kind: str) -> Sql:
    """is string, is number."""
    read = as_text(term) if kind == "text" else as_number(term)
    return is_there(read)


def lowered(term: Term) -> Term:
    return _on_text(term, letters.lower, "lower_text")


def uppered(term: Term) -> Term:
    return _on_text(term, letters.upper, "upper_text")


def _on_text(term: Term, here: Callable[[str], str], function: str) -> Term:
    text = as_text(term)
    if text.constant:
        return constant(here(text.value)) if text.kind else MISSING
    return Term("text", call(function, text.sql, sa.Text()))


def trimmed(term: Term) -> Term:
    text = as_text(term)
    if text.constant:
        return constant(text.value.strip(values.SPACES)) if text.kind else MISSING
    return Term("text", sa.func.btrim(text.sql, sa.literal(values.SPACES, sa.Text()), type_=sa.Text()))


def measured(term: Term) -> Term:
    """length"""
    if term.constant:
        return constant(values.length_of(term.value))
    if term.kind == "text":
        return Term("num", sa.cast(sa.func.length(term.sql), sa.Numeric()))
    return Term("num", call("length_of", term.sql, sa.Numeric())) if term.kind == "json" else MISSING


def numbered(term: Term, whole: bool) -> Term:
    """int, float: a number or the number a text spells."""
    if term.constant:
        return constant(values.whole_of(term.value) if whole else values.number_of(term.value))
    reading = {"text": "num_text", "json": "number_of"}.get(term.kind or "")
    if reading is None and term.kind != "num":
        return MISSING
    number = call(reading, term.sql, sa.Numeric()) if reading else term.sql
    return Term("num", sa.func.trunc(number, type_=sa.Numeric()) if whole else number)


def rounded(term: Term, digits: int) -> Term:
    if term.constant:
        return constant(values.rounded(term.value, digits))
    number = as_number(term)
    if number.kind is None:
        return MISSING
    return Term("num", call("fit", sa.func.round(number.sql, sa.literal_column(str(digits), sa.Integer())), sa.Numeric()))


def dated(term: Term, form: str) -> Term:
    """date: a time as text in a format, in UTC."""
    time = as_time(term)
    if time.constant:
        return constant(format_date(time.value, form)) if time.kind else MISSING
    pattern = "".join(DATE_CODES[text] if is_code else _quoted(text) for is_code, text in date_parts(form))
    return Term("text", sa.func.to_char(in_utc(time.sql), sa.literal(pattern, sa.Text()), type_=sa.Text()))


def _quoted(text: str) -> str:
    """Plain text inside a pattern of to_char."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def in_utc(instant: Sql) -> Sql:
    return sa.func.timezone(sa.literal_column("'UTC'"), instant, type_=sa.TIMESTAMP())


def json_at(document: Sql, keys: list[str | int]) -> Sql:
    """What a document holds at a path."""
    if len(keys) == 1 and isinstance(keys[0], str) and not values.is_index(keys[0]):
        return document.op("->", return_type=JSONB())(sa.literal(keys[0], sa.Text()))
    return document.op("#>", return_type=JSONB())(sa.literal([str(key) for key in keys], ARRAY(sa.Text())))
