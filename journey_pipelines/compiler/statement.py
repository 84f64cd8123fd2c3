"""A compiled statement: SQL text for psycopg with its own parameters, and the parameters the engine supplies each time."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.sql.compiler import SQLCompiler

_DIALECT = psycopg_dialect.dialect()

#: a timer's place among the events of its instant: after all of them
LAST_SEQ = 9223372036854775807
FOREVER_SEQ = sa.literal_column(str(LAST_SEQ), sa.BigInteger)


_RUN_TIME: set[str] = set()


def run_time(name: str, type_: Any) -> sa.BindParameter[Any]:
    """A parameter the engine supplies at each execution (the others hold a workflow's own values)."""
    _RUN_TIME.add(name)
    return sa.bindparam(name, type_=type_, required=False)


TS = sa.TIMESTAMP(timezone=True)
NOW = run_time("now", TS)
SHARDS = run_time("shards", postgresql.ARRAY(sa.SmallInteger))
DUE_FROM = run_time("due_from", TS)
LIMIT = run_time("row_limit", sa.Integer)
IDS = run_time("ids", postgresql.ARRAY(sa.BigInteger))
ROUND = run_time("round", sa.Integer)
LOW = run_time("low", sa.BigInteger)
HIGH = run_time("high", sa.BigInteger)
SALT = run_time("salt", sa.Text)
DEFAULT_ZONE = run_time("default_zone", sa.Text)
ROOM = run_time("room", sa.BigInteger)
CUSTOMERS = run_time("customers", postgresql.ARRAY(sa.Text))
TICK_AT = run_time("tick_at", TS)
ZONES = run_time("zones", postgresql.ARRAY(sa.Text))
VERSIONS = run_time("versions", postgresql.ARRAY(sa.Integer))


def lit(value: str | int) -> sa.ColumnElement[Any]:
    """An engine constant, inlined so that partial indexes match and plans are stable (engine.md, 21). Never a user's value."""
    if isinstance(value, int):
        return sa.literal_column(str(value), sa.Integer)
    if "'" in value or "\\" in value or "%" in value or ":" in value:
        raise ValueError(f"not an engine constant: {value!r}")
    return sa.literal_column(f"'{value}'", sa.Text)


def uid_of(*parts: str) -> int:
    """A statement's identity: 62 bits of sha256 over what it was compiled from, so that equal statements of two versions are one."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


@dataclass(frozen=True)
class Statement:
    """SQL text in psycopg's pyformat, with the workflow's values as parameters."""

    name: str
    sql: str
    params: Mapping[str, Any] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """This statement's parameters with those of `values` that it asks for."""
        return {**self.params, **{name: values[name] for name in self.needs}}

    def readable(self) -> str:
        """The text for a person: the workflow's values written in, the engine's as :name."""
        return self.sql % {**{k: _literal(v) for k, v in self.params.items()}, **{name: f":{name}" for name in self.needs}}


def compile_statement(name: str, query: sa.sql.expression.Executable) -> Statement:
    """Compile once; executing then costs no more than sending the text."""
    compiled = query.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    assert isinstance(compiled, SQLCompiler)
    params: dict[str, Any] = {}
    needs = set()
    for key, value in (compiled.params or {}).items():
        if key in _RUN_TIME:
            needs.add(key)
            continue
        bind = compiled.binds.get(key)  # an expanded IN's items have none; they are text
        process = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) if bind is not None else None
        params[key] = process(value) if process else value
    return Statement(name, str(compiled), params, frozenset(needs))


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float | Decimal):
        return str(value).lower()
    return "'" + str(getattr(value, "obj", value)).replace("'", "''") + "'"
