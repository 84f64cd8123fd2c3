"""What arrives beside events of apps: events about our own messages, and static segments that apps move people in and out of."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_flows import GREETING
from engine_rows import event, execute, one, put, rows
from engine_world import START, World

from journey_pipelines.engine.tick import tick

LATER = START + timedelta(minutes=10)


@pytest.fixture
def hello(db: sa.Engine, tmp_path: Path) -> sa.Engine:
    World(db, tmp_path).deploy(GREETING)
    return db


# ---- events about messages


def about(key: str, type_: str, at: datetime = LATER, **payload: Any) -> dict[str, Any]:
    return event("ann", type_, at, {"message_key": key, **payload}, source="sandbox", source_event_id=f"{type_}-{key}")


@pytest.fixture
def message_key(hello: sa.Engine) -> str:
    """A message of ann's journey."""
    put(hello, event("ann", "signup"))
    tick(hello, START)
    return str(one(hello, "SELECT message_key FROM journeys.messages WHERE channel = 'email'"))


def test_message_events_say_which_journey_and_step(hello: sa.Engine, message_key: str) -> None:
    put(hello, about(message_key, "message.clicked", link="https://shop.example", machine=False), about(message_key, "message.opened"))
    tick(hello, LATER)
    facts_of = "SELECT type, message_key, journey_id, payload FROM journeys.customer_events"
    found = rows(hello, f"{facts_of} WHERE type LIKE 'message.%' ORDER BY seq")
    journey = one(hello, "SELECT id FROM journeys.customer_journeys")
    facts = {"message_key": message_key, "step": "greet", "action": "send_email", "channel": "email", "workflow": "hello"}
    assert found == [
        ("message.clicked", message_key, journey, {**facts, "link": "https://shop.example", "machine": False}),
        ("message.opened", message_key, journey, facts),
    ]
    assert one(hello, "SELECT exit_reason FROM journeys.customer_journeys") == "completed"  # the click ended the wait


def test_a_key_that_is_not_ours_changes_nothing(hello: sa.Engine, message_key: str) -> None:
    put(hello, about("0" * 32, "message.clicked"), event("bob", "message.clicked", LATER, {"message_key": message_key}))
    put(hello, event("ann", "message.clicked", LATER, {"message_key": [1]}), event("ann", "clicked", LATER, {"message_key": message_key}))
    assert tick(hello, LATER).routed == 4
    assert one(hello, "SELECT count(*) FROM journeys.customer_events WHERE journey_id IS NOT NULL OR payload ? 'step'") == 0
    assert one(hello, "SELECT status FROM journeys.customer_journeys") == "active"


def _in_doubt(db: sa.Engine) -> None:
    execute(db, "UPDATE journeys.messages SET state = 'in_doubt', reason = 'reset' WHERE channel = 'email'")


@pytest.mark.parametrize("type_", ["message.delivered", "message.opened", "message.clicked", "message.bounced"])
def test_a_message_in_doubt_is_accepted_when_somebody_reacts(hello: sa.Engine, message_key: str, type_: str) -> None:
    """Whether or not a workflow names the type."""
    _in_doubt(hello)
    put(hello, about(message_key, type_))
    tick(hello, LATER)
    row = rows(hello, "SELECT state, reason, accepted_at FROM journeys.messages WHERE channel = 'email'")[0]
    assert (row.state, row.reason, row.accepted_at) == ("accepted", None, LATER)
    assert one(hello, "SELECT state FROM journeys.messages WHERE channel = 'sms'") == "planned"


def test_only_proof_ends_a_doubt(hello: sa.Engine, message_key: str) -> None:
    _in_doubt(hello)
    put(hello, about(message_key, "message.failed"), event("bob", "message.delivered", LATER, {"message_key": message_key}))
    tick(hello, LATER)
    assert one(hello, "SELECT state FROM journeys.messages WHERE channel = 'email'") == "in_doubt"


# ---- static segments


def moves(db: sa.Engine, *changes: tuple[str, str, str, datetime]) -> None:
    with db.begin() as conn:
        for customer, segment, change, at in changes:
            conn.execute(
                sa.text("INSERT INTO journeys.segment_changes (customer_id, segment_id, change, occurred_at) VALUES (:c, :s, :x, :at)"),
                {"c": customer, "s": segment, "x": change, "at": at},
            )


def members(db: sa.Engine) -> list[tuple[str, str]]:
    found = rows(db, "SELECT customer_id, segment_id FROM journeys.segment_memberships WHERE left_at IS NULL ORDER BY 1, 2")
    return [tuple(row) for row in found]


def test_segment_changes_are_applied_in_the_order_written(hello: sa.Engine) -> None:
    moves(hello, ("ann", "vip", "enter", START), ("ann", "vip", "leave", START))
    moves(hello, ("bob", "vip", "leave", START), ("bob", "vip", "enter", START))
    moves(hello, ("ann", "lapsed", "enter", START), ("bob", "vip", "enter", START), ("cat", "vip", "enter", START + timedelta(hours=1)))
    assert tick(hello, START).segment_moves == 6
    assert members(hello) == [("ann", "lapsed"), ("bob", "vip")]
    moves(hello, ("bob", "vip", "leave", LATER), ("ann", "vip", "enter", LATER))
    assert tick(hello, LATER).segment_moves == 2
    assert members(hello) == [("ann", "lapsed"), ("ann", "vip")]
    assert rows(hello, "SELECT entered_at, left_at FROM journeys.segment_memberships WHERE customer_id = 'bob'") == [(START, LATER)]
    assert tick(hello, START + timedelta(hours=1)).segment_moves == 1
    assert one(hello, "SELECT count(*) FROM journeys.segment_changes") == 0


def test_segment_changes_keep_their_order_over_small_batches(hello: sa.Engine) -> None:
    changes = [("ann", f"s{n % 3}", "enter" if n % 2 else "leave", START) for n in range(60)]
    moves(hello, *changes)
    assert tick(hello, START, batch_size=24).segment_moves == 60
    last = {segment: change for _, segment, change, _ in changes}
    assert members(hello) == [("ann", segment) for segment in sorted(last) if last[segment] == "enter"]
