"""Low-water marks (engine.md, 19): what is dead costs nothing, and what appears below a mark is not lost.

Dead index entries stay as long as some transaction's snapshot may see them: a report of an hour, a forgotten psql. Then a queue's head is a
graveyard, and who reads it from its beginning reads all of that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_flows import flow, mail_after
from engine_rows import execute, one
from engine_world import START, World, at
from plan_reading import explain

from journey_pipelines.engine import doorbells
from journey_pipelines.engine import statements as st
from journey_pipelines.engine.tick import Worker
from journey_pipelines.store import patience

NOW = at(1)
SHARDS = list(range(64))
#: the other queues hold fewer, and are read in the same way
DEAD = {"event_inbox": 300_000, "customer_journeys": 300_000}
GONE = {
    "customer_journeys": """
        INSERT INTO journeys.customer_journeys
               (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at,
                entered_seq)
        SELECT s.workflow_id, 1, 'c', n % 64, 'x', s.step_key, s.step_uid, :at, n, :at + interval '1 second' * (n % 3600), 1, :at, n
          FROM generate_series(1, :dead) n, journeys.workflow_steps s""",
    "event_inbox": """
        INSERT INTO journeys.event_inbox (customer_id, type, occurred_at, received_at)
        SELECT 'c' || n % 500, 'order', :at + interval '1 second' * (n % 3600), :at FROM generate_series(1, :dead) n""",
    "customer_moments": """
        INSERT INTO journeys.customer_moments (customer_id, kind, ref, shard, at, known_at)
        SELECT 'c' || n, 'watch', '1', n % 64, :at + interval '1 second' * (n % 3600), :at FROM generate_series(1, :dead) n""",
    "customer_changes": """
        INSERT INTO journeys.customer_changes (customer_id, at, received_at, keys)
        SELECT 'c' || n % 500, :at + interval '1 second' * (n % 3600), :at, '{points}' FROM generate_series(1, :dead) n""",
    "segment_changes": """
        INSERT INTO journeys.segment_changes (segment_id, customer_id, change, occurred_at)
        SELECT 'called', 'c' || n % 500, 'enter', :at + interval '1 second' * (n % 3600) FROM generate_series(1, :dead) n""",
}
HELLO = flow("hello", "event: order", mail_after("1 second"), "entry: {reentry: always}")


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look below the marks counts as slow, and is not repeated of itself for years."""
    monkeypatch.setattr(patience, "SLOW", 0.0)
    monkeypatch.setattr(patience, "PATIENCE", 1e12)


@contextmanager
def graveyard(db: sa.Engine, table: str) -> Iterator[None]:
    """Many rows of a table were due in START's hour and are gone, but an old snapshot may still see them."""
    execute(db, f"ALTER TABLE journeys.{table} SET (autovacuum_enabled = false)")
    with db.begin() as conn:
        conn.execute(sa.text(GONE[table]), {"at": START, "dead": DEAD.get(table, 60_000)})
    old = sa.create_engine(db.url, isolation_level="REPEATABLE READ", poolclass=sa.NullPool)
    with old.connect() as conn:
        conn.exec_driver_sql("SELECT count(*) FROM journeys.engine_shards")
        execute(db, f"DELETE FROM journeys.{table}")
        yield
    old.dispose()


@contextmanager
def buffers(db: sa.Engine) -> Iterator[Counter[str]]:
    """What the statements of `engine/sql` read that are executed meanwhile, each explained just before it is."""
    names = {st.fixed(name): name for name in ("below", "take", "shards_left", "discover", "due_first")}
    found: Counter[str] = Counter()

    def before(conn: sa.Connection, cursor: Any, sql: str, values: Any, context: Any, many: bool) -> None:
        if sql in names:
            found[names[sql]] += explain(conn, sql, values).buffers
        elif "AS MATERIALIZED" in sql and "EXPLAIN" not in sql:
            found["step"] += explain(conn, sql, values).buffers

    sa.event.listen(db, "before_cursor_execute", before)
    yield found
    sa.event.remove(db, "before_cursor_execute", before)


def orders(world: World, n: int, when: datetime) -> None:
    world.events([{"customer_id": f"c{i}", "type": "order", "occurred_at": when, "received_at": when, "payload": {}} for i in range(n)])


@pytest.mark.parametrize("table", GONE)
def test_a_batch_reads_its_rows_and_not_the_dead(world: World, table: str, slow: None) -> None:
    world.deploy(HELLO)
    with graveyard(world.db, table):
        # the first batch reads from the beginning, the second looks below its marks, and learns that this is slow
        with buffers(world.db) as found:
            for minute in (1, 2):
                orders(world, 1, NOW + timedelta(minutes=minute))
                assert world.worker.batch(NOW + timedelta(minutes=minute)).entered
        assert found["below"] > 50_000
        orders(world, 100, NOW + timedelta(minutes=3))
        with buffers(world.db) as found:
            assert world.worker.batch(NOW + timedelta(minutes=3)).entered == 100
            assert world.worker.batch(NOW + timedelta(minutes=4)).ended == 100
        assert set(found) == {"take", "shards_left", "discover", "step"}
        # 64 shards x 5 descents of an index a look, and what a hundred rows cost to move
        assert found["take"] < 15_000
        assert found["shards_left"] < 1_000
        assert found["discover"] < 500
        assert found["step"] < 10_000


def test_what_is_due_steps_over_the_dead(world: World) -> None:
    world.deploy(HELLO)
    with graveyard(world.db, "customer_journeys"), world.db.connect() as conn:
        for name, more in (("discover", {}), ("due_first", {"row_limit": 100, "emitting": []})):
            values = {"now": NOW, "low": NOW - timedelta(hours=1), "shards": SHARDS, **more}
            found = explain(conn, st.fixed(name), values)
            assert (found.whole, found.scanned) == (set(), 0)
            assert found.buffers < 20


# -- what appears below a mark -------------------------------------------------------------------------------------------

#: from another connection, with a time long before the marks; how many are left
LATE = {
    "event_inbox": "INSERT INTO journeys.event_inbox (customer_id, type, occurred_at) VALUES ('late', 'order', :at)",
    "customer_changes": "INSERT INTO journeys.customer_changes (customer_id, at, received_at, keys) VALUES ('late', :at, :at, '{points}')",
    "segment_changes": """
        INSERT INTO journeys.segment_changes (segment_id, customer_id, change, occurred_at) VALUES ('vip', 'late', 'enter', :at)""",
    "customer_moments": "INSERT INTO journeys.customer_moments VALUES ('late', 'watch', '1', journeys.shard_of('late'), :at, :at)",
    "customer_journeys": "UPDATE journeys.customer_journeys SET due_at = :at WHERE customer_id = 'waiting'",
}


def left(world: World, table: str) -> int:
    more = " AND status = 'active'" if table == "customer_journeys" else ""
    count: int = one(world.db, f"SELECT count(*) FROM journeys.{table} WHERE customer_id IN ('late', 'waiting'){more}")
    return count


def begun(world: World) -> None:
    """A worker with marks, that has found a look below them slow."""
    world.deploy(HELLO, flow("slowly", "event: begin", mail_after("50 days")))
    world.event("waiting", "begin", START)
    for minute in (1, 2):
        orders(world, 1, NOW + timedelta(minutes=minute))
        assert world.worker.batch(NOW + timedelta(minutes=minute)).entered


@pytest.mark.parametrize("table", LATE)
def test_what_is_committed_late_is_taken_before_nothing_is_left(world: World, table: str, slow: None) -> None:
    """Its id is lower and its time earlier than those of rows that were taken; a batch with work steps over it, the last does not."""
    begun(world)
    with world.db.connect() as late:
        late.execute(sa.text(LATE[table]), {"at": START})
        orders(world, 1, NOW + timedelta(minutes=3))
        assert world.worker.batch(NOW + timedelta(minutes=3)).entered == 1
        late.commit()
    orders(world, 1, NOW + timedelta(minutes=4))
    assert world.worker.batch(NOW + timedelta(minutes=4)).entered == 1
    assert left(world, table) == 1
    assert [world.worker.batch(NOW + timedelta(minutes=4)).progress for _ in range(2)] == [True, False]
    assert left(world, table) == 0


@pytest.mark.parametrize("table", LATE)
def test_where_a_look_is_cheap_the_order_is_kept(world: World, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SLOW", 1e12)
    begun(world)
    with world.db.begin() as late:
        late.execute(sa.text(LATE[table]), {"at": START})
    orders(world, 1, NOW + timedelta(minutes=4))
    assert world.worker.batch(NOW + timedelta(minutes=4)).entered
    assert left(world, table) == 0


def test_nothing_is_remembered_for_a_tick(world: World, slow: None) -> None:
    begun(world)
    with world.db.begin() as late:
        late.execute(sa.text(LATE["event_inbox"]), {"at": START})
    assert world.tick(NOW + timedelta(minutes=4)).rows_in == 1


def test_after_another_worker_a_look_is_never_left_out(world: World, slow: None) -> None:
    """What it left in these shards may come before what lies above the marks."""
    begun(world)
    orders(world, 1, NOW + timedelta(minutes=3))
    assert Worker(world.db).batch(NOW + timedelta(minutes=3)).entered == 1
    with world.db.begin() as late:
        late.execute(sa.text(LATE["event_inbox"]), {"at": START})
    orders(world, 1, NOW + timedelta(minutes=4))
    assert world.worker.batch(NOW + timedelta(minutes=4)).rows_in == 2


def test_what_journeys_tell_is_looked_at_in_its_place(world: World, slow: None) -> None:
    """A journey that was due long before the marks writes an event: the next batch takes it, whatever lies above."""
    steps = "  - id: tell\n    wait: 1 hour\n    do: [{emit_event: {type: told}}]\n"
    world.deploy(flow("teller", "event: begin", steps), flow("heard", "event: told"))
    begun(world)
    world.event("late", "begin", at(hours=1))
    reports = [world.worker.batch(NOW + timedelta(minutes=3)) for _ in range(2)]
    assert [report.emitted for report in reports] == [0, 1]
    orders(world, 1, NOW + timedelta(minutes=4))
    assert world.worker.batch(NOW + timedelta(minutes=4)).entered == 2
    assert [j.entered_at for j in world.journeys("late") if j.workflow_id == "heard"] == [at(hours=2) + timedelta(microseconds=1)]


def test_what_a_failed_batch_gives_back_is_taken_again(world: World, slow: None) -> None:
    begun(world)
    execute(
        world.db,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'XX000'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON journeys.customer_events FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    orders(world, 5, NOW + timedelta(minutes=3))
    with pytest.raises(sa.exc.DBAPIError, match="no"):
        world.worker.batch(NOW + timedelta(minutes=3))
    execute(world.db, "DROP TRIGGER refuse ON journeys.customer_events")
    assert world.worker.batch(NOW + timedelta(minutes=3)).rows_in == 5


def test_a_clock_that_goes_back_begins_anew(world: World, slow: None) -> None:
    begun(world)
    orders(world, 1, at(hours=12))
    assert world.worker.batch(at(hours=12)).entered == 1


@pytest.mark.parametrize(
    ("table", "question"),
    [
        ("event_inbox", doorbells.inbox_waiting),
        ("segment_changes", doorbells.segment_changes_waiting),
        ("customer_changes", doorbells.moments_waiting),
        ("customer_moments", doorbells.moments_waiting),
        ("customer_journeys", doorbells.journeys_due),
    ],
)
def test_a_doorbell_asks_of_what_is_new(world: World, table: str, question: Callable[..., bool]) -> None:
    """What came before `since` is left to a question without it."""
    begun(world)
    world.tick(NOW + timedelta(minutes=3))
    with world.db.begin() as conn:
        conn.execute(sa.text(LATE[table]), {"at": NOW})
        now = NOW + timedelta(minutes=4)
        assert question(conn, now) and question(conn, now, NOW)
        assert not question(conn, now, NOW + timedelta(seconds=1))
