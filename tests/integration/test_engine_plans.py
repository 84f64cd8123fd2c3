"""Work grows with what is due: the plans of the hot statements for a batch of 100 beside 200,000 parked journeys.

With statistics that were never gathered (a fresh database, a bulk load) as with good ones: a plan that reads a whole table once a batch
makes a tick slower with every customer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_rows import execute, one
from engine_world import START, World
from plan_reading import LARGE, explain

from journey_pipelines.engine import session
from journey_pipelines.engine import statements as st
from journey_pipelines.engine.low_water import LowWater
from journey_pipelines.engine.plans import Plans, load_plans
from journey_pipelines.store.patience import BEGINNING

PEOPLE = 200_000
BATCH = 100
NOW = START + timedelta(days=1)
TAKE: dict[str, Any] = {
    "per_shard": 2, "per_customer": 8, "absorb": False, "track": True, "inbox_mark": 0, "change_mark": 0, "moment_mark": 0,
    "only": None,
}  # fmt: skip

SHOP = """
workflow: shop
triggers:
  - event: cart
    when: event.total > 10 and (has_event('purchase', within='30 days') or event_count('cart') >= 0) and not in_segment('vip')
entry:
  when: customer.lifetime_value >= 0
  key: event.cart_id
  reentry: after exit
  while_active: restart
hold_out: 10%
goal: {event: purchase, match: cart_id, when: arrived.total > 0, value: arrived.total, within: 60 days}
exit:
  - goal
  - {event: emptied, match: cart_id}
steps:
  - id: remind
    wait: 30 days
    do:
      - send_email: {template: hello, subject: "Hello {{ customer.first_name | default('you') }}"}
      - update_profile: {set: {plan: "{{ event.plan | default('none') }}"}, increment: {carts: 1}}
      - add_to_segment: reminded
      - create_task: {title: "Call {{ customer.first_name | default('them') }}", when: event.total > 100}
  - id: settle
    wait: {for: [message.clicked, purchase], match: cart_id, when: arrived.total > 0 or clicked('remind'), timeout: 30 days}
    next:
      - when: arrived and customer.lifetime_value > 10
        to: arms
      - else: end
  - id: arms
    next:
      split: {reply: 60, end: 40}
  - id: reply
    wait: {for: reply, timeout: 20 days, since: entry}
"""


JOURNEYS = """
INSERT INTO journeys.customer_journeys (workflow_id, version, customer_id, shard, entry_key, trigger_id, step_key, step_uid, at, at_seq,
       due_at, due_seq, entered_at, entered_seq)
SELECT 'shop', 1, 'c' || n, journeys.shard_of('c' || n), 'k' || n, 'cart', s.step_key, s.step_uid, :at, n,
       CASE WHEN n <= 400 THEN :at + interval '23 hours' ELSE :at + interval '30 days' END, 9223372036854775807, :at, n
  FROM generate_series(1, :people) n JOIN journeys.workflow_steps s ON s.position = n % 4
 ORDER BY n
"""
THE_REST = """
INSERT INTO journeys.customer_profiles (customer_id, shard, email_address, first_name, lifetime_value, zone, zone_source, updated_at)
SELECT customer_id, shard, customer_id || '@example.org', 'N', id % 50, 'Europe/Berlin', 'profile', at FROM journeys.customer_journeys;

INSERT INTO journeys.journey_context
SELECT id, 'cart', jsonb_build_object('cart_id', entry_key, 'total', 20) FROM journeys.customer_journeys;

INSERT INTO journeys.journey_admissions (workflow_id, customer_id, entry_key, entries, active, last_entered_at)
SELECT workflow_id, customer_id, entry_key, 1, 1, entered_at FROM journeys.customer_journeys;

INSERT INTO journeys.customer_events (seq, customer_id, shard, type, occurred_at, received_at, source, payload)
SELECT id, customer_id, shard, 'cart', at, at, 'app', jsonb_build_object('cart_id', entry_key, 'total', 20) FROM journeys.customer_journeys;

INSERT INTO journeys.customer_event_stats SELECT customer_id, type, shard, occurred_at, occurred_at, seq, 1 FROM journeys.customer_events;

INSERT INTO journeys.event_keys SELECT journeys.event_key('app', seq::text), seq FROM journeys.customer_events;

INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard,
       channel, category, planned_at, created_at, send_after, expires_at, state, accepted_at, updated_at)
SELECT md5(id::text), id, 'remind', 'send_email', 1, 'email', 'shop', 1, customer_id, shard, 'email', 'marketing', at, at, at,
       at + interval '90 days', CASE WHEN id % 4 = 0 THEN 'planned' ELSE 'accepted' END, CASE WHEN id % 4 > 0 THEN at END, at
  FROM journeys.customer_journeys WHERE id % 2 = 0;

INSERT INTO journeys.split_assignments SELECT 'shop', 'arms', customer_id, 'reply', 1, at FROM journeys.customer_journeys WHERE id % 3 = 0;

INSERT INTO journeys.segment_memberships (segment_id, customer_id, entered_at, source)
SELECT 'loyal', customer_id, at, 'app' FROM journeys.customer_journeys WHERE id % 4 = 0
"""
INBOX = """
INSERT INTO journeys.event_inbox (source_event_id, customer_id, type, occurred_at, received_at, payload)
SELECT 'new' || n, 'c' || (n * 7), (ARRAY['cart', 'purchase', 'emptied', 'message.clicked', 'reply'])[1 + n % 5], :at, :at,
       jsonb_build_object('cart_id', 'k' || (n * 7), 'total', 20, 'message_key', md5((n * 7)::text))
  FROM generate_series(1, 20000) n
"""
ROUND = """
INSERT INTO batch_events (seq, customer_id, shard, type, occurred_at, received_at, payload, profile, journey_id, depth, round)
SELECT 10000000 + n, 'c' || (n * 7), journeys.shard_of('c' || (n * 7)),
       (ARRAY['cart', 'purchase', 'emptied', 'message.clicked', 'reply'])[1 + n % 5], :at, :at,
       jsonb_build_object('cart_id', 'k' || (n * 7), 'total', 20, 'message_key', md5((n * 7)::text)), '{"plan": "gold"}', n * 7, 0, 1
  FROM generate_series(1, :batch) n
"""


@pytest.fixture
def parked(db: sa.Engine, tmp_path: Path) -> sa.Engine:
    """200,000 journeys at four steps; 400 of them are due, the others in a month. Nothing is analysed, nor will it be behind our back."""
    World(db, tmp_path).deploy(SHOP)
    with db.begin() as conn:
        for table in LARGE:
            conn.exec_driver_sql(f"ALTER TABLE journeys.{table} SET (autovacuum_enabled = false)")
        conn.execute(sa.text(JOURNEYS), {"at": START, "people": PEOPLE})
    return db


def hot_statements(plans: Plans, shards: list[int], uids: dict[str, int]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name, SQL, parameters) of everything a batch runs, for a hundred rows."""
    given = {
        "now": NOW, "due_from": BEGINNING, "shards": shards, "row_limit": BATCH, "salt": plans.salt, "default_zone": plans.default_zone,
        "round": 1, "low": 0, "high": 2**62, "versions": [1],
    }  # fmt: skip
    fixed: dict[str, dict[str, Any]] = {
        "below": {**LowWater().values(shards), "due": START, "all": shards},
        "rounds": {"round": 1, "watched": ["plan"]}, "profiles": {"round": 1, "low": 0, "high": 2**62},
        "shards_left": {**LowWater().values(shards), "now": NOW, "moments_until": NOW}, "moves": {"round": 1, "low": 0, "high": 2**62},
        "timers_first": {"round": 1, "emitting": [uids["remind"]]},
        "due_first": {"now": NOW, "low": START, "shards": shards, "row_limit": BATCH, "emitting": []},
        "timers": {"round": 1, "after": False}, "waiting": {"round": 1, "types": ["purchase", "reply", "message.clicked"]},
        "message_facts": {"now": NOW}, "oldest": {"shard": 3, "now": NOW},
        "due_ids": {"step_uid": uids["remind"], "now": NOW, "due_from": START, "shards": shards, "row_limit": BATCH},
    }  # fmt: skip
    for name, values in fixed.items():
        yield name, st.fixed(name), values
    yield "timers, woken too", st.fixed("timers"), {"round": 1, "after": True}
    # two rows a shard: what a batch of 100 takes of 64
    yield "take", st.fixed("take"), TAKE | LowWater().values(shards) | {"now": NOW, "moments_until": NOW}
    yield "absorb", st.fixed("take"), TAKE | LowWater().values(shards) | {"now": NOW, "moments_until": NOW, "absorb": True}
    for event_type in ("cart", "purchase", "emptied"):
        for _, entry in plans.entries(event_type):
            for statement in (entry.refresh, entry.restart, entry.enter):
                if statement:
                    yield statement.name, statement.sql, statement.bind(given)
        for kind in ("goal", "exit"):
            for _, rule, _ in plans.rules(kind, event_type):
                for statement in rule.statements:
                    yield f"{statement.name} ({event_type})", statement.sql, statement.bind(given)
    for step_key, uid in uids.items():
        step = plans.step(uid)
        assert step is not None
        yield step.scan.name, step.scan.sql, step.scan.bind(given)
        # ids of this step, so that all of it is done for each
        ids = [n for n in range(400) if n % 4 == list(uids).index(step_key)]
        yield f"{step.chosen.name}, by id", step.chosen.sql, step.chosen.bind({**given, "ids": ids})
    for step_key in ("settle", "reply"):
        wake = plans.wake(uids[step_key])
        yield wake.name, wake.sql, wake.bind(given)
    arrive = plans.step(one_arrival(plans))
    assert arrive is not None
    yield arrive.scan.name, arrive.scan.sql, arrive.scan.bind(given)


def one_arrival(plans: Plans) -> int:
    return next(uid for uid, place in plans.places.items() if place.arriving)


def test_hot_statements_read_what_their_batch_needs(parked: sa.Engine) -> None:
    """A hundred people have an event in the round; the inbox holds 20,000 more, and each of the four steps has a hundred journeys due."""
    with parked.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE journeys.event_inbox ALTER COLUMN id RESTART WITH 1000000")
        for statement in THE_REST.split(";"):
            conn.execute(sa.text(statement))
        conn.execute(sa.text(INBOX), {"at": NOW - timedelta(hours=2)})
    wrong: dict[str, str] = {}
    seen = set()
    for statistics in ("never gathered", "good"):
        if statistics == "good":
            with parked.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                conn.exec_driver_sql("ANALYZE")
        with parked.connect() as conn:
            session.batch_table(conn)
            with conn.begin() as transaction:
                shards = session.lock_shards(conn, range(64))
                plans = load_plans(conn)
                keys = conn.exec_driver_sql("SELECT step_key, step_uid FROM journeys.workflow_steps ORDER BY position").all()
                uids = {row.step_key: row.step_uid for row in keys}
                conn.execute(sa.text(ROUND), {"at": NOW, "batch": BATCH})
                for name, sql, values in hot_statements(plans, shards, uids):
                    found = explain(conn, sql, values)
                    seen.add(name)
                    if found.whole or found.scanned > 10 * BATCH or found.buffers > 120 * BATCH:
                        wrong[f"{name}, statistics {statistics}"] = str(found)
                transaction.rollback()
    assert len(seen) > 25
    assert wrong == {}


def test_discovering_reads_what_is_due(parked: sa.Engine) -> None:
    with parked.connect() as conn:
        everything = {"shards": list(range(64)), "low": BEGINNING}
        due = explain(conn, st.fixed("discover"), {**everything, "now": NOW})
        assert (due.whole, due.scanned) == (set(), 400)
        nothing = explain(conn, st.fixed("discover"), {**everything, "now": START})
        assert (nothing.whole, nothing.scanned) == (set(), 0)
        assert nothing.buffers < 10


def test_the_low_water_mark_steps_over_what_is_dead(parked: sa.Engine) -> None:
    """50,000 journeys were due and went on: their index entries are still there until a vacuum comes by."""
    execute(parked, f"UPDATE journeys.customer_journeys SET due_at = '{START + timedelta(hours=1)}' WHERE id > 150000")
    execute(parked, f"UPDATE journeys.customer_journeys SET due_at = '{START + timedelta(days=40)}' WHERE id > 400")
    execute(parked, f"UPDATE journeys.customer_journeys SET due_at = '{START + timedelta(days=40)}' WHERE id <= 400")
    with parked.connect() as conn:
        given = {"shards": list(range(64)), "now": NOW}
        dear = explain(conn, st.fixed("discover"), {**given, "low": BEGINNING})
        conn.rollback()
    with parked.connect() as conn:
        cheap = explain(conn, st.fixed("discover"), {**given, "low": NOW - timedelta(hours=1)})
    assert dear.scanned == cheap.scanned == 0
    assert cheap.buffers < 20 and cheap.buffers <= dear.buffers
    assert one(parked, "SELECT count(*) FROM journeys.customer_journeys") == PEOPLE
