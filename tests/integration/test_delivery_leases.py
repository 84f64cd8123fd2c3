"""Leases: measured in wall time at any rate of the clock, fenced by their epoch, and rescued when nobody comes back."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import CONSENT, NOW, deploy, everyone, message

from journey_pipelines.delivery.channel import Content, Outcome, Rendered
from journey_pipelines.delivery.claim import LEASE, Claimed, Ledger
from journey_pipelines.delivery.policies import DeliveryPolicies
from journey_pipelines.delivery.render import Renderer
from journey_pipelines.delivery.rescue import RescueReport, rescue
from journey_pipelines.delivery.settle import RetryPolicy, mark, settle
from journey_pipelines.delivery.timing import Reading, read_clock
from journey_pipelines.store import tables as t
from journey_pipelines.store.clock import set_clock

AFTER_LEASE = NOW + timedelta(seconds=LEASE + 1)


def claim(db: sa.Engine, now: datetime | None = NOW, channel: str = "email") -> list[Claimed]:
    ledger, renderer = Ledger(channel, CONSENT, "test"), Renderer(DeliveryPolicies())
    with db.begin() as conn:
        at = read_clock(conn, now).now
        due, _ = ledger.due(conn, at, range(64))
        rows = ledger.details(conn, due)
        renderer.load(conn, rows)
        return ledger.claim(conn, read_clock(conn, now), renderer.prepare(rows, at)).claimed


def answer(db: sa.Engine, claimed: Claimed, outcome: Outcome, now: datetime = NOW) -> set[int]:
    m = claimed.message
    assert m.content is not None
    rendered = Rendered(m.id, m.key, claimed.epoch, claimed.attempt, claimed.doubts, m.category, m.content, 0)
    with db.begin() as conn:
        clock = read_clock(conn, now)
        return mark(conn, now, [settle(rendered, outcome, "none", RetryPolicy(), clock, random.Random(1))])


def rescued(db: sa.Engine, now: datetime, idempotent: tuple[str, ...] = ()) -> RescueReport:
    with db.begin() as conn:
        return rescue(conn, read_clock(conn, now), idempotent=idempotent, attempts=3)


@pytest.fixture
def one(db: sa.Engine) -> int:
    with db.begin() as conn:
        deploy(conn)
        return everyone(conn, ["ann"])[0]


def test_a_lease_that_is_over_leaves_the_message_in_doubt(db: sa.Engine, one: int) -> None:
    [claimed] = claim(db)
    assert rescued(db, NOW + timedelta(seconds=LEASE - 1)) == RescueReport()
    assert rescued(db, AFTER_LEASE).in_doubt == 1
    row = message(db, one)
    assert (row.state, row.doubts, row.lease_epoch, row.lease_until) == ("in_doubt", 1, claimed.epoch, None)
    assert claim(db, AFTER_LEASE) == []


def test_with_a_key_it_is_sent_again_the_same(db: sa.Engine, one: int) -> None:
    [first] = claim(db)
    assert rescued(db, AFTER_LEASE, idempotent=("email",)).retried == 1
    with db.begin() as conn:
        conn.execute(sa.update(t.customer_profiles).values(first_name="Another"))
    [second] = claim(db, AFTER_LEASE)
    assert second.message.content == first.message.content and (second.epoch, second.attempt) == (2, 2)


def test_an_old_lease_changes_nothing(db: sa.Engine, one: int) -> None:
    [old] = claim(db)
    rescued(db, AFTER_LEASE, idempotent=("email",))
    [new] = claim(db, AFTER_LEASE)
    before = message(db, one)
    assert answer(db, old, Outcome("failed", "late and wrong"), AFTER_LEASE) == set()
    assert message(db, one) == before
    assert answer(db, new, Outcome("accepted"), AFTER_LEASE) == {one}
    assert answer(db, new, Outcome("failed", "twice"), AFTER_LEASE) == set()
    assert message(db, one).state == "accepted"


def test_a_late_answer_counts_while_nobody_claimed_again(db: sa.Engine, one: int) -> None:
    [claimed] = claim(db)
    rescued(db, AFTER_LEASE)
    assert answer(db, claimed, Outcome("accepted"), AFTER_LEASE) == {one}
    assert message(db, one).state == "accepted"


def test_a_fast_clock_ends_no_lease_early(db: sa.Engine, one: int) -> None:
    with db.begin() as conn:
        set_clock(conn, datetime.now(UTC) - timedelta(days=60), rate=600)
        conn.execute(sa.update(t.messages).values(send_after=NOW - timedelta(days=3650), expires_at=datetime.now(UTC) + timedelta(days=1)))
    claim(db, None)
    row = message(db, one)
    assert timedelta(hours=14.9) < row.lease_until - row.claimed_at < timedelta(hours=15.1), "90 s of wall time are 15 h at 600x"


def test_the_clock_stops_gaining_at_the_wall() -> None:
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    behind = wall - timedelta(minutes=10)
    reading = Reading(now=behind, wall=wall, wall_at=wall, engine_at=behind, rate=601)
    assert reading.after(0.5) == behind + timedelta(seconds=300.5)
    assert reading.after(1) == reading.wall + timedelta(seconds=1)
    assert reading.after(90) == wall + timedelta(seconds=90)
    old = Reading(now=wall, wall=wall, wall_at=wall - timedelta(days=3650), engine_at=wall - timedelta(days=3700), rate=100_000)
    assert old.after(90) == wall + timedelta(seconds=90), "no year past 9999 on the way"


def test_expired_leases_of_expired_messages_are_not_sent_again(db: sa.Engine, one: int) -> None:
    claim(db)
    late = NOW + timedelta(days=3)
    assert rescued(db, late, idempotent=("email",)) == RescueReport(in_doubt=1, dead=1)
    assert message(db, one).state == "dead"


def test_plans_of_the_hot_statements(db: sa.Engine) -> None:
    """Due messages come from the outbox index however many others there are, and a batch is found by id whatever the statistics say."""
    with db.begin() as conn:
        deploy(conn)
        [one] = everyone(conn, ["ann"])
        copied = [c.name for c in t.messages.c if c.name not in ("id", "message_key", "visit", "state", "accepted_at")]
        rows = sa.select(
            sa.func.md5(sa.cast(sa.column("n"), sa.Text)), sa.cast(sa.column("n"), sa.Integer), sa.literal("accepted"), sa.literal(NOW),
            *(t.messages.c[name] for name in copied),
        ).select_from(t.messages.join(sa.func.generate_series(2, 30_000).alias("n"), sa.true()))  # fmt: skip
        conn.execute(sa.insert(t.messages).from_select(["message_key", "visit", "state", "accepted_at", *copied], rows))
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.text("ANALYZE journeys.messages"))
        seen: list[str] = []

        def explain(conn: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            cursor.execute("EXPLAIN " + statement, parameters)
            seen.append("\n".join(row[0] for row in cursor.fetchall()))

        sa.event.listen(db, "before_cursor_execute", explain)
        try:
            Ledger("email", CONSENT, "test").due(conn, NOW, range(64))
            assert "messages_outbox" in seen[1] and "Seq Scan on messages" not in seen[1]
            clock = read_clock(conn, NOW)
            batch = [Rendered(one + n, "k", 1, 1, 0, "marketing", Content("a@example.org"), 0) for n in range(500)]
            settled = [settle(r, Outcome("accepted"), "none", RetryPolicy(), clock, random.Random(1)) for r in batch]
            mark(conn, NOW, settled)
            assert "messages_pkey" in seen[-1] and "Seq Scan on messages" not in seen[-1]
        finally:
            sa.event.remove(db, "before_cursor_execute", explain)
