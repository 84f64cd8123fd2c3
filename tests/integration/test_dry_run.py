"""`journeys run --dry-run`: the next hours on a copy, and nothing of it in the original."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.engine.dry_run import Forecast, forecast
from journey_pipelines.intake.table_segments import refresh_segments
from journey_pipelines.store.clock import set_clock
from journey_pipelines.store.connect import make_engine
from journey_pipelines.store.copy import PREFIX, DatabaseCopy, copied
from journey_pipelines.store.migrate import MigrationError
from journey_pipelines.store.moment_tables import operator_holds

WELCOME = """\
workflow: welcome
hold_out: 0%
triggers:
  - event: user_registered
entry:
  reentry: never
exit:
  - event: unsubscribed
steps:
  - id: hello
    do:
      - send_email: {template: hello, subject: Hello}
  - id: nudge
    wait: 3 hours
    do:
      - send_push: {title: Still there?, text: Have a look}
  - id: later
    wait: 2 days
    do:
      - send_sms: {text: Hello again}
"""


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    """Ten people wait for their nudge since the first hour; two of them will have unsubscribed before, three register later."""
    world = World(db, tmp_path)
    world.deploy(WELCOME)
    for n in range(10):
        world.profile(f"c{n}", timezone="UTC")
        world.event(f"c{n}", "user_registered", at())
    world.tick(at(minutes=1))
    for n in range(2):
        world.event(f"c{n}", "unsubscribed", at(hours=1), received=at())
    for n in range(3):
        world.event(f"late{n}", "user_registered", at(hours=5), received=at(hours=5))
    with db.begin() as conn:
        set_clock(conn, at(minutes=30), 0.0001)
    db.dispose()
    return world


def fingerprint(engine: sa.Engine) -> dict[str, str]:
    """Table -> a hash of all its rows, byte for byte as COPY writes them; sequences too. Leaves no connection behind."""
    found: dict[str, str] = {}
    with engine.connect() as conn:
        names = conn.exec_driver_sql(
            "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'journeys'::regnamespace AND relkind IN ('r', 'S')"
        )
        driver: Any = conn.connection.driver_connection
        for name, kind in sorted(map(tuple, names)):
            digest, what = hashlib.sha256(), "t::text" if kind == "r" else "t.last_value, t.is_called"
            with driver.cursor().copy(f'COPY (SELECT {what} FROM journeys."{name}" t ORDER BY 1) TO STDOUT') as rows:
                for piece in rows:
                    digest.update(piece)
            found[name] = digest.hexdigest()
    engine.dispose()
    return found


def copies(url: str) -> list[str]:
    """The copies there are of a database; other tests make some of theirs."""
    said = "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE %s ORDER BY 1"
    with psycopg.connect(url.replace("+psycopg", "")) as conn:
        return [name for (name,) in conn.execute(said, (f"a copy of {sa.make_url(url).database} that may be dropped; %",))]


def run(copy: DatabaseCopy, **options: Any) -> Forecast:
    engine = make_engine(copy.url, poolclass=sa.NullPool)
    try:
        return forecast(engine, **options)
    finally:
        engine.dispose()


@pytest.fixture(params=["template", "stream"])
def how(request: pytest.FixtureRequest, db_url: str) -> Iterator[str]:
    """A copy of files where nobody is connected, streamed where somebody is."""
    if request.param == "template":
        yield "template"
        return
    with psycopg.connect(db_url.replace("+psycopg", "")):
        yield "stream"


def test_it_says_what_would_happen(world: World, db_url: str, how: str) -> None:
    with copied(db_url) as copy:
        assert copy.how == how
        found = run(copy)
    (welcome,) = found.workflows
    assert at(minutes=30) <= found.start < at(minutes=31) and found.end - found.start == timedelta(days=1)
    assert (welcome.workflow_id, welcome.entered, welcome.ended) == ("welcome", 3, {"exit_rule": 2})
    steps = {step.step: (step.entered, step.advanced, step.ended, step.waiting) for step in welcome.steps}
    assert list(steps) == ["hello", "nudge", "later"]
    assert steps == {"hello": (3, 3, {}, 0), "nudge": (3, 11, {"exit_rule": 2}, 0), "later": (11, 0, {}, 11)}
    planned = {(m.channel, m.hour): m.planned for m in found.messages}
    assert planned == {("push", at(hours=3)): 8, ("email", at(hours=5)): 3, ("push", at(hours=8)): 3}
    assert found.moved.rows_in == 5 and found.quarantined == 0 and found.holds == []


def test_the_original_is_the_same_byte_for_byte_and_open_to_others(world: World, db_url: str, how: str) -> None:
    before = fingerprint(world.db)
    assert before["customer_journeys"] != before["messages"]
    connected = []

    def look(when: datetime, moved: Any) -> None:
        with psycopg.connect(db_url.replace("+psycopg", ""), connect_timeout=5) as conn:
            connected.append(conn.execute("SELECT count(*) FROM journeys.customer_journeys WHERE status = 'active'").fetchone())

    with copied(db_url) as copy:
        assert copy.how == how
        run(copy, hours=6, tick=timedelta(hours=1), on_tick=look)
    assert connected == [(10,)] * 7
    assert fingerprint(world.db) == before
    assert copies(db_url) == []


def test_a_streamed_copy_holds_what_the_original_holds(world: World, db_url: str) -> None:
    told: list[str] = []
    with psycopg.connect(db_url.replace("+psycopg", "")), copied(db_url, on_table=told.append) as copy:
        assert copy.how == "stream"
        engine = make_engine(copy.url, poolclass=sa.NullPool)
        assert fingerprint(engine) == fingerprint(world.db)
        engine.dispose()
    assert "customer_journeys" in told and "message_bodies" not in told


def test_ids_go_on_in_a_streamed_copy_where_the_original_stands(world: World, db_url: str) -> None:
    with psycopg.connect(db_url.replace("+psycopg", "")) as here, copied(db_url) as copy:
        insert = "INSERT INTO journeys.event_inbox (customer_id, type) VALUES ('c', 't') RETURNING id"
        with psycopg.connect(copy.url.replace("+psycopg", "")) as there:
            copied_id = there.execute(insert).fetchone()
        assert here.execute(insert).fetchone() == copied_id
        here.rollback()


PARTNERS = """\
workflow: partners
triggers:
  - segment: partners
steps:
  - id: hello
    do:
      - send_email: {template: hello, subject: Hello}
"""


def test_a_table_that_a_segment_reads_is_looked_at_in_the_copy(world: World, db_url: str, how: str) -> None:
    with world.db.begin() as conn:
        conn.exec_driver_sql("CREATE SCHEMA analytics")
        conn.exec_driver_sql("CREATE TABLE analytics.partners (id integer, since date)")
        conn.exec_driver_sql("INSERT INTO analytics.partners VALUES (7, '2026-01-01'), (8, NULL)")
    (world.root / "segments").mkdir()
    declared = "segment: partners\nfrom: {table: analytics.partners, column: id}\n"
    (world.root / "segments" / "partners.yaml").write_text(declared, encoding="utf-8")
    world.deploy(PARTNERS)
    refresh_segments(world.db, at(minutes=2))
    with world.db.begin() as conn:
        conn.exec_driver_sql("INSERT INTO analytics.partners VALUES (9, '2026-03-01')")
    world.db.dispose()
    with copied(db_url) as copy:
        assert copy.how == how
        engine = make_engine(copy.url, poolclass=sa.NullPool)
        found = forecast(engine, hours=2, tick=timedelta(hours=1), before_tick=lambda now: refresh_segments(engine, now))
        engine.dispose()
    assert {workflow.workflow_id: workflow.entered for workflow in found.workflows}["partners"] == 1
    assert [(m.workflow_id, m.channel, m.planned) for m in found.messages if m.workflow_id == "partners"] == [("partners", "email", 1)]


def test_the_copy_goes_when_the_block_fails(world: World, db_url: str) -> None:
    with pytest.raises(ZeroDivisionError), copied(db_url) as copy:
        assert copies(db_url) == [copy.name]
        raise ZeroDivisionError
    assert copies(db_url) == []


def test_what_a_killed_process_left_goes_with_the_next_copy(world: World, db_url: str) -> None:
    url, own = db_url.replace("+psycopg", ""), secrets.token_hex(6)
    old, young, foreign = f"{PREFIX}old_{own}", f"{PREFIX}young_{own}", f"{PREFIX}foreign_{own}"
    with psycopg.connect(url, autocommit=True) as conn:
        for name, begun in ((old, "2026-01-01T00:00:00+00:00"), (young, datetime.now(UTC).isoformat())):
            conn.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
            conn.execute(f"COMMENT ON DATABASE {name} IS 'a copy of x that may be dropped; {begun}'")  # type: ignore[call-overload]
        conn.execute(f"CREATE DATABASE {foreign}")  # type: ignore[call-overload]
    try:
        with copied(db_url), psycopg.connect(url) as conn:
            left = conn.execute("SELECT datname FROM pg_database WHERE datname = ANY (%s) ORDER BY 1", ([old, young, foreign],)).fetchall()
        assert left == [(foreign,), (young,)]
    finally:
        with psycopg.connect(url, autocommit=True) as conn:
            for name in (old, young, foreign):
                conn.execute(f"DROP DATABASE IF EXISTS {name}")  # type: ignore[call-overload]


def test_an_original_of_another_revision_is_refused(world: World, db_url: str) -> None:
    with world.db.begin() as conn:
        conn.exec_driver_sql("UPDATE journeys.schema_version SET version_num = '0001'")
    with (
        pytest.raises(MigrationError, match=r"is at revision 0001, this program needs \d+; run `journeys db migrate` first"),
        copied(db_url),
    ):
        raise AssertionError("no copy is made")


def test_holds_are_shown(world: World, db_url: str) -> None:
    hold = {"workflow_id": "welcome", "what": "dispatch", "why": "a typo", "held_by": "ann", "held_at": at()}
    with world.db.begin() as conn:
        conn.execute(sa.insert(operator_holds).values(hold))
        conn.exec_driver_sql("UPDATE journeys.customer_journeys SET held_at = now() WHERE customer_id IN ('c8', 'c9')")
    world.db.dispose()
    with copied(db_url) as copy:
        found = run(copy, hours=2, tick=timedelta(hours=1))
    assert [(hold.workflow_id, hold.what, hold.why) for hold in found.holds] == [("welcome", "dispatch", "a typo")]
    assert {step.step: step.held for step in found.workflows[0].steps}["nudge"] == 2


def test_hours_and_ticks_are_above_nothing(world: World, db_url: str) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        forecast(world.db, hours=0)


@contextmanager
def command(db_url: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "DATABASE_URL": db_url, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    words = [sys.executable, "-c", "from journey_pipelines.cli import main; main()", "run", "--dry-run", *options]
    with subprocess.Popen(words, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_command_prints_it(world: World, db_url: str) -> None:
    with command(db_url, "--hours", "6") as process:
        said, wrong = process.communicate(timeout=100)
    assert process.returncode == 0, wrong
    assert "nothing was written, nothing was sent" in said
    assert "exit_rule 2" in said and "push" in said and "2026-03-02 12:00" in said
    assert copies(db_url) == []


def test_the_command_as_json(world: World, db_url: str) -> None:
    with command(db_url, "--hours", "1", "--json") as process:
        said, wrong = process.communicate(timeout=100)
    assert process.returncode == 0, wrong
    found = json.loads(said)
    assert found["workflows"][0]["steps"][0]["step"] == "nudge"
    assert found["start"].startswith("2026-03-02T09:30:")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind(world: World, db_url: str, number: signal.Signals) -> None:
    before = fingerprint(world.db)
    with command(db_url, "--hours", "8000") as process:
        deadline = time.monotonic() + 60
        while not copies(db_url) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        _, wrong = process.communicate(timeout=60)
    assert process.returncode == 130, wrong
    assert "the database is as it was" in wrong
    assert copies(db_url) == []
    assert fingerprint(world.db) == before
