"""The four counters: each has a run that is good, and a run that would be wrong without anybody noticing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from journey_pipelines.demo import counters
from journey_pipelines.demo.counters import Counters, count
from journey_pipelines.demo.journal import Journal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Run:
    """A made-up run: journals in a folder and rows in the tables."""

    def __init__(self, connection: psycopg.Connection[Any], folder: Path) -> None:
        self.connection, self.folder = connection, folder
        self.clock = datetime.now(UTC)
        connection.execute("UPDATE journeys.engine_clock SET wall_at = clock_timestamp(), engine_at = clock_timestamp(), rate = 1")

    def journal(self, name: str, **line: Any) -> None:
        journal = Journal(self.folder / f"{name}.jsonl")
        journal.append(line)
        journal.close()

    def committed(self, identity: str, source: str = "shop", at: float | None = None, name: str = "shop/events") -> None:
        self.journal(name, source=source, id=identity, customer_id="c", type="t", at=time.time() if at is None else at)

    def history(self, identity: str, source: str = "shop") -> None:
        self.connection.execute(
            "INSERT INTO journeys.customer_events (seq, customer_id, shard, type, occurred_at, received_at, source, "
            "source_event_id, payload) "
            "SELECT coalesce(max(seq), 0) + 1, 'c', 0, 't', now(), now(), %s, %s, '{}' FROM journeys.customer_events",
            (source, identity),
        )

    def profile(self, consent: bool, began: datetime, committed: datetime | None = None, **more: Any) -> None:
        line = {"customer_id": "c", "email": "c@example.org", "sms": "+1555", "push": None, "at": time.time(), **more}
        self.journal("shop/profiles", consent=consent, began_at=began.isoformat(), committed_at=(committed or began).isoformat(), **line)

    def accepted(self, key: str, to: str = "c@example.org", channel: str = "email", kind: str = "accepted") -> None:
        self.journal("sandbox/accepted", kind=kind, number=1, key=key, channel=channel, to=to, at=time.time())

    def message(self, key: str, state: str = "accepted", claimed: datetime | None = NOON, category: str = "marketing", **more: Any) -> None:
        columns: dict[str, Any] = {
            "message_key": key, "journey_id": 1, "step_key": key, "action_id": "a", "visit": 1, "slot": "email", "workflow_id": "w",
            "workflow_version": 1, "customer_id": "c", "shard": 0, "channel": "email", "category": category, "planned_at": NOON,
            "created_at": NOON, "send_after": self.clock, "expires_at": self.clock, "state": state, "claimed_at": claimed,
            "updated_at": NOON, "accepted_at": NOON if state == "accepted" else None, "reason": "r" if state == "retry" else None, **more,
        }  # fmt: skip
        self.connection.execute(
            f"INSERT INTO journeys.messages ({', '.join(columns)}) VALUES ({', '.join('%s' for _ in columns)})", tuple(columns.values())
        )

    def journey(self, due: datetime, held: datetime | None = None) -> None:
        self.connection.execute(
            "INSERT INTO journeys.customer_journeys (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, "
            "due_at, due_seq, entered_at, entered_seq, held_at) VALUES ('w', 1, 'c', 0, 't', 's', 1, now(), 1, %s, 1, now(), 1, %s)",
            (due, held),
        )

    def count(self) -> Counters:
        return count(self.connection, self.folder)


@pytest.fixture
def run(db_url: str, tmp_path: Path) -> Iterator[Run]:
    with psycopg.connect(db_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield Run(connection, tmp_path)


def test_it_imports_no_engine_code() -> None:
    tree = ast.parse(Path(counters.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    outside = {name for name in imported if name and name.split(".")[0] not in sys.stdlib_module_names}
    assert outside == {"psycopg"}


def test_nothing_is_not_wrong(run: Run) -> None:
    assert run.count() == Counters()
    assert run.count().good


def test_lost(run: Run) -> None:
    for identity in ("in-history", "in-quarantine", "in-inbox", "nowhere"):
        run.committed(identity)
    run.committed("clicked", source="sandbox", name="sandbox/reactions")
    run.history("in-history")
    run.history("nowhere", source="app")
    run.connection.execute(
        "INSERT INTO journeys.event_quarantine (source, source_event_id, reason, quarantined_at) "
        "VALUES ('shop', 'in-quarantine', 'r', now())"
    )
    run.connection.execute(
        "INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type) VALUES ('shop', 'in-inbox', 'c', 't')"
    )
    found = run.count()
    assert (found.lost, found.waiting, found.committed) == (2, 1, 5)
    assert found.examples["lost"] == ["shop nowhere", "sandbox clicked"]
    assert not found.good


def test_an_order_just_written_is_not_lost_yet(run: Run) -> None:
    run.committed("young", source="shop_orders")
    run.committed("old", source="shop_orders", at=time.time() - 60)
    found = run.count()
    assert (found.lost, found.waiting) == (1, 1)
    assert found.examples["lost"] == ["shop_orders old"]


def test_duplicated(run: Run) -> None:
    run.profile(True, NOON - timedelta(days=1))
    for key in ("once", "twice", "repeated"):
        run.message(key)
        run.accepted(key)
    run.accepted("twice")
    run.accepted("repeated", kind="repeat")
    found = run.count()
    assert (found.duplicated, found.accepted, found.examples["duplicated"]) == (1, 4, ["twice accepted 2 times"])


def test_consent_is_judged_at_the_claim(run: Run) -> None:
    run.profile(True, NOON, NOON + timedelta(seconds=10))
    run.profile(False, NOON + timedelta(hours=1), NOON + timedelta(hours=1, seconds=10))
    for key, claimed in {
        "before": NOON - timedelta(seconds=1),
        "during the grant": NOON + timedelta(seconds=5),
        "between": NOON + timedelta(minutes=30),
        "during the withdrawal": NOON + timedelta(hours=1, seconds=5),
        "after": NOON + timedelta(hours=1, seconds=11),
    }.items():
        run.message(key, claimed=claimed)
        run.accepted(key)
    found = run.count()
    assert [line.partition(" to ")[0] for line in found.examples["against_consent"]] == ["before", "after"]
    assert (found.against_consent, found.in_flight) == (2, 3)


def test_consent_of_strangers_and_of_transactional_mail(run: Run) -> None:
    run.profile(False, NOON - timedelta(days=1))
    run.message("receipt", category="transactional")
    run.accepted("receipt")
    run.message("nobody")
    run.accepted("nobody", to="unknown@example.org")
    run.message("never claimed", claimed=None, state="failed", reason="r")
    run.accepted("never claimed")
    run.accepted("no row")
    found = run.count()
    assert (found.against_consent, found.strangers) == (2, 1)
    assert "nobody of the shop" in found.examples["against_consent"][0]


def test_a_yes_that_nobody_said(run: Run) -> None:
    run.message("phantom")
    run.message("hook", channel="webhook", slot="webhook")
    assert run.count().phantoms == 1


def test_stuck(run: Run) -> None:
    late, soon = run.clock - timedelta(minutes=6), run.clock - timedelta(minutes=4)
    run.journey(late)
    run.journey(soon)
    run.journey(late, held=run.clock)
    run.message("late", state="planned", send_after=late)
    run.message("tried", state="retry", send_after=late)
    run.message("soon", state="planned", send_after=soon)
    run.message("abandoned", state="sending", lease_until=late)
    run.connection.execute("INSERT INTO journeys.event_inbox (customer_id, type, occurred_at) VALUES ('c', 't', %s)", (late,))
    assert run.count().stuck == 4
    run.connection.execute("UPDATE journeys.event_inbox SET received_at = %s", (late,))
    assert run.count().stuck == 5


def test_as_a_script(run: Run, db_url: str) -> None:
    def script(url: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(Path(counters.__file__)), "--folder", str(run.folder), "--database-url", url, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    ended = script(db_url, "--json")
    assert ended.returncode == 0 and json.loads(ended.stdout)["lost"] == 0
    run.committed("nowhere")
    ended = script(db_url)
    assert ended.returncode == 1 and "lost: shop nowhere" in ended.stdout
    ended = script("postgresql://nobody@127.0.0.1:1/x")
    assert ended.returncode == 2 and ended.stderr.startswith("counters: ") and "Traceback" not in ended.stderr
