"""Hot tables have no foreign keys (they cost a third); after a busy time everything still belongs to something, and all counters add up."""

from __future__ import annotations

import os
import random
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from engine_rows import event, execute, one, orphans, put, rows
from engine_world import START, World

CART = """
workflow: cart
triggers:
  - event: cart
    when: event.total > 5
entry:
  key: event.cart_id
  reentry: {{after: 2 days, of: exit, max: 3}}
  while_active: restart
hold_out: 20%
goal: {{event: purchase, match: cart_id, value: arrived.total, within: 7 days}}
exit:
  - goal
  - {{event: emptied, match: cart_id}}
steps:
  - id: remind
    wait: {wait}
    do:
      - send_email: {{template: hello, subject: Hello}}
      - update_profile: {{set: {{last_cart: "{{{{ event.cart_id }}}}"}}, increment: {{reminders: 1}}}}
      - add_to_segment: reminded
      - create_task: {{title: "Call about {{{{ event.cart_id }}}}", when: event.total > 50}}
  - id: settle
    wait: {{for: [cart, message.clicked], timeout: 1 day}}
    next:
      - when: arrived
        to: arms
      - else: late
  - id: arms
    next: {{split: {{late: 50, end: 50}}}}
  - id: late
    wait: {{for: purchase, timeout: 3 days, since: entry}}
    do:
      - send_sms: {{text: "Total {{{{ event.total }}}}"}}
      - remove_from_segment: reminded
"""
ALWAYS = """
workflow: thanks
triggers:
  - event: purchase
entry:
  reentry: always
exit:
  - event: unsubscribed
steps:
  - id: thank
    wait: {wait}
    do:
      - send_sms: {{text: Thank you}}
  - id: ask
    wait: 2 days
    do:
      - send_push: {{title: Well, text: How was it?}}
"""
TYPES = ["cart"] * 5 + ["purchase"] * 2 + ["emptied", "unsubscribed", "noted", "message.clicked"]


def test_after_a_busy_time_everything_adds_up(db: sa.Engine, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**6))
    sys.stdout.write(f"SEED={seed}\n")
    chance = random.Random(seed)
    world = World(db, tmp_path, batch_size=200)
    world.deploy(CART.format(wait="20 hours"), ALWAYS.format(wait="3 hours"))
    # one person's messages cannot be written, and nobody enters with that cart
    execute(
        db,
        "ALTER TABLE journeys.messages ADD CONSTRAINT no_c07 CHECK (customer_id <> 'c07')",
        """ALTER TABLE journeys.journey_context ADD CONSTRAINT no_dear_carts
           CHECK (event ->> 'cart_id' IS DISTINCT FROM 'k2' OR event ->> 'total' <> '66')""",
    )
    counted: dict[str, int] = {}
    for day in range(20):
        put(db, *(_event(db, chance, START + timedelta(days=day)) for _ in range(40)))
        if day % 7 == 6:
            world.deploy(CART.format(wait=f"{day + 10} hours"), ALWAYS.format(wait=f"{day} hours"), now=START + timedelta(days=day))
        if chance.random() < 0.7:
            report = world.tick(START + timedelta(days=day, hours=chance.randrange(24))).figures()
            counted = {name: counted.get(name, 0) + n for name, n in report.items()}
        if day % 10 == 5:
            assert _wrong(db) == {}
    report = world.tick(START + timedelta(days=60)).figures()
    counted = {name: counted.get(name, 0) + n for name, n in report.items()}

    assert _wrong(db) == {}
    # it was a busy time
    happens = ["entered", "restarted", "refreshed", "woken", "conversions", "taken_back", "failed", "advanced", "ended", "planned"]
    assert [name for name in happens if not counted[name]] == []
    reasons = rows(db, "SELECT DISTINCT exit_reason FROM journeys.customer_journeys WHERE status = 'ended' ORDER BY 1")
    assert [row.exit_reason for row in reasons] == ["completed", "error", "exit_rule", "goal"]
    assert one(db, "SELECT count(DISTINCT version) FROM journeys.customer_journeys WHERE workflow_id = 'cart'") > 2
    assert counted["conflicts"] == 0
    assert counted["entered"] == one(db, "SELECT count(*) FROM journeys.customer_journeys")
    assert counted["planned"] == one(db, "SELECT count(*) FROM journeys.messages")
    assert counted["routed"] == one(db, "SELECT count(*) FROM journeys.customer_events") == 800


def _event(db: sa.Engine, chance: random.Random, day: Any) -> dict[str, Any]:
    """In no order, some late, some with a profile, some about a message."""
    at = day + timedelta(minutes=chance.randrange(24 * 60))
    customer, type_ = f"c{chance.randrange(12):02}", chance.choice(TYPES)
    payload: dict[str, Any] = {"cart_id": f"k{chance.randrange(3)}", "total": chance.choice([1, 20, 66])}
    if type_ == "message.clicked":
        any_message = "SELECT customer_id, message_key FROM journeys.messages ORDER BY md5(id || :salt) LIMIT 1"
        message = rows(db, any_message, salt=str(chance.random()))
        if message:
            customer, payload = message[0].customer_id, {"message_key": message[0].message_key}
    received = at + timedelta(hours=chance.choice([0, 0, 0, 5, 100]))
    return event(customer, type_, at, payload, received_at=received, profile={"country": "DE"} if chance.random() < 0.1 else None)


def _wrong(db: sa.Engine) -> dict[str, int]:
    return {name: n for name, n in orphans(db).items() if n}
