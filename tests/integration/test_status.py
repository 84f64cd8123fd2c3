"""`journeys status`: how things stand."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from journey_pipelines.audience.status import Refused, overdue, status
from journey_pipelines.cli import build_app
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.engine.tick import tick
from journey_pipelines.store.clock import set_clock
from journey_pipelines.store.tables import customer_journeys, deployment, event_inbox, event_quarantine, event_sources, messages
from journey_pipelines.workflows.load import load_project

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
HELLO = """
workflow: hello
triggers:
  - event: user_registered
exit:
  - event: closed
steps:
  - id: welcome
    do:
      - send_email: {template: welcome, subject: Hello}
  - id: later
    wait: 1 hour
    do:
      - send_sms: {text: Still there?}
    next: end
"""


@pytest.fixture
def shop(db: sa.Engine, tmp_path: Path) -> sa.Engine:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "workflow.yaml").write_text(HELLO)
    (tmp_path / "hello" / "welcome.html").write_text("<p>Hello</p>")
    deploy(db, load_project(tmp_path), T0)
    with db.begin() as conn:
        set_clock(conn, T0, 0.001)
    return db


def put(db: sa.Engine, event_type: str, *customers: str, at: datetime = T0, payload: Any = None) -> None:
    rows = [
        {"source": "shop", "customer_id": name, "type": event_type, "occurred_at": at, "received_at": at, "payload": payload or {}}
        for name in customers
    ]
    with db.begin() as conn:
        conn.execute(sa.insert(event_inbox), rows)


def test_an_empty_database(db: sa.Engine) -> None:
    with db.connect() as conn:
        found = status(conn, T0)
    assert (found.workflows, found.messages, found.refused, found.sources) == ([], [], [], [])
    assert (found.inbox.rows, found.inbox.oldest, found.inbox.lag_seconds, found.in_doubt) == (0, None, 0.0, 0)
    assert not overdue(found)


def test_workflows_by_step_and_by_the_reason_they_ended(shop: sa.Engine) -> None:
    put(shop, "user_registered", "ann", "bob", "cy")
    tick(shop, T0)
    put(shop, "closed", "cy", at=T0 + timedelta(minutes=1))
    tick(shop, T0 + timedelta(minutes=1))
    with shop.begin() as conn:
        conn.execute(sa.update(customer_journeys).where(customer_journeys.c.customer_id == "bob").values(held_at=T0))
        found = status(conn, T0 + timedelta(minutes=1))
    (hello,) = found.workflows
    assert (hello.workflow_id, hello.version, hello.status) == ("hello", 1, "active")
    assert (hello.active, hello.held, hello.waiting_at, hello.ended) == (2, 1, {"later": 2}, {"exit_rule": 1})
    assert {(count.channel, count.state): count.n for count in found.messages}[("email", "planned")] == 2
    assert found.outbox.rows == 2


def test_backlogs_their_age_and_what_lies_in_the_future(shop: sa.Engine) -> None:
    put(shop, "user_registered", "ann", "bob")
    put(shop, "user_registered", "cy", at=T0 + timedelta(days=1))
    now = T0 + timedelta(minutes=10)
    with shop.connect() as conn:
        found = status(conn, now)
    assert (found.inbox.rows, found.inbox.oldest, found.inbox.lag_seconds, found.later) == (2, T0, 600.0, 1)
    tick(shop, now)
    with shop.connect() as conn:
        later = status(conn, now + timedelta(hours=1))
    assert later.inbox.rows == 0
    assert later.due.rows == 2
    assert later.due.lag_seconds == 600.0
    assert overdue(later)


def test_messages_by_state_and_reason_with_doubt_in_sight(shop: sa.Engine) -> None:
    put(shop, "user_registered", "ann", "bob", "cy")
    tick(shop, T0)
    m = messages.c
    with shop.begin() as conn:
        conn.execute(sa.update(messages).where(m.customer_id == "ann").values(state="in_doubt", reason="read timed out"))
        conn.execute(sa.update(messages).where(m.customer_id == "bob").values(state="suppressed", reason="no consent"))
        found = status(conn, T0)
    counts = {(count.channel, count.state, count.reason): count.n for count in found.messages}
    assert counts == {("email", "in_doubt", "read timed out"): 1, ("email", "planned", None): 1, ("email", "suppressed", "no consent"): 1}
    assert found.in_doubt == 1


def test_quarantine_by_reason_and_sources(shop: sa.Engine) -> None:
    with shop.begin() as conn:
        for minute in range(3):
            conn.execute(
                sa.insert(event_quarantine).values(
                    source="shop", reason="payload is larger than 64 kB", quarantined_at=T0 + timedelta(minutes=minute)
                )
            )
        conn.execute(sa.update(deployment).values(sources={"orders": {}, "returns": {}}))
        conn.execute(sa.insert(event_sources).values(source_id="orders", cursor_value=T0, rows_read=7, rows_refused=1, last_polled_at=T0))
        found = status(conn, T0)
    assert found.refused == [Refused("shop", "payload is larger than 64 kB", 3, T0 + timedelta(minutes=2))]
    assert [(source.source_id, source.rows_read, source.last_error) for source in found.sources] == [
        ("orders", 7, None),
        ("returns", 0, "never read"),
    ]


def test_the_command(shop: sa.Engine, db_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", db_url)
    put(shop, "user_registered", "ann")
    tick(shop, T0)
    with shop.begin() as conn:
        conn.execute(sa.update(messages).values(state="in_doubt", reason="read timed out"))
    result = CliRunner().invoke(build_app(), ["status"])
    assert result.exit_code == 0, result.output
    for text in ("clock 2026-03-02 09:00", "hello", "later 1", "in_doubt", "read timed out", "in doubt: 1"):
        assert text in result.output
    document = json.loads(CliRunner().invoke(build_app(), ["status", "--json"]).output)
    assert document["in_doubt"] == 1
    assert document["workflows"][0]["waiting_at"] == {"later": 1}


def test_nothing_deployed_says_what_to_do(db_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", db_url)
    result = CliRunner().invoke(build_app(), ["status"])
    assert "no workflow is deployed: run `journeys deploy`" in result.output
