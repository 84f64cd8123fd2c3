"""The tests' own databases: one that was used is as a new one, or it is not used again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from databases import Databases, databases_of
from engine_flows import GREETING
from engine_world import World, at

from journey_pipelines.store.connect import make_engine

TABLES = """
SELECT oid::regclass::text FROM pg_class
 WHERE relnamespace = 'journeys'::regnamespace AND relkind = 'r' AND relname <> 'zone_offsets' ORDER BY 1
"""
PHYSICAL = """
SELECT c.oid::regclass::text, c.reltuples, c.relpages, pg_relation_size(c.oid),
       (SELECT count(*) FROM pg_statistic s WHERE s.starelid = c.oid)
  FROM pg_class c WHERE c.relnamespace = 'journeys'::regnamespace AND c.relkind = 'r' ORDER BY 1
"""
ZONES = "SELECT count(*), min(ctid), max(ctid), min(xmin::text), max(xmin::text) FROM journeys.zone_offsets"
SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"


@pytest.fixture(scope="module")
def databases(_admin: sa.Engine, template: str) -> Iterator[Databases]:
    with databases_of(_admin, template) as databases:
        yield databases


@pytest.fixture(scope="module")
def url(server_url: str) -> sa.URL:
    return sa.make_url(server_url)


def connect(url: sa.URL, name: str) -> psycopg.Connection:
    address = url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)


def contents(url: sa.URL, name: str) -> dict[str, object]:
    """Every row, the values of sequences, what the planner knows."""
    with connect(url, name) as conn:
        found: dict[str, object] = {"physical": conn.execute(PHYSICAL).fetchall(), "sequences": conn.execute(SEQUENCES).fetchall()}
        for (table,) in conn.execute(TABLES).fetchall():
            found[table] = conn.execute(f"SELECT t::text FROM {table} t ORDER BY 1").fetchall()  # type: ignore[call-overload]
        # of 54,000 rows their number, and whether they are where they were
        found["zones"] = conn.execute(ZONES).fetchall()
    return found


def test_nothing_is_left_of_what_a_test_wrote(databases: Databases, url: sa.URL, tmp_path: Path) -> None:
    name = databases.take()
    before = contents(url, name)
    engine = make_engine(url.set(database=name))
    world = World(engine, tmp_path)
    world.deploy(GREETING)
    for n in range(20):
        world.profile(f"c{n}", timezone="UTC")
        world.event(f"c{n}", "signup", at())
    assert world.tick(at(minutes=1)).progress
    with connect(url, name) as conn:
        # more than a page of rows, so that they are not deleted one by one
        conn.execute("INSERT INTO journeys.event_inbox (customer_id, type) SELECT 'many', 'many' FROM generate_series(1, 2000)")
        conn.execute("UPDATE journeys.engine_shards SET planned_until = now()")
        conn.execute("TRUNCATE journeys.tasks, journeys.conversions RESTART IDENTITY")
        conn.execute("ANALYZE")
    assert contents(url, name) != before
    # the engine is not disposed of: whoever is connected is sent away
    assert databases.give_back(name)
    again = databases.take()
    assert again != name
    assert contents(url, again) == before
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect(url, name)
    engine.dispose()
    assert databases.give_back(again)


def test_who_only_looked_costs_nothing(databases: Databases, url: sa.URL) -> None:
    name = databases.take()
    before = contents(url, name)
    with connect(url, name) as conn:
        conn.execute("CREATE TEMPORARY TABLE mine AS SELECT * FROM journeys.zone_offsets LIMIT 10")
    assert databases.give_back(name)
    again = databases.take()
    assert contents(url, again) == before
    assert databases.give_back(again)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION journeys.clock_now() VOLATILE",
        "ALTER TABLE journeys.messages ADD COLUMN mine int",
        "ALTER TABLE journeys.messages ADD CONSTRAINT mine CHECK (id > 0)",
        "ALTER TABLE journeys.messages SET (autovacuum_enabled = false)",
        "ALTER TABLE journeys.event_inbox ALTER COLUMN id SET INCREMENT 5",
        "CREATE TRIGGER mine BEFORE UPDATE ON journeys.messages FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE INDEX mine ON journeys.messages (customer_id, id)",
        "GRANT DELETE ON journeys.messages TO app_writer",
        "COMMENT ON TABLE journeys.messages IS 'mine'",
        "SELECT lo_create(0)",
        "DROP TABLE journeys.message_bodies",
        "DROP SCHEMA journeys CASCADE",
        "UPDATE journeys.zone_offsets SET zone = zone WHERE zone = 'UTC'",
        "DELETE FROM journeys.zone_offsets WHERE zone = 'UTC'",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''1MB''', current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS ''mine''', current_database()); END $$",
    ],
)
def test_more_than_rows_costs_the_database(databases: Databases, url: sa.URL, statement: str) -> None:
    name = databases.take()
    with connect(url, name) as conn:
        conn.execute(statement)  # type: ignore[call-overload]
    assert not databases.give_back(name)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect(url, name)
