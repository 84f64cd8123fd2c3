"""What a webhook's receiver answered becomes an event of the journey: once, whatever it said, and only where somebody asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import CONSENT, NOW, definition, deploy, everyone, message
from servers.provider import Asked, Provider, Say

from journey_pipelines.delivery.answers import cut, document
from journey_pipelines.delivery.channels.webhook import WebhookChannel
from journey_pipelines.delivery.dispatch import dispatch
from journey_pipelines.engine.tick import tick
from journey_pipelines.store import tables as t


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


def says(status: int, body: str | bytes) -> Callable[[Asked], Say]:
    content = body.encode() if isinstance(body, str) else body
    return lambda asked: Say(status, body=content)


def call(db: sa.Engine, provider: Provider, *, named: bool = True, now: Any = NOW) -> int:
    """One planned webhook to the provider; returns the message's id."""
    action = {"kind": "webhook_call", "id": "score", "params": {"url": provider.url + "/score", "headers": {"X-Key": "top-secret"}}}
    with db.begin() as conn:
        deploy(conn, definition(actions=[action]))
        conn.execute(sa.update(t.deployment).values(named_events=["webhook.answered"] if named else []))
        [message_id] = everyone(conn, ["ann"], "webhook", action_id="score")
    send(db, provider, now)
    return message_id


def send(db: sa.Engine, provider: Provider, now: Any = NOW) -> None:
    channel = WebhookChannel([f"127.0.0.1:{provider.port}"])
    try:
        dispatch(db, {"webhook": channel}, consent=CONSENT, linger=0, budget=20, now=now)
    finally:
        channel.close()


def events(db: sa.Engine) -> list[Any]:
    with db.connect() as conn:
        return list(conn.execute(sa.select(t.event_inbox).order_by(t.event_inbox.c.id)))


def test_an_answer_is_an_event_of_its_journey(db: sa.Engine, provider: Provider) -> None:
    provider.answer = says(200, json.dumps({"id": "r1", "grade": "A", "points": 12.5}))
    message_id = call(db, provider)
    row = message(db, message_id)
    (event,) = events(db)
    assert (event.source, event.source_event_id, event.type, event.journey_id) == (
        "webhook",
        row.message_key,
        "webhook.answered",
        row.journey_id,
    )
    assert event.occurred_at == NOW and event.customer_id == "ann"
    assert event.payload == {
        "message_key": row.message_key, "step": "greet", "action": "score", "channel": "webhook", "workflow": "hello", "status": 200,
        "response": {"id": "r1", "grade": "A", "points": 12.5},
    }  # fmt: skip
    assert "top-secret" not in json.dumps(event.payload)
    send(db, provider)
    assert len(events(db)) == 1
    tick(db, NOW)
    with db.connect() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(t.event_quarantine)) == 0
        (kept,) = conn.execute(sa.select(t.customer_events)).all()
    assert (kept.journey_id, kept.payload["response"]["grade"]) == (row.journey_id, "A")


def test_nobody_asks_nothing_is_written(db: sa.Engine, provider: Provider) -> None:
    message_id = call(db, provider, named=False)
    assert message(db, message_id).state == "accepted" and events(db) == []


def test_a_refusal_for_good_is_an_answer_too(db: sa.Engine, provider: Provider) -> None:
    provider.answer = says(404, "no such lead")
    message_id = call(db, provider)
    assert message(db, message_id).state == "failed"
    assert [(e.payload["status"], e.payload["response"]) for e in events(db)] == [(404, "no such lead")]


def test_retries_answer_once_when_the_last_has_failed(db: sa.Engine, provider: Provider) -> None:
    provider.answer = says(503, json.dumps({"busy": True}))
    message_id = call(db, provider)
    assert message(db, message_id).state == "retry" and events(db) == []
    for hours in (3, 6, 9, 12):
        send(db, provider, NOW + timedelta(hours=hours))
    assert message(db, message_id).state == "dead"
    assert [(e.payload["status"], e.payload["response"]) for e in events(db)] == [(503, {"busy": True})]


WEIRD = {
    "nul": b'{"a": "\\u0000"}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "nan": b'{"a": NaN}',
    "not utf-8": b'{"a": "\xff"}',
    "truncated": b'{"a": [1, 2',
    "raw nul": b"a\x00b",
    "nothing": b"",
    "null": b"null",
    "giant": b'{"a": 1e99999}',
    "many digits": b"[" + b"9" * 5_000 + b"]",
    "deep": b"[" * 500 + b"]" * 500,
    "very deep": b"[" * 30_000 + b"]" * 30_000,
    "large": json.dumps(["x" * 60] * 1_023).encode(),
}


@pytest.mark.parametrize("body", WEIRD.values(), ids=WEIRD.keys())
def test_whatever_comes_back_is_stored_as_text_and_taken_in(db: sa.Engine, provider: Provider, body: bytes) -> None:
    provider.answer = says(200, body)
    message_id = call(db, provider)
    assert message(db, message_id).state == "accepted"
    (event,) = events(db)
    assert isinstance(event.payload["response"], str) and len(event.payload["response"].encode()) <= 4_096
    tick(db, NOW)
    with db.connect() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(t.event_quarantine)) == 0


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], "text", 5, True, {"ü": "😀", "n": 1.5e300}, json.loads("[" * 97 + "]" * 97)])
def test_json_stays_json(value: Any) -> None:
    assert document(json.dumps(value).encode()) is not None


def test_text_is_cut_between_letters() -> None:
    assert cut("ü".encode() * 3_000) == "ü" * 2_048
    assert document(b"<html>") is None and cut(b"<html>") == "<html>"


def test_the_deepest_answer_that_is_kept_as_json_gets_past_intake(db: sa.Engine, provider: Provider) -> None:
    provider.answer = says(200, "[" * 97 + "1" + "]" * 97)
    call(db, provider)
    assert isinstance(events(db)[0].payload["response"], list)
    tick(db, NOW)
    with db.connect() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(t.event_quarantine)) == 0
