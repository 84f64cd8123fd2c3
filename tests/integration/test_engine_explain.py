"""Work grows with what is due: segments, dates, schedules, conditions for a batch of 100 beside 50,000 people.

`test_engine_plans` asks the same of the statements that move journeys, `test_engine_low_water` of queues that are full of dead rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import START, World
from plan_reading import LARGE, Reading, explain

from journey_pipelines.engine import session
from journey_pipelines.engine import statements as st
from journey_pipelines.engine.low_water import LowWater
from journey_pipelines.engine.plans import Plans, load_plans
from journey_pipelines.store.patience import BEGINNING

PEOPLE = 50_000
BATCH = 100
NOW = START + timedelta(days=1)
SHARDS = list(range(64))
_COMPLETE = "INSERT INTO batch_customers (customer_id, shard, horizon) SELECT customer_id, shard, 'infinity' FROM batch_events"

PROJECT = (
    """
workflow: members
triggers:
  - segment: gold
  - condition: customer.points > 40 and has_event('order', within='3 days')
  - id: renewal
    date: customer.renews
    offset: -7 days
    at: "09:00"
  - id: monday
    schedule: "0 9 * * mon"
    timezone: customer
    audience: customer.points > 1000000
goal: {when: customer.points > 90}
exit:
  - goal
  - {segment: lapsed, on: enter}
  - when: customer.points < 1 and event_count('order') > 3
max_age: 90 days
steps:
  - id: call
    wait: {date: customer.renews, offset: -1 day, at: "10:00", missing: night, past: continue}
    do:
      - emit_event: {type: renewing, payload: {points: "{{ customer.points }}"}}
      - update_profile: {increment: {points: 1}}
      - add_to_segment: called
    next: night
  - id: night
    wait: {after: 2 days, between: ["22:00", "06:00"], on: weekdays}
    do:
      - send_email: {template: hello, subject: Hello}
    next:
      - when: in_segment('gold') and customer.points > 3
        to: call
        max_visits: 3
        then: end
      - else: end
""",
    """
workflow: renewing
triggers:
  - event: renewing
steps:
  - id: answer
    wait: {for: [order, segment.left], timeout: 5 days, when: arrived.total > 3 or arrived.segment == 'gold'}
""",
)
SEGMENTS = {
    "gold": "when: customer.points > 20",
    "lapsed": "when: days_since(last_event('order')) > 30 and not in_segment('called')",
    "called": "static: true",
}
CROWD = """
INSERT INTO journeys.customer_profiles (customer_id, shard, zone, zone_source, attributes, updated_at)
SELECT 'c' || n, journeys.shard_of('c' || n), 'Europe/Berlin', 'profile', jsonb_build_object('points', n % 50, 'renews', '2026-06-01'), :at
  FROM generate_series(1, :people) n;

INSERT INTO journeys.customer_events (seq, customer_id, shard, type, occurred_at, received_at, source, payload)
SELECT n, 'c' || n, journeys.shard_of('c' || n), 'order', :at, :at, 'app', '{"total": 5}' FROM generate_series(1, :people) n;

INSERT INTO journeys.customer_event_stats SELECT customer_id, type, shard, occurred_at, occurred_at, seq, 1 FROM journeys.customer_events;

INSERT INTO journeys.segment_memberships (segment_id, customer_id, entered_at, source)
SELECT 'gold', 'c' || n, :at, 'condition' FROM generate_series(1, :people) n WHERE n % 50 > 20;

INSERT INTO journeys.customer_moments (customer_id, kind, ref, shard, at, known_at)
SELECT 'c' || n, k.kind, k.ref, journeys.shard_of('c' || n), :at + k.due, :at
  FROM generate_series(1, :people) n,
       (VALUES ('date', 'members.renewal', interval '60 days'), ('watch', '1', interval '30 days')) AS k (kind, ref, due);

INSERT INTO journeys.customer_journeys (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at,
       due_seq, entered_at, entered_seq)
SELECT s.workflow_id, 1, 'c' || n, journeys.shard_of('c' || n), 'x', s.step_key, s.step_uid, :at, n,
       CASE WHEN n <= 600 THEN :at + interval '23 hours' ELSE :at + interval '50 days' END, 9223372036854775807, :at, n
  FROM generate_series(1, :people) n
  JOIN (SELECT w.*, row_number() OVER (ORDER BY workflow_id, position) - 1 AS nth FROM journeys.workflow_steps w) s ON s.nth = n % 3
 ORDER BY n;

INSERT INTO journeys.journey_context
SELECT id, 'order', '{}' FROM journeys.customer_journeys;

INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard,
       channel, category, planned_at, created_at, send_after, expires_at, state, updated_at)
SELECT id::text, id, 'night', 'send_email', 1, 'email', workflow_id, 1, customer_id, shard, 'email', 'marketing', at, at, at,
       at + interval '90 days', 'planned', at
  FROM journeys.customer_journeys WHERE id % 4 = 0;

INSERT INTO journeys.journey_transitions (journey_id, workflow_id, version, customer_id, visit, to_step, at, at_seq, recorded_at, why)
SELECT id, workflow_id, 1, customer_id, 1, step_key, at, at_seq, at, 'entered' FROM journeys.customer_journeys;

INSERT INTO journeys.journey_admissions (workflow_id, customer_id, entry_key, entries, active, last_entered_at)
SELECT workflow_id, customer_id, entry_key, 1, 1, entered_at FROM journeys.customer_journeys
"""
#: a hundred people of whom a key changed, to whom a time came, who ordered, or who moved
ROUND = """
INSERT INTO batch_events (seq, customer_id, shard, type, occurred_at, received_at, payload, keys, depth, round)
SELECT 10000000 + n, 'c' || (n * 7), journeys.shard_of('c' || (n * 7)), :type, :at, :at,
       jsonb_build_object('total', 5, 'segment', 'gold', 'points', 1), ARRAY['points', 'renews'], 0, 1
  FROM generate_series(1, :batch) n
"""
QUEUES = """
INSERT INTO journeys.event_inbox (customer_id, type, occurred_at, received_at, payload)
SELECT 'c' || n, 'order', :at, :at, '{"total": 5}' FROM generate_series(1, 10000) n;

INSERT INTO journeys.customer_changes (customer_id, at, received_at, keys)
SELECT 'c' || n, :at, :at, '{points}' FROM generate_series(1, 10000) n;

INSERT INTO journeys.segment_changes (segment_id, customer_id, change, occurred_at)
SELECT 'called', 'c' || n, 'enter', :at FROM generate_series(1, 10000) n;

UPDATE journeys.customer_moments SET at = :at WHERE customer_id IN (SELECT 'c' || n FROM generate_series(1, 5000) n)
"""


@pytest.fixture
def crowd(db: sa.Engine, tmp_path: Path) -> sa.Engine:
    """50,000 people in segments and in journeys, with times at which something has to be looked at, nearly all later. Nothing analysed."""
    (tmp_path / "segments").mkdir()
    for name, text in SEGMENTS.items():
        (tmp_path / "segments" / f"{name}.yaml").write_text(f"segment: {name}\n{text}\n", encoding="utf-8")
    World(db, tmp_path).deploy(*PROJECT)
    with db.begin() as conn:
        for table in LARGE:
            conn.exec_driver_sql(f"ALTER TABLE journeys.{table} SET (autovacuum_enabled = false)")
        conn.exec_driver_sql("ALTER TABLE journeys.event_inbox ALTER COLUMN id RESTART WITH 1000000")
        for statement in CROWD.split(";"):
            conn.execute(sa.text(statement), {"at": START, "people": PEOPLE})
    return db


def run_time_values(plans: Plans) -> dict[str, Any]:
    return {
        "now": NOW, "due_from": BEGINNING, "shards": SHARDS, "row_limit": BATCH, "salt": plans.salt, "default_zone": "UTC", "round": 1,
        "low": 0, "high": 2**62, "versions": [1], "customers": None, "tick_at": NOW, "zones": ["Europe/Berlin"], "room": None,
        "room_buckets": [], "room_quotas": [],
    }  # fmt: skip


def of_a_round(plans: Plans, words: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name, SQL, parameters) of everything that these words bring to a round."""
    given = run_time_values(plans)
    for word in words:
        for kind in ("segment", "date", "follow"):
            for statement in plans.watches(kind, [word]):
                yield f"{statement.name} ({kind}, {word})", statement.sql, statement.bind(given)
        for kind in ("goal", "exit"):
            for _, rule, _ in plans.rules(kind, word):
                for statement in rule.statements:
                    yield f"{statement.name} ({word})", statement.sql, statement.bind(given)
        for uid in plans.wakes(word):
            wake = plans.wake(uid)
            yield f"{wake.name} ({word})", wake.sql, wake.bind(given)
        for _, entry in plans.entries(word):
            yield f"{entry.enter.name} ({word})", entry.enter.sql, entry.enter.bind(given)


def of_steps(plans: Plans) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What advances journeys: a hundred by scan, and as many by id."""
    given = run_time_values(plans)
    for uid in plans.places:
        step = plans.step(uid)
        assert step is not None
        yield step.scan.name, step.scan.sql, step.scan.bind(given)
        yield f"{step.chosen.name}, by id", step.chosen.sql, step.chosen.bind({**given, "ids": list(range(1, 3 * BATCH))})


TAKE: dict[str, Any] = {
    "now": NOW, "moments_until": NOW, **LowWater().values(SHARDS), "per_shard": 2, "per_customer": 8, "track": True, "absorb": False,
    "only": None, "inbox_mark": 0, "change_mark": 0, "moment_mark": 0,
}  # fmt: skip


def fixed(plans: Plans) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The statements that every batch runs, where something deployed has effects."""
    emitting = plans.emitting
    yield "take", st.fixed("take"), TAKE
    yield "rounds", st.fixed("rounds"), {"round": 1, "watched": ["points"]}
    yield "timers_first", st.fixed("timers_first"), {"round": 1, "emitting": emitting}
    yield "shards_left", st.fixed("shards_left"), {**LowWater().values(SHARDS), "now": NOW, "moments_until": NOW}
    first = {"now": NOW, "low": START, "shards": SHARDS, "row_limit": BATCH, "emitting": emitting}
    yield "due_first", st.fixed("due_first"), first


def absorbing(plans: Plans) -> tuple[str, str, dict[str, Any]]:
    """The take of what the batch itself wrote: nothing, beside the 10,000 rows that are there."""
    marks = {"inbox_mark": 10**7, "change_mark": 10**7, "moment_mark": 10**7}
    return "take, absorbing", st.fixed("take"), {**TAKE, **marks, "absorb": True, "per_shard": 0}


@contextmanager
def batch(db: sa.Engine, type_: str) -> Iterator[tuple[sa.Connection, Plans]]:
    """A transaction as a batch has it, with a hundred people's rows of one type in its round."""
    with db.connect() as conn:
        session.batch_table(conn)
        with conn.begin() as transaction:
            session.lock_shards(conn, SHARDS)
            conn.execute(sa.text(ROUND), {"at": NOW, "batch": BATCH, "type": type_})
            yield conn, load_plans(conn)
            transaction.rollback()


def too_much(found: Reading) -> bool:
    return bool(found.whole) or found.scanned > 15 * BATCH or found.buffers > 120 * BATCH


def both_statistics(db: sa.Engine) -> Iterator[str]:
    """Statistics never gathered (a fresh database, a bulk load), then good ones."""
    yield "never gathered"
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE")
    yield "good"


def test_a_round_reads_what_its_customers_need(crowd: sa.Engine) -> None:
    """Segments, dates that are followed and planned, rules that are conditions, entries, wakes: for a hundred customers."""
    wrong, seen = {}, set()
    for statistics in both_statistics(crowd):
        for type_ in ("customer.change", "order", "renewing", "segment.entered", "segment.left"):
            with batch(crowd, type_) as (conn, plans):
                words = [type_] if type_ != "customer.change" else ["key:points", "key:renews"]
                for name, sql, values in of_a_round(plans, words):
                    seen.add(name)
                    found = explain(conn, sql, values)
                    if too_much(found):
                        wrong[f"{name}, statistics {statistics}"] = str(found)
    assert len(seen) > 15
    assert wrong == {}


def test_queues_and_steps_read_a_batch(crowd: sa.Engine) -> None:
    """Each queue holds 10,000 rows that have come, of which the batch takes a hundred; of each step 200 journeys are due."""
    with crowd.begin() as conn:
        for statement in QUEUES.split(";"):
            conn.execute(sa.text(statement), {"at": NOW - timedelta(hours=1)})
    wrong, seen = {}, set()
    for statistics in both_statistics(crowd):
        with batch(crowd, "order") as (conn, plans):
            for name, sql, values in (*fixed(plans), *of_steps(plans), absorbing(plans)):
                seen.add(name)
                if name == "take, absorbing":
                    conn.exec_driver_sql(_COMPLETE)
                found = explain(conn, sql, values)
                if too_much(found):
                    wrong[f"{name}, statistics {statistics}"] = str(found)
    assert len(seen) > 10
    assert wrong == {}


def test_whose_shard_it_is_is_stored_with_the_statistics(crowd: sa.Engine) -> None:
    """A build, and an audience on events, read everybody's statistics once for some shards: they compute nobody's hash."""
    with batch(crowd, "order") as (conn, plans):
        build = plans.build("segment", "lapsed")
        assert build is not None and "customer_event_stats" in build.sql and "shard_of" not in build.sql
        some = explain(conn, build.sql, build.bind({**run_time_values(plans), "shards": SHARDS[:8]}))
    # all statistics, and of an eighth of the people their profile, their membership and their last order
    assert some.scanned < PEOPLE * 1.8


def test_a_schedule_reads_the_people_of_its_shards(crowd: sa.Engine) -> None:
    """An audience is asked of everybody of some shards, so those are read, once, and nobody else."""
    with batch(crowd, "order") as (conn, plans):
        tick = plans.tick("members", "monday")
        some = explain(conn, tick.sql, tick.bind({**run_time_values(plans), "shards": SHARDS[:8]}))
    eighth = PEOPLE / 8
    assert eighth / 2 < some.scanned < eighth * 2
