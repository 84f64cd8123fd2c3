"""A piece of SQL with the kind of its value, and how each kind is read as another. Nothing here can raise in the database."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from . import values
from .names import Kind

Sql = sa.ColumnElement[Any]
INSTANT = sa.TIMESTAMP(timezone=True)
TRUE: Sql = sa.true()
FALSE: Sql = sa.false()


@dataclass(frozen=True)
class Term:
    """`kind` None: the constant none. `constant`: the value is `value`, known now. `two_valued`: a condition, whose NULL means false.

    `raw`: JSON out of a row, where JSON null has to be told from a value.
    """

    kind: Kind | None
    sql: Sql
    constant: bool = False
    value: Any = field(default=None, compare=False)
    two_valued: bool = False
    raw: bool = False


def constant(value: Any) -> Term:
    """A value written out or worked out beforehand, as a bound parameter."""
    plain = values.normal(value)
    match plain:
        case bool():
            return Term("bool", TRUE if plain else FALSE, True, plain)
        case Decimal():
            return Term("num", sa.literal(plain, sa.Numeric()), True, plain)
        case str():
            return Term("text", sa.literal(plain, sa.Text()), True, plain)
        case datetime():
            return Term("ts", sa.literal(plain, INSTANT), True, plain)
        case list() | dict():
            return Term("json", sa.cast(sa.literal(json.dumps(plain, default=str), sa.Text()), JSONB), True, plain)
    return MISSING


MISSING = Term(None, sa.null(), True, None)


def condition(sql: Sql) -> Term:
    """A comparison or predicate: NULL counts as false."""
    if sql is TRUE or sql is FALSE:
        return constant(sql is TRUE)
    return Term("bool", sql, two_valued=True)


def settled(term: Term) -> Sql:
    """The value itself, with conditions made true or false and JSON null made NULL."""
    if term.two_valued and not term.constant:
        return term.sql.is_(TRUE)
    return call("present", term.sql, JSONB()) if term.raw else term.sql


def truth(term: Term) -> Sql:
    """The value as a condition."""
    if term.constant:
        return TRUE if values.truth(term.value) else FALSE
    match term.kind:
        case "num":
            return term.sql != sa.literal_column("0")
        case "text":
            return term.sql != sa.literal_column("''")
        case "ts":
            return term.sql.is_not(None)
        case "json":
            return call("truth", term.sql, sa.Boolean())
    return term.sql


def as_number(term: Term) -> Term:
    """A number, or JSON that is one."""
    return _taken(term, "num", "num", sa.Numeric())


def as_text(term: Term) -> Term:
    """A text, or JSON that is one (not the text of a number: see `spelled`)."""
    return _taken(term, "text", "txt", sa.Text())


def as_bool(term: Term) -> Term:
    return _taken(term, "bool", "bool", sa.Boolean())


def as_time(term: Term) -> Term:
    """A time, or a text or JSON that spells one."""
    if term.kind == "text":
        return constant(values.time_of(term.value)) if term.constant else Term("ts", call("ts_text", term.sql, INSTANT))
    return _taken(term, "ts", "ts", INSTANT)


def _taken(term: Term, kind: Kind, function: str, type_: Any) -> Term:
    if term.kind == kind:
        return Term(kind, settled(term)) if term.two_valued and not term.constant else term
    if term.kind == "json" and not term.constant:
        return Term(kind, call(function, term.sql, type_))
    return MISSING


def as_json(term: Term) -> Sql:
    """The value as jsonb, NULL where it is missing; a time as ISO 8601 text."""
    if term.kind is None:
        return sa.cast(sa.null(), JSONB)
    if term.kind == "json":
        return settled(term)
    if term.kind == "ts":
        return sa.func.to_jsonb(call("iso", term.sql, sa.Text()), type_=JSONB)
    if term.kind == "num":
        return sa.func.to_jsonb(sa.func.trim_scale(term.sql), type_=JSONB)
    return sa.func.to_jsonb(settled(term), type_=JSONB)


def spelled(term: Term) -> Term:
    """The value as text: numbers, times and true/false have one, lists and mappings none."""
    if term.constant:
        return constant(values.text_of(term.value))
    match term.kind:
        case "num":
            return Term("text", sa.cast(sa.func.trim_scale(term.sql), sa.Text()))
        case "bool":
            return Term("text", sa.cast(settled(term), sa.Text()))
        case "ts":
            return Term("text", call("iso", term.sql, sa.Text()))
        case "json":
            return Term("text", call("text_of", term.sql, sa.Text()))
    return term


def call(name: str, *arguments: Any) -> Sql:
    """A function of the migration; the last argument is the SQLAlchemy type of what it gives."""
    *given, type_ = arguments
    function: Sql = getattr(sa.func.journeys, name)(*given, type_=type_)
    return function


def by_code_point(sql: Sql) -> Sql:
    return sa.collate(sql, "C")
