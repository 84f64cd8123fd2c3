"""Migrated databases for tests: clones of a template, used again once everything that a test wrote has been taken out.

To create and drop a database is to make and delete a thousand files, 0.3 s and more; to empty the dozen small tables that a test wrote
is a sixth of that. Whether a database may be used again is not for the test to say: its catalogs tell. One whose schema, settings or large
reference tables differ in anything, or that cannot be emptied, is dropped, and the next test gets a clone.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.conninfo import make_conninfo

#: up to so many rows of a table that migrations fill are put back; where there are more, a change costs the database
_SMALL = 1_000
_GONE_WITHIN = 10.0
_IN_USE = "55006"

# Of catalogs what lasts: sessions leave their temporary schemas behind; statistics go with the rows; and a table that is truncated gets a
# new entry in pg_class, of which the contents count (_SHAPE).
_CATALOGS = """
SELECT oid::regclass::text,
       CASE relname WHEN 'pg_namespace' THEN $$ WHERE nspname !~ '^pg_(toast_)?temp_' $$
                    WHEN 'pg_class' THEN ' WHERE oid < 16384' ELSE '' END
  FROM pg_class
 WHERE relkind = 'r' AND NOT relisshared AND relnamespace = 'pg_catalog'::regnamespace AND relname <> 'pg_statistic' ORDER BY 1
"""
_SHAPE = """
SELECT d.datdba, d.datacl::text, d.datconnlimit, d.datallowconn, d.datistemplate, shobj_description(d.oid, 'pg_database'),
       (SELECT count(*) FROM pg_db_role_setting s WHERE s.setdatabase = d.oid),
       (SELECT md5(string_agg((to_jsonb(c) - ARRAY['relfilenode', 'relpages', 'reltuples', 'relallvisible', 'relallfrozen', 'relfrozenxid',
                                                   'relminmxid'])::text, ' ' ORDER BY c.oid)) FROM pg_class c WHERE c.oid >= 16384)
  FROM pg_database d WHERE d.datname = current_database()
"""
_TABLES = """
SELECT oid::regclass::text FROM pg_class
 WHERE relkind = 'r' AND oid >= 16384 AND relnamespace <> 'information_schema'::regnamespace ORDER BY 1
"""
# Sizes are asked of the files: a new session takes 30 ms to open 44 tables. To delete leaves the pages of indexes as they are: where there
# is more than a root page, the table is truncated instead.
_WRITTEN = """
WITH written AS MATERIALIZED (
    SELECT c.oid FROM unnest(%s::regclass[]) AS t (oid) JOIN pg_class c USING (oid)
     WHERE c.reltuples <> 0 OR (pg_stat_file(pg_relation_filepath(c.oid))).size > 0
)
SELECT w.oid::regclass::text,
       EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam
                WHERE i.indrelid = w.oid AND a.amname = 'btree' AND (pg_stat_file(pg_relation_filepath(x.oid))).size > 2 * 8192)
  FROM written w
"""
_END_SESSIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'
"""
_FORGET = "DELETE FROM pg_statistic WHERE starelid >= 16384 AND starelid <> ALL (%s::regclass[])"
_RESTART = "SELECT count(setval(seqrelid::regclass, seqstart, false)) FROM pg_sequence"


@dataclass(frozen=True)
class _Template:
    """What its clones are like. `rows` of each catalog and each filled table, which `question` asks for; `seeds` as COPY writes them."""

    shape: tuple[object, ...]
    question: str
    rows: dict[str, int]
    filled: list[str]
    empty: list[str]
    seeds: dict[str, bytes]


class Databases:
    """Clean databases on one server, for one process. `admin` may create databases; the template is migrated, vacuumed and analyzed."""

    def __init__(self, admin: psycopg.Connection, template: str) -> None:
        self._admin, self._name = admin, template
        self._template: _Template | None = None
        #: name -> the transaction after which nobody may have written
        self._free: dict[str, int] = {}
        self._used: dict[str, int] = {}

    def take(self) -> str:
        """The name of a database that is as the template, with nobody in it; no test before had this name."""
        if self._free:
            name, since = self._free.popitem()
            # who has cleaned it may not quite have gone
            self._is_alone(name)
        else:
            name = _new_name()
            self._clone(name)
            since = _now(self._admin)
        self._used[name] = since
        return name

    def give_back(self, name: str) -> bool:
        """Disconnect whoever is still there, then clean the database for the next test, or drop it; returns whether it is kept."""
        since = self._used.pop(name)
        with contextlib.suppress(psycopg.Error):
            if self._is_alone(name):
                # a process that was left behind does not find it again
                new = _new_name()
                self._admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new)))
                name = new
                with self._connect(name) as conn:
                    if self._cleaned(conn, since):
                        self._free[name] = _now(conn)
                        return True
        self._drop(name)
        return False

    def close(self) -> None:
        """Drop what there is."""
        for name in (*self._free, *self._used):
            self._drop(name)

    def _clone(self, name: str) -> None:
        # autovacuum may be at the template for a moment, and on a busy machine for longer than the server waits for it
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(self._name))
        for left in range(5, -1, -1):
            try:
                self._admin.execute(statement)
                break
            except psycopg.OperationalError as error:
                if error.sqlstate != _IN_USE or not left:
                    raise
                time.sleep(1)
        if self._template is None:
            with self._connect(name) as conn:
                self._template = _look(conn)

    def _drop(self, name: str) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(make_conninfo(self._admin.info.dsn, password=self._admin.info.password, dbname=name), autocommit=True)

    def _is_alone(self, name: str) -> bool:
        """Whether all sessions have ended: with them their temporary tables go."""
        deadline = time.monotonic() + _GONE_WITHIN
        while _number(self._admin, _END_SESSIONS, [name]):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def _cleaned(self, conn: psycopg.Connection, since: int) -> bool:
        """Make the database as the template is; False where more than rows differs."""
        template = self._template
        assert template is not None
        found = conn.execute(template.question, {"since": str(since)}).fetchall()
        changed = {name for name, rows, newer in found if newer or rows != template.rows.get(name)}
        if not changed <= template.seeds.keys() or conn.execute(_SHAPE).fetchone() != template.shape:
            return False
        # no trigger fires, and statistics may be deleted
        conn.execute("SET session_replication_role = replica; SET allow_system_table_mods = on")
        if not _emptied(conn, [*template.empty, *changed]):
            return False
        for name in changed:
            with conn.cursor().copy(f"COPY {name} FROM STDIN") as copy:
                copy.write(template.seeds[name])
        if changed:
            conn.execute(f"VACUUM ANALYZE {', '.join(changed)}")
        conn.execute(_FORGET, [template.filled])
        conn.execute(_RESTART)
        # what autovacuum goes by begins anew, too
        conn.execute("SELECT pg_stat_force_next_flush()")
        conn.execute("SELECT pg_stat_reset()")
        return True


@contextlib.contextmanager
def databases_of(server: sa.Engine, template: str) -> Iterator[Databases]:
    """For as long as they are needed; dropped at the end."""
    with server.connect() as conn:
        driver = conn.connection.driver_connection
        assert driver is not None
        databases = Databases(driver, template)
        yield databases
        databases.close()


def _new_name() -> str:
    # not from `random`, which pytest-randomly seeds: two sessions may share the server
    return f"journeys_test_{secrets.token_hex(6)}"


def _emptied(conn: psycopg.Connection, tables: list[str]) -> bool:
    """Delete all rows of the tables; whether nothing is left, not even a page."""
    written = dict(conn.execute(_WRITTEN, [tables]).fetchall())
    large = [name for name, is_large in written.items() if is_large]
    if large:
        conn.execute(f"TRUNCATE {', '.join(large)}")
    conn.execute("; ".join(f"DELETE FROM {name}" for name in written if name not in large))
    if written:
        conn.execute(f"VACUUM {', '.join(written)}")
    return conn.execute(_WRITTEN, [list(written)]).fetchone() is None


def _look(conn: psycopg.Connection) -> _Template:
    """What a clone of the template is like before anybody has used it."""
    shape = conn.execute(_SHAPE).fetchone()
    assert shape is not None
    tables = {name: _number(conn, f"SELECT count(*) FROM {name}") for (name,) in conn.execute(_TABLES).fetchall()}
    filled = [name for name, rows in tables.items() if rows]
    looked_at = [*conn.execute(_CATALOGS).fetchall(), *((name, "") for name in filled)]
    # xmin is the transaction that wrote a row: what a test writes is younger than the clean database, and what it deletes is missing
    newer = "count(*) FILTER (WHERE age(xmin) < (SELECT age(%(since)s::xid)))"
    question = " UNION ALL ".join(f"SELECT '{name}', count(*), {newer} FROM {name}{which}" for name, which in looked_at)
    seeds = {}
    for name in filled:
        if tables[name] <= _SMALL:
            with conn.cursor().copy(f"COPY {name} TO STDOUT") as copy:
                seeds[name] = b"".join(copy)
    rows = {name: rows for name, rows, _ in conn.execute(question, {"since": str(_now(conn))})}
    return _Template(shape, question, rows, filled, [name for name in tables if name not in filled], seeds)


def _number(conn: psycopg.Connection, question: str, values: list[object] | None = None) -> int:
    row = conn.execute(question, values).fetchone()
    assert row is not None
    return int(row[0])


def _now(conn: psycopg.Connection) -> int:
    """The id of a transaction of this moment, as rows bear it."""
    return _number(conn, "SELECT pg_current_xact_id()::xid::text::bigint")
