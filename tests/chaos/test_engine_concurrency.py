"""Many workers on one database, apps that write and deploys meanwhile: every event is routed once, every journey moves once."""

from __future__ import annotations

import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from crew import crew, seeded
from engine_rows import event, execute, one, orphans, put, rows
from engine_world import START, World

from journey_pipelines.engine import session
from journey_pipelines.engine.plans import load_plans
from journey_pipelines.engine.tick import tick
from journey_pipelines.store.connect import make_engine

DUE = START + timedelta(hours=2)

PARKED = """
workflow: parked
triggers:
  - event: signup
steps:
  - id: pause
    wait: 1 hour
    do:
      - send_sms: {text: Hello}
"""
PING = """
workflow: ping
triggers:
  - event: ping
entry:
  reentry: always
steps:
  - id: count
    do:
      - update_profile: {increment: {pings: 1}}
"""


def by_customer(db: sa.Engine, query: str) -> dict[str, int]:
    return {row.customer_id: int(row.n) for row in rows(db, query)}


def holds_together(db: sa.Engine) -> bool:
    return {name: n for name, n in orphans(db).items() if n} == {}


def test_eight_drains_on_the_same_journeys_and_the_same_inbox(db: sa.Engine, db_url: str, tmp_path: Path) -> None:
    chance = seeded()
    World(db, tmp_path).deploy(PARKED, PING)
    execute(
        db,
        f"""INSERT INTO journeys.event_inbox (source_event_id, customer_id, type, occurred_at, received_at)
            SELECT 's' || n, 'c' || n, 'signup', '{START}', '{START}' FROM generate_series(1, 1000) n""",
    )
    assert tick(db, START).entered == 1000
    # three a customer, in another order than they happened, and each id twice: the second time for somebody else
    execute(
        db,
        f"""INSERT INTO journeys.event_inbox (source_event_id, customer_id, type, occurred_at, received_at)
            SELECT 'p' || n || '-' || k, 'c' || n, 'ping', timestamptz '{START}' + make_interval(mins => 90 + k), '{DUE}'
              FROM generate_series(1, 1000) n, generate_series(1, 3) k ORDER BY md5(n || '-' || k)""",
        f"""INSERT INTO journeys.event_inbox (source_event_id, customer_id, type, occurred_at, received_at)
            SELECT 'p' || n || '-2', 'd' || n, 'noted', '{DUE}', '{DUE}' FROM generate_series(1, 1000) n""",
    )
    workers = []
    for _ in range(4):
        half = chance.sample(range(64), 32)
        others = [shard for shard in chance.sample(range(64), 64) if shard not in half]
        # each shard is in the hands of four of the eight
        workers += [{"shards": shards, "batch_size": 50, "now": DUE.isoformat(), "linger": 1.5} for shards in (half, others)]
    with crew(db_url, *workers) as running:
        reports = running.reports()

    moved = [report["rows_in"] + report["advanced"] for report in reports]
    sys.stdout.write(f"rows moved by each: {moved}\n")
    assert one(db, "SELECT count(*) FROM journeys.journey_transitions WHERE workflow_id = 'parked' AND to_step IS NULL") == 1000
    assert one(db, "SELECT count(*) FROM journeys.messages") == 1000
    assert sum(report["rows_in"] for report in reports) == 4000
    assert sum(report["routed"] for report in reports) == one(db, "SELECT count(*) FROM journeys.event_keys") - 1000 == 3000
    # whoever was first: of each pair one counted
    pings = by_customer(db, "SELECT customer_id, count(*) AS n FROM journeys.customer_events WHERE type = 'ping' GROUP BY 1")
    noted = one(db, "SELECT count(*) FROM journeys.customer_events WHERE type = 'noted'")
    assert sum(pings.values()) + noted == 3000
    assert by_customer(db, "SELECT customer_id, attributes ->> 'pings' AS n FROM journeys.customer_profiles") == pings
    disorder = """
        SELECT count(*) FROM (
            SELECT (at, at_seq) < lag((at, at_seq)) OVER (PARTITION BY customer_id ORDER BY id) AS wrong
              FROM journeys.journey_transitions WHERE workflow_id = 'ping' AND from_step IS NULL) t WHERE wrong"""
    assert one(db, disorder) == 0
    assert holds_together(db)
    assert sum(n > 0 for n in moved) >= 6


@pytest.mark.parametrize("reentry", ["never", "after exit", "{after: 7 days, of: exit}", "{after: 7 days, of: entry, max: 3}"])
def test_sixteen_entries_at_once_admit_one(db_url: str, db: sa.Engine, tmp_path: Path, reentry: str) -> None:
    """Even without the shards' lock: the admission row alone decides."""
    World(db, tmp_path).deploy(PARKED.replace("steps:", f"entry:\n  reentry: {reentry}\nsteps:"))
    engine = make_engine(db_url, pool_size=16)
    with engine.connect() as conn:
        plans = load_plans(conn)
    enter = plans.entries("signup")[0][1].enter
    together = threading.Barrier(16)

    def go(n: int) -> int:
        with engine.connect() as conn:
            session.batch_table(conn)
            with conn.begin():
                conn.exec_driver_sql(
                    """INSERT INTO batch_events (seq, customer_id, shard, type, occurred_at, received_at, payload, depth, round)
                       VALUES (%(n)s, 'ann', 7, 'signup', %(at)s, %(at)s, '{}', 0, 1)""",
                    {"n": n, "at": START},
                )
                together.wait()
                values = {"round": 1, "low": 0, "high": 100, "now": START, "default_zone": "UTC"}
                return int(conn.exec_driver_sql(enter.sql, enter.bind(values)).mappings().one()["entered"])

    with ThreadPoolExecutor(16) as pool:
        entered = list(pool.map(go, range(16)))
    engine.dispose()
    assert sum(entered) == 1
    assert rows(db, "SELECT entries, active FROM journeys.journey_admissions") == [(1, 1)]


def test_sixteen_apps_and_sixteen_workers_for_one_person(db_url: str, db: sa.Engine, tmp_path: Path) -> None:
    World(db, tmp_path).deploy(PARKED)
    engine = make_engine(db_url, pool_size=16)
    together = threading.Barrier(16)

    def go(n: int) -> int:
        together.wait()
        put(engine, event("ann", "signup", START + timedelta(seconds=n % 3)))
        return tick(engine, DUE - timedelta(hours=1)).entered

    with ThreadPoolExecutor(16) as pool:
        entered = sum(pool.map(go, range(16)))
    entered += tick(engine, DUE - timedelta(hours=1)).entered
    engine.dispose()
    assert entered == 1
    assert one(db, "SELECT count(*) FROM journeys.customer_events") == 16
    assert holds_together(db)


FLOW = """
workflow: flow
triggers:
  - event: ping
entry:
  reentry: always
steps:
  - id: note
    wait: {wait}
    do:
      - send_sms: {{text: "Hello {wait}"}}
"""


def test_deploys_while_drains_run(db_url: str, db: sa.Engine, tmp_path: Path) -> None:
    """Every event enters exactly one journey, of exactly one version, and that journey goes its version's way."""
    world = World(db, tmp_path)
    world.deploy(FLOW.format(wait="1 minutes"))
    written = 0

    def write(n: int) -> None:
        nonlocal written
        put(db, *(event(f"c{i}", "ping", START) for i in range(n)))
        written += n

    write(200)
    with crew(db_url, *({"now": START.isoformat(), "batch_size": 100, "linger": 1.0} for _ in range(4))) as running:
        for version in range(2, 12):
            write(100)
            report = world.deploy(FLOW.format(wait=f"{version} minutes"))
            assert [(change.change, change.version) for change in report.changes] == [("new version", version)]
            write(100)
        reports = running.reports()
    assert sum(report["entered"] for report in reports) + tick(db, START).entered == written
    by_event = rows(db, "SELECT entered_seq, count(*) AS n FROM journeys.customer_journeys GROUP BY 1")
    assert len(by_event) == written and {row.n for row in by_event} == {1}
    waits = "SELECT version, count(*) AS n, min(due_at - at) AS wait, max(due_at - at) AS most FROM journeys.customer_journeys GROUP BY 1"
    versions = rows(db, f"{waits} ORDER BY 1")
    sys.stdout.write(f"versions: { {row.version: row.n for row in versions} }\n")
    assert len(versions) > 3
    # the wait is read at run time, from the version's own row
    assert all(row.wait == row.most == timedelta(minutes=row.version) for row in versions)
    assert tick(db, DUE).ended == written
    assert one(db, "SELECT count(DISTINCT journey_id) FROM journeys.messages") == written
    assert holds_together(db)


RACE = """
workflow: race
triggers:
  - event: signup
steps:
  - id: answer
    wait: {for: reply, timeout: 2 hours}
    next:
      - when: arrived
        to: thank
      - else: remind
  - id: thank
    wait: 3 days
    next: end
  - id: remind
    wait: 3 days
    next: end
"""


def test_replies_race_with_their_timeouts(db_url: str, db: sa.Engine, tmp_path: Path) -> None:
    """All are due, and all reply in time, while eight workers run: a journey goes one way, once, and nobody is woken behind the wait.

    Without the shards' lock a wake that waited for an advance finds its journey at another step, and sends it on from there.
    """
    World(db, tmp_path).deploy(RACE)
    names = [f"c{n}" for n in range(400)]
    put(db, *(event(name, "signup") for name in names))
    tick(db, START)
    engine = make_engine(db_url)

    def reply(some: list[str]) -> None:
        for name in some:
            put(engine, event(name, "reply", DUE - timedelta(minutes=1)))

    workers = [{"now": DUE.isoformat(), "batch_size": 64, "linger": 1.0} for _ in range(8)]
    with crew(db_url, *workers) as running, ThreadPoolExecutor(4) as pool:
        list(pool.map(reply, [names[n::4] for n in range(4)]))
        reports = running.reports()
    engine.dispose()
    assert sum(report["routed"] for report in reports) + tick(db, DUE).routed == 400
    assert one(db, "SELECT count(*) FROM journeys.journey_transitions WHERE from_step = 'answer'") == 400
    ways = rows(db, "SELECT to_step, why, count(*) AS n FROM journeys.journey_transitions WHERE from_step = 'answer' GROUP BY 1, 2")
    sys.stdout.write(f"{[tuple(way) for way in ways]}\n")
    assert {(way.to_step, way.why) for way in ways} <= {("thank", "event"), ("remind", "timeout")}
    astray = """
        SELECT count(*) FROM journeys.customer_journeys
         WHERE status = 'ended' OR arrived_seq IS NOT NULL OR due_at <> at + interval '3 days' OR step_key NOT IN ('thank', 'remind')"""
    assert one(db, astray) == 0
    assert holds_together(db)


def test_nothing_is_lost_while_apps_write(db_url: str, db: sa.Engine, tmp_path: Path) -> None:
    """Eight writers with long and short transactions, some rolled back, some rows sent twice; commits come out of order."""
    chance = seeded()
    World(db, tmp_path).deploy(PING)
    engine = make_engine(db_url, pool_size=8)
    seeds = [chance.randrange(10**9) for _ in range(8)]

    def write(number: int) -> tuple[set[str], set[str], int]:
        """(committed, rolled back, committed rows without an id)"""
        mine = random.Random(seeds[number])
        committed: set[str] = set()
        undone: set[str] = set()
        nameless = 0
        for turn in range(30):
            ids = [f"{number}-{turn}-{n}" for n in range(mine.randrange(1, 8))]
            again = mine.sample(sorted(committed), min(len(committed), mine.randrange(3)))
            with engine.connect() as conn:
                for source_event_id in [*ids, *again, None]:
                    conn.exec_driver_sql(
                        "INSERT INTO journeys.event_inbox (source_event_id, customer_id, type) VALUES (%(id)s, %(customer)s, 'ping')",
                        {"id": source_event_id, "customer": f"c{mine.randrange(40)}"},
                    )
                    time.sleep(mine.choice([0, 0, 0.001, 0.01]))
                if mine.random() < 0.25:
                    conn.rollback()
                    undone.update(ids)
                else:
                    conn.commit()
                    committed.update(ids)
                    nameless += 1
        return committed, undone, nameless

    with crew(db_url, *({"batch_size": 20, "linger": 1.0} for _ in range(2))) as running, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(write, range(8)))
        reports = running.reports()
    engine.dispose()
    committed = set.union(*(result[0] for result in results))
    nameless = sum(result[2] for result in results)
    late = tick(db, one(db, "SELECT journeys.clock_now()"))
    assert sum(report["rows_in"] for report in reports) > late.rows_in
    taken = rows(db, "SELECT source_event_id, count(*) AS n FROM journeys.customer_events GROUP BY 1")
    times: dict[str | None, int] = {**dict.fromkeys(committed, 1), None: nameless}
    assert {row.source_event_id: row.n for row in taken} == times
    assert one(db, "SELECT count(*) FROM journeys.event_inbox") == 0
    assert one(db, "SELECT sum((attributes ->> 'pings')::integer) FROM journeys.customer_profiles") == len(committed) + nameless
    assert holds_together(db)
