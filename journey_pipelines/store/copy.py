"""A throw-away copy of a database beside it on its server: for trying what the original must not feel.

Where nobody is connected to the original PostgreSQL copies its files (CREATE DATABASE ... TEMPLATE). Newcomers wait meanwhile, so that is
given up after a few seconds. Otherwise the copy is streamed: an empty database, migrated, then table by table out of one snapshot, which
locks nothing and delays nobody. Either way the original is only read. What lies in other schemas (tables of apps) comes along with the
files only; of those that a segment reads, the column with the ids is streamed, too.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
from psycopg import sql

from journey_pipelines.store import migrate as migrations
from journey_pipelines.store.connect import DatabaseUnavailable, ensure_database, make_engine
from journey_pipelines.store.migrate import MigrationError

PREFIX = "journeys_copy_"
# While files are copied, who wants to connect to the original has to wait: longer than this nobody shall
_TEMPLATE_SECONDS = 5
# A killed process leaves its copy behind; so young it may be somebody's who has not connected yet
_LEFT_BEHIND = timedelta(minutes=10)
# bodies of messages that were sent: large, personal, and nothing that moves a journey reads them
_NOT_COPIED = frozenset({migrations.VERSION_TABLE, "message_bodies"})

_OTHERS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_COPIES = """
SELECT d.datname, shobj_description(d.oid, 'pg_database') AS said FROM pg_database d
 WHERE starts_with(d.datname, %s) AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
"""
_COLUMNS = """
SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = 'journeys'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 GROUP BY c.relname ORDER BY c.relname
"""
_SEQUENCES = "SELECT relname AS name FROM pg_class WHERE relnamespace = 'journeys'::regnamespace AND relkind = 'S' ORDER BY relname"
_SEGMENT_TABLES = """
WITH named AS (
    SELECT DISTINCT s.definition #>> '{segment,table,table}' AS name, s.definition #>> '{segment,table,column}' AS column
      FROM journeys.segments s WHERE s.kind = 'table' AND s.status = 'active'
), found AS (
    SELECT n.*, to_regclass(quote_ident(split_part(n.name, '.', 1)) || '.' || quote_ident(split_part(n.name, '.', 2))) AS oid FROM named n
)
SELECT f.name, f.column FROM found f JOIN pg_attribute a ON a.attrelid = f.oid AND a.attname = f.column AND a.attnum > 0
 WHERE has_column_privilege(f.oid, a.attnum, 'SELECT') ORDER BY 1, 2
"""


@dataclass(frozen=True)
class DatabaseCopy:
    """Where the copy is, and how it came about."""

    url: str
    name: str
    how: Literal["template", "stream"]


@contextmanager
def copied(url: str | sa.URL, *, on_table: Callable[[str], None] | None = None) -> Iterator[DatabaseCopy]:
    """A copy of the database of `url` for the duration of the block; dropped at its end, whatever ends it.

    `on_table` is told each table that is streamed. Raises MigrationError where the original is at another revision than this program,
    DatabaseUnavailable where it cannot be reached or the role may not create databases.
    """
    address = sa.make_url(url) if isinstance(url, str) else url
    engine = make_engine(
        address,
        application_name="journeys copy",
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
        statement_timeout=0,
        idle_in_transaction_timeout=0,
    )
    name = f"{PREFIX}{secrets.token_hex(6)}"
    target = address.set(database=name).render_as_string(hide_password=False)
    try:
        with engine.connect() as conn:
            _check_revision(conn, engine)
        _drop_what_was_left(engine)
        try:
            if _from_template(engine, name):
                yield DatabaseCopy(target, name, "template")
            else:
                _streamed(engine, name, on_table)
                yield DatabaseCopy(target, name, "stream")
        finally:
            _drop(engine, name)
    finally:
        engine.dispose()


def _check_revision(conn: sa.Connection, engine: sa.Engine) -> None:
    said = migrations.behind(conn)
    if said is not None:
        raise MigrationError(said)


def _from_template(engine: sa.Engine, name: str) -> bool:
    """Whether the files could be copied: nobody else is connected, the role owns the original, and it did not take long."""
    with engine.connect() as conn:
        if conn.exec_driver_sql(_OTHERS).scalar_one():
            return False
        conn.exec_driver_sql(f"SET statement_timeout = '{_TEMPLATE_SECONDS}s'")
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(str(engine.url.database)))
        try:
            _driver(conn).execute(create)
        except (psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege, psycopg.errors.QueryCanceled):
            return False
        _say_what_it_is(conn, name)
    return True


def _streamed(engine: sa.Engine, name: str, on_table: Callable[[str], None] | None) -> None:
    copy = make_engine(ensure_database(engine.url, name), application_name="journeys copy", poolclass=sa.NullPool, statement_timeout=0)
    with engine.connect() as conn:
        _say_what_it_is(conn, name)
    migrations.migrate(copy)
    reading = engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with reading, copy.begin() as writing:
        # one snapshot from the first statement on: journeys, admissions and ledger of one and the same instant
        tables = {row.name: row.columns for row in reading.exec_driver_sql(_COLUMNS) if row.name not in _NOT_COPIED}
        writing.exec_driver_sql("TRUNCATE " + ", ".join(f'journeys."{table}"' for table in tables))
        for table, columns in tables.items():
            if on_table is not None:
                on_table(table)
            _stream(reading, writing, sql.Identifier("journeys", table), columns)
        for row in reading.exec_driver_sql(_SEQUENCES).all():
            place = sql.Identifier("journeys", row.name)
            last, called = _driver(reading).execute(sql.SQL("SELECT last_value, is_called FROM {}").format(place)).fetchone()
            writing.execute(
                sa.text("SELECT setval(:name, :last, :called)"), {"name": f"journeys.{row.name}", "last": last, "called": called}
            )
        for row in reading.exec_driver_sql(_SEGMENT_TABLES).all():
            _segment_table(reading, writing, row.name, row.column)
    _analyze(copy)
    copy.dispose()


def _stream(reading: sa.Connection, writing: sa.Connection, table: sql.Identifier, columns: list[str]) -> None:
    """Binary, because both ends are one server. Identities take the values they are given: that is COPY's rule."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    leave = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT binary)").format(table, names)
    arrive = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, names)
    _pump(reading, writing, leave, arrive)


def _segment_table(reading: sa.Connection, writing: sa.Connection, name: str, column: str) -> None:
    schema, table = name.split(".")
    place, ids = sql.Identifier(schema, table), sql.Identifier(column)
    driver = _driver(writing)
    driver.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    driver.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ()").format(place))
    driver.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} text").format(place, ids))
    leave = sql.SQL("COPY (SELECT {}::text FROM {}) TO STDOUT (FORMAT binary)").format(ids, place)
    _pump(reading, writing, leave, sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(place, ids))


def _pump(reading: sa.Connection, writing: sa.Connection, leave: sql.Composed, arrive: sql.Composed) -> None:
    with _driver(reading).cursor().copy(leave) as source, _driver(writing).cursor().copy(arrive) as sink:
        for piece in source:
            sink.write(piece)


def _analyze(copy: sa.Engine) -> None:
    with copy.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE")


def _say_what_it_is(conn: sa.Connection, name: str) -> None:
    """For an administrator who finds it, and for the next copy, which drops what a killed process left."""
    text = f"a copy of {conn.engine.url.database} that may be dropped; {_now().isoformat()}"
    _driver(conn).execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text)))


def _drop_what_was_left(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        for row in conn.exec_driver_sql(_COPIES, (PREFIX,)).all():
            try:
                begun = datetime.fromisoformat((row.said or "").rpartition("; ")[2])
            except ValueError:
                continue
            if _now() - begun > _LEFT_BEHIND:
                _drop(engine, row.datname)


def _drop(engine: sa.Engine, name: str) -> None:
    with engine.connect() as conn:
        try:
            _driver(conn).execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise DatabaseUnavailable(f"the copy {name} cannot be dropped: {error}; have an administrator drop it") from None


def _driver(conn: sa.Connection) -> Any:
    driver = conn.connection.driver_connection
    assert driver is not None
    return driver


def _now() -> datetime:
    return datetime.now(UTC)
