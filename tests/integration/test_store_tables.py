"""tables.py is what the migrations make; migrating is safe to repeat, to kill, to run twice at once."""

from __future__ import annotations

import threading

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from journey_pipelines.store import migrate, moment_tables, report_tables
from journey_pipelines.store.connect import ensure_database, make_engine
from journey_pipelines.store.tables import engine_identity, metadata, zone_offsets

# indexes, unique constraints and comments are the migrations' alone
_COMPARED = {"add_table", "remove_table", "add_column", "remove_column", "modify_type", "modify_nullable"}


def _ours(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
    return name == "journeys" if kind == "schema" else name != migrate.VERSION_TABLE


def test_the_tables_are_what_the_migrations_make(db: sa.Engine) -> None:
    assert report_tables.metadata is metadata and moment_tables.metadata is metadata
    with db.connect() as conn:
        options = {"compare_type": True, "include_schemas": True, "include_name": _ours}
        found = compare_metadata(MigrationContext.configure(conn, opts=options), metadata)
    differences = [one for group in found for one in (group if isinstance(group, list) else [group])]
    assert [one for one in differences if one[0] in _COMPARED] == []


def test_defaults_and_generated_columns_are_what_the_migrations_make(db: sa.Engine) -> None:
    stored = sa.MetaData(schema="journeys")
    stored.reflect(db)
    for table in metadata.tables.values():
        for column in table.columns:
            other = stored.tables[str(table)].columns[column.name]
            assert (column.computed is None, column.identity is None) == (other.computed is None, other.identity is None), column
            assert (column.server_default is None) == (other.server_default is None), column


@pytest.fixture
def empty(db: sa.Engine) -> sa.Engine:
    """The test's database without what the migrations made."""
    with db.begin() as conn:
        conn.execute(sa.text("DROP SCHEMA journeys CASCADE"))
    return db


def test_migrating_again_does_nothing(empty: sa.Engine) -> None:
    with empty.connect() as conn:
        assert migrate.current(conn) is None
    assert migrate.migrate(empty)[0] == "0001"
    with empty.begin() as conn:
        assert migrate.current(conn) == migrate.newest()
        before = conn.execute(sa.select(engine_identity)).one()
    assert migrate.migrate(empty) == []
    with empty.begin() as conn:
        assert conn.execute(sa.select(engine_identity)).one() == before
        assert conn.scalar(sa.select(sa.func.count()).select_from(zone_offsets)) > 50_000


def test_two_migrations_at_once(empty: sa.Engine) -> None:
    ran: list[list[str]] = []
    threads = [threading.Thread(target=lambda: ran.append(migrate.migrate(empty))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, ran))[0] == 0 and len(ran) == 2


def test_a_migration_that_is_killed_leaves_nothing_behind(empty: sa.Engine) -> None:
    killed = threading.Event()

    def kill() -> None:
        with make_engine(empty.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as conn:
            statement = sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND application_name = 'migrating' AND query ILIKE '%zone_offsets%'"
            )
            while not conn.execute(statement).all():
                pass
        killed.set()

    thread = threading.Thread(target=kill)
    thread.start()
    engine = make_engine(empty.url, application_name="migrating", poolclass=sa.NullPool)
    with pytest.raises((sa.exc.OperationalError, psycopg.OperationalError), match=r"terminat|closed"):
        migrate.migrate(engine)
    thread.join()
    assert killed.is_set()
    with empty.connect() as conn:
        assert conn.scalar(sa.text("SELECT count(*) FROM pg_namespace WHERE nspname = 'journeys'")) == 0
    assert migrate.migrate(empty)


def test_a_database_from_the_future_is_left_alone(db: sa.Engine) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(f"UPDATE journeys.{migrate.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(migrate.MigrationError, match="newer than this program"):
        migrate.migrate(db)


def test_a_role_without_rights_is_told_what_to_do(empty: sa.Engine) -> None:
    role = f"weak_{empty.url.database}"
    with empty.begin() as conn:
        conn.execute(sa.text(f"CREATE ROLE {role}"))
    try:
        weak = make_engine(empty.url, poolclass=sa.NullPool)
        sa.event.listen(weak, "connect", lambda connection, _: connection.execute(f"SET SESSION ROLE {role}") and connection.commit())
        with pytest.raises(migrate.MigrationError, match="Migrate as the database's owner"):
            migrate.migrate(weak)
    finally:
        with empty.begin() as conn:
            conn.execute(sa.text(f"DROP ROLE {role}"))


def test_a_second_database_beside_ours(db_url: str, db: sa.Engine) -> None:
    name = f"{db.url.database}_dagster"
    try:
        beside = ensure_database(db_url, name)
        assert ensure_database(db_url, name) == beside
        with make_engine(beside, poolclass=sa.NullPool).connect() as conn:
            assert conn.scalar(sa.text("SELECT current_database()")) == name
    finally:
        with db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
