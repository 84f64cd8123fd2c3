"""The SQL that is the same for every workflow, from `sql/`."""

from functools import cache
from importlib import resources
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.statement import Statement


@cache
def fixed(name: str) -> str:
    """The text of sql/<name>.sql; those under `operations/` are asked for by people, or once in a while, not in every batch."""
    return (resources.files("journey_pipelines.engine") / "sql" / f"{name}.sql").read_text()


def run_fixed(conn: sa.Connection, name: str, values: dict[str, Any]) -> sa.CursorResult[Any]:
    """Execute sql/<name>.sql with psycopg's named parameters."""
    return conn.exec_driver_sql(fixed(name), values)


def run(conn: sa.Connection, statement: Statement, values: dict[str, Any]) -> dict[str, Any]:
    """Execute a compiled statement; its one row of counts."""
    row = conn.exec_driver_sql(statement.sql, statement.bind(values)).mappings().one()
    return dict(row)
