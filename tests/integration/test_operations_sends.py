"""What holds and limits mean for sending: messages wait, nothing is lost, and the doorbell says the same as the gate."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import CONSENT, NOW, definition, deploy, everyone, message, person, plan, states
from servers.provider import Provider

from journey_pipelines.delivery.channels.configure import channels_from_settings
from journey_pipelines.delivery.dispatch import dispatch
from journey_pipelines.delivery.report import DispatchReport
from journey_pipelines.delivery.send_limits import full_workflows, read_send_limits
from journey_pipelines.engine.doorbells import messages_waiting
from journey_pipelines.engine.holds import hold
from journey_pipelines.engine.resume import release
from journey_pipelines.settings import Settings
from journey_pipelines.store import tables as t


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


def send(db: sa.Engine, provider: Provider, now: datetime = NOW, **options: Any) -> DispatchReport:
    channels = channels_from_settings(Settings(JOURNEYS_SMS_URL=provider.url + "/sms", JOURNEYS_PUSH_URL=provider.url + "/push"))
    try:
        return dispatch(db, channels, consent=CONSENT, linger=0, budget=30, now=now, **options)
    finally:
        for channel in channels.values():
            channel.close()


def rings(db: sa.Engine, now: datetime = NOW) -> bool:
    with db.connect() as conn:
        return messages_waiting(conn, now, ["sms", "push"])


@pytest.mark.parametrize("what", ["workflow", "dispatch"])
@pytest.mark.parametrize("workflow", ["hello", None])
def test_nothing_of_a_held_workflow_is_claimed_and_nothing_rings(
    db: sa.Engine, provider: Provider, what: Any, workflow: str | None
) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, ["ann", "bob"], "sms")
        hold(conn, workflow, why="odd", by="ann", now=NOW, what=what)
    assert not rings(db)
    assert send(db, provider).claimed == 0 and states(db) == {"planned": 2}
    with db.begin() as conn:
        assert [r.overdue for r in release(conn, workflow, by="ann", now=NOW, spread=timedelta(0)).resumed] == [2]
    assert rings(db)
    assert send(db, provider).accepted == 2


def test_a_hold_that_comes_between_rendering_and_the_claim_is_honoured(db: sa.Engine, provider: Provider) -> None:
    from journey_pipelines.delivery.claim import Ledger
    from journey_pipelines.delivery.policies import DeliveryPolicies
    from journey_pipelines.delivery.render import Renderer
    from journey_pipelines.delivery.timing import read_clock

    with db.begin() as conn:
        deploy(conn)
        everyone(conn, ["ann"], "sms")
    ledger, renderer = Ledger("sms", CONSENT, "test"), Renderer(DeliveryPolicies())
    with db.begin() as conn:
        ids, _ = ledger.due(conn, NOW, range(64))
        rows = ledger.details(conn, ids)
        renderer.load(conn, rows)
    prepared = renderer.prepare(rows, NOW)
    with db.begin() as conn:
        hold(conn, "hello", why="odd", by="ann", now=NOW)
    with db.begin() as conn:
        assert ledger.claim(conn, read_clock(conn, NOW), prepared).claimed == []
    assert states(db) == {"planned": 1}


def test_what_expires_while_held_is_not_sent_afterwards(db: sa.Engine, provider: Provider) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, ["ann"], "sms")
        everyone(conn, ["bob"], "sms", expires_at=NOW + timedelta(days=9))
        hold(conn, "hello", why="odd", by="ann", now=NOW)
    later = NOW + timedelta(days=3)
    with db.begin() as conn:
        release(conn, "hello", by="ann", now=later, spread=timedelta(0))
    send(db, provider, later)
    assert states(db) == {"suppressed": 1, "accepted": 1}


def limited(count: int, per: str, **more: Any) -> Any:
    return definition(limits={"sends": {"count": count, "per": per}}, **more)


def test_no_window_holds_more_sends_than_the_limit_and_none_is_lost(db: sa.Engine, provider: Provider) -> None:
    with db.begin() as conn:
        deploy(conn, limited(5, "1 minute"))
        everyone(conn, [f"p{i}" for i in range(12)], "sms")
        everyone(conn, [f"q{i}" for i in range(3)], "push")
    sent: list[tuple[datetime, int]] = []
    now = NOW
    while sum(n for _, n in sent) < 15 and now < NOW + timedelta(minutes=10):
        sent.append((now, send(db, provider, now).claimed))
        now += timedelta(seconds=7)
    assert states(db) == {"accepted": 15}
    for start, _ in sent:
        assert sum(n for at, n in sent if start <= at < start + timedelta(minutes=1)) <= 5
    assert now - NOW < timedelta(minutes=3)
    with db.connect() as conn:
        assert conn.execute(sa.text("SELECT count(*) FROM journeys.workflow_sends")).scalar_one() <= 10


def test_a_full_workflow_rings_no_bell_and_stands_in_nobodys_way(db: sa.Engine, provider: Provider) -> None:
    with db.begin() as conn:
        deploy(conn, limited(2, "1 hour"))
        everyone(conn, [f"p{i}" for i in range(20)], "sms", send_after=NOW - timedelta(hours=1))
        person(conn, "zoe")
        other = definition(id="other")
        deploy(conn, other)
        mine = plan(conn, "zoe", "sms", workflow_id="other", journey={"workflow_id": "other"})
    assert send(db, provider).accepted == 3
    assert message(db, mine).state == "accepted" and states(db)["planned"] == 18
    assert not rings(db)
    with db.connect() as conn:
        assert full_workflows(conn, NOW) == ["hello"] and "other" not in read_send_limits(conn)
    assert rings(db, NOW + timedelta(hours=2)), "and rings again when there is room"


def test_the_order_is_priority_and_time(db: sa.Engine, provider: Provider) -> None:
    with db.begin() as conn:
        deploy(conn, limited(3, "1 hour"))
        everyone(conn, ["late"], "sms", send_after=NOW - timedelta(minutes=1))
        everyone(conn, ["early", "earlier"], "sms", send_after=NOW - timedelta(minutes=9))
        everyone(conn, ["high"], "sms", priority=7, send_after=NOW)
    send(db, provider)
    with db.connect() as conn:
        left = conn.execute(sa.select(t.messages.c.customer_id).where(t.messages.c.state == "planned")).scalars().all()
    assert left == ["late"]


def test_eight_dispatchers_at_once_keep_the_limit(db: sa.Engine, provider: Provider) -> None:
    with db.begin() as conn:
        deploy(conn, limited(40, "1 day"))
        everyone(conn, [f"p{i}" for i in range(160)], "sms")
    reports: list[DispatchReport] = []
    threads = [threading.Thread(target=lambda: reports.append(send(db, provider, batch_size=7))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.claimed for report in reports) == 40
    assert states(db) == Counter(accepted=40, planned=120)


def test_who_met_others_in_all_shards_looks_again(db: sa.Engine, provider: Provider) -> None:
    """With no patience at all: what nobody could look at is not nothing."""
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, ["ann", "bob"], "sms")
    reports: list[DispatchReport] = []
    with db.connect() as other, other.begin():
        other.execute(sa.select(t.delivery_shards).with_for_update()).all()
        thread = threading.Thread(target=lambda: reports.append(send(db, provider)))
        thread.start()
        thread.join(timeout=1)
        assert thread.is_alive()
    thread.join()
    assert [report.accepted for report in reports] == [2]
