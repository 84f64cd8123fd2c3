"""Bring a database to the newest revision: alembic, run from inside the package, each revision one SQL file.

A new revision is `migrations/0002_reports.sql` beside `migrations/0002_reports.py` (four lines, see 0001_initial.py).
All revisions that are missing run in one transaction: a migration that is killed leaves nothing behind.
"""

from __future__ import annotations

import logging
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from journey_pipelines.store.connect import make_engine

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "schema_version"
# "journeys" in ASCII: any constant does, as long as it is ours
_LOCK = 0x6A6F75726E657973
_ABSENT = (
    psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction,
)  # fmt: skip


class MigrationError(RuntimeError):
    """The database cannot be brought to the newest revision."""


def migrate(engine: sa.Engine) -> list[str]:
    """Run what is missing; returns the revisions that ran, oldest first. Several callers at once wait for each other.

    Raises MigrationError where rights are missing or the database is newer than this program.
    """
    # alembic announces its plan at INFO through the root logger's handlers, which is a caller's business to see
    logging.getLogger("alembic").setLevel(logging.WARNING)
    script = ScriptDirectory(str(MIGRATIONS.parent), version_locations=[str(MIGRATIONS)])
    ran: list[str] = []
    try:
        with engine.begin() as conn:
            conn.execute(sa.text("SELECT set_config('statement_timeout', '0', true), pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            # the version table lives in the schema that the first revision fills
            conn.execute(sa.text("CREATE SCHEMA IF NOT EXISTS journeys"))
            with EnvironmentContext(
                Config(), script, fn=lambda revision, _: _steps(script, revision, ran), destination_rev="head"
            ) as environment:
                environment.configure(connection=conn, version_table=VERSION_TABLE, version_table_schema="journeys")
                environment.run_migrations()
    except CommandError as error:
        raise MigrationError(f"{_name(engine)} is newer than this program ({error}); install the version that migrated it") from None
    except (sa.exc.ProgrammingError, psycopg.errors.InsufficientPrivilege) as error:
        cause = getattr(error, "orig", error)
        if not isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise
        raise MigrationError(
            f"{_name(engine)}: the role {engine.url.username!r} lacks a right: {cause}. Migrate as the database's owner; "
            "if it may not create roles, have an administrator run: CREATE ROLE app_writer NOLOGIN"
        ) from None
    return ran


def current(conn: sa.Connection) -> str | None:
    """The revision the database is at, None before the first migration."""
    known = conn.scalar(sa.text("SELECT to_regclass(:name)"), {"name": f"journeys.{VERSION_TABLE}"})
    revision: str | None = conn.scalar(sa.text(f"SELECT version_num FROM journeys.{VERSION_TABLE}")) if known else None  # noqa: S608  # our own constant
    return revision


def newest() -> str:
    """The revision that `migrate` leads to."""
    head = ScriptDirectory(str(MIGRATIONS.parent), version_locations=[str(MIGRATIONS)]).get_current_head()
    assert head is not None
    return head


def behind(conn: sa.Connection) -> str | None:
    """What to do about a database that is not at the newest revision, in a sentence; None for one that is."""
    at, needed = current(conn), newest()
    if at == needed:
        return None
    return f"{_name(conn.engine)} is at revision {at or 'none'}, this program needs {needed}; run `journeys db migrate` first"


def not_migrated(error: BaseException) -> str | None:
    """The same, where an error says that a table, a column or a function of ours is not there, in the configured database."""
    cause = getattr(error, "orig", error)
    if not isinstance(cause, _ABSENT):
        return None
    engine = make_engine(poolclass=sa.NullPool)
    with engine.connect() as conn:
        return behind(conn)


def run_file(name: str) -> sa.Connection:
    """For revisions: execute `migrations/<name>` whole; returns the connection for what SQL alone cannot do."""
    conn: sa.Connection = op.get_bind()
    driver = conn.connection.driver_connection
    assert driver is not None
    # psycopg's own execute without parameters: many statements at once, and a % is a %
    driver.execute((MIGRATIONS / name).read_text(encoding="utf-8"))
    return conn


def _steps(script: ScriptDirectory, revision: tuple[str, ...], ran: list[str]) -> list:
    steps = script._upgrade_revs("head", revision)  # type: ignore[arg-type]  # what alembic.command.upgrade calls, too
    ran.extend(step.revision.revision for step in steps)
    return steps


def _name(engine: sa.Engine) -> str:
    return f"database {engine.url.database!r}"
