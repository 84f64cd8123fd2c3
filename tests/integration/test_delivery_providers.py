"""Servers that refuse, stall, break off and lie: what each means for the ledger, and that nobody gets a message twice."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import CONSENT, NOW, deploy, everyone, message, person, plan, reasons, states
from servers.mail import DROP, SILENCE, MailServer, only
from servers.provider import RESET, Provider, Say
from servers.provider import SILENCE as HTTP_SILENCE

from journey_pipelines.delivery.channel import LEASE_RAN_OUT, Channel, Content, Idempotency, Rendered
from journey_pipelines.delivery.channels import smtp_dialogue
from journey_pipelines.delivery.channels.http import HttpChannel
from journey_pipelines.delivery.channels.smtp import SmtpChannel
from journey_pipelines.delivery.channels.smtp_dialogue import Server, Tls
from journey_pipelines.delivery.channels.webhook import WebhookChannel
from journey_pipelines.delivery.dispatch import dispatch
from journey_pipelines.delivery.report import DispatchReport
from journey_pipelines.delivery.timing import uptime
from journey_pipelines.store import tables as t

LATER = NOW + timedelta(hours=2)


def sms(provider: Provider, idempotency: Idempotency = "key", timeout: float = 1.0) -> HttpChannel:
    return HttpChannel("sms", provider.url + "/sms", idempotency=idempotency, timeout=timeout)


def mail(server: MailServer, tls: Tls = "offered", user: str | None = None, password: str | None = None) -> SmtpChannel:
    return SmtpChannel(Server("127.0.0.1", server.port, user, password, tls), "shop@example.org")


def run(db: sa.Engine, channel: Channel, now: Any = NOW, linger: float = 0) -> DispatchReport:
    try:
        return dispatch(db, {channel.name: channel}, consent=CONSENT, linger=linger, budget=20, now=now)
    finally:
        channel.close()


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-outs of SMTP as seconds that a test can wait."""
    monkeypatch.setattr(smtp_dialogue, "COMMAND_TIMEOUT", 1.0)
    monkeypatch.setattr(smtp_dialogue, "DOT_TIMEOUT", 1.0)


# HTTP


def test_429_pauses_the_channel_and_costs_no_attempt(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        ids = everyone(conn, [f"s{i}" for i in range(100)], "sms")
    with Provider() as provider:
        asked = count()
        provider.answer = lambda a: Say(429, {"Retry-After": "120"}) if next(asked) >= 40 else None
        first = run(db, sms(provider))
        assert len(provider.asked) < 100, "what is known of the provider is not asked again by each message"
        early = run(db, sms(provider), NOW + timedelta(seconds=100))
        provider.answer = lambda a: None
        second = run(db, sms(provider), NOW + timedelta(seconds=150))
    assert first.accepted == 40 and first.postponed == 60 and first.trouble["sms"].startswith("HTTP 429")
    assert early.claimed == 0, "the provider said how long"
    assert second.accepted == 60 and set(provider.keys().values()) == {1} and len(provider.keys()) == 100
    assert {message(db, i).attempts for i in ids} == {1}


def test_500_is_tried_again_then_dead(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        [one] = everyone(conn, ["ann"], "sms")
    with Provider() as provider:
        provider.answer = lambda a: Say(500, body=b"oops")
        waits = []
        for hour in range(5):
            at = NOW + timedelta(hours=hour)
            run(db, sms(provider), at)
            waits.append((message(db, one).send_after - at).total_seconds())
    row = message(db, one)
    assert (row.state, row.attempts, row.reason) == ("dead", 3, "HTTP 500: oops (attempt 3 of 3)")
    assert [a.key for a in provider.asked] == [row.message_key] * 3
    assert 30 <= waits[0] <= 66 and 60 <= waits[1] <= 132, "a minute, then two, less up to half, plus a little"


@pytest.mark.parametrize("say", [Say(accept=True, how=HTTP_SILENCE), Say(accept=True, how=RESET), Say(500, accept=True)])
def test_no_answer_after_accept_with_keys(db: sa.Engine, say: Say) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, ["ann", "bob"], "sms")
        conn.execute(sa.update(t.customer_profiles).values(first_name="Before"))
    with Provider() as provider:
        provider.answer = lambda a: say
        first = run(db, sms(provider))
        with db.begin() as conn:
            conn.execute(sa.update(t.customer_profiles).values(first_name="After"))
        provider.answer = lambda a: None
        second = run(db, sms(provider), LATER)
    assert (first.retried, second.accepted) == (2, 2)
    assert provider.keys() == {a.key: 1 for a in provider.asked} and len(provider.keys()) == 2, "each key accepted once"
    assert len(provider.asked) == 4 and len({a.body for a in provider.asked}) == 2, "the same bytes again"


@pytest.mark.parametrize("say", [Say(accept=True, how=HTTP_SILENCE), Say(accept=True, how=RESET), Say(500, accept=True)])
def test_no_answer_after_accept_without_keys(db: sa.Engine, say: Say) -> None:
    with db.begin() as conn:
        deploy(conn)
        person(conn, "ann")
        marketing, receipt = plan(conn, "ann", "sms"), plan(conn, "ann", "sms", category="transactional")
    with Provider(idempotent=False) as provider:
        provider.answer = lambda a: say
        first = run(db, sms(provider, "none"))
        assert (first.in_doubt, first.retried) == (1, 1)
        assert message(db, receipt).reason.endswith("transactional, once more")
        run(db, sms(provider, "none"), LATER)
        run(db, sms(provider, "none"), LATER + timedelta(hours=1))
        keys = provider.keys()
        assert keys[message(db, marketing).message_key] == 1, "marketing gives up"
        assert keys[message(db, receipt).message_key] == 2, "transactional is tried once more, not twice"
        assert states(db) == {"in_doubt": 2}
        last = run(db, sms(provider, "none"), NOW + timedelta(days=2))
    assert last.dead == 2 and message(db, marketing).reason.startswith("in doubt until it expired: ")


def test_an_event_about_a_message_in_doubt_proves_it(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        [one, two] = everyone(conn, ["ann", "bob"], "sms")
    with Provider(idempotent=False) as provider:
        provider.answer = lambda a: Say(accept=True, how=RESET)
        run(db, sms(provider, "none"))
        with db.begin() as conn:
            conn.execute(
                sa.insert(t.customer_events).values(
                    seq=1, customer_id="ann", shard=0, type="message.delivered", occurred_at=NOW + timedelta(minutes=1),
                    received_at=NOW, source="sandbox", payload={}, message_key=message(db, one).message_key,
                )
            )  # fmt: skip
        run(db, sms(provider, "none"), LATER)
    assert (message(db, one).state, message(db, one).accepted_at) == ("accepted", NOW + timedelta(minutes=1))
    assert message(db, two).state == "in_doubt"


def test_refused_credentials_open_the_breaker(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        ids = everyone(conn, [f"s{i}" for i in range(200)], "sms")
    with Provider() as provider:
        provider.answer = lambda a: Say(401, body=b"who are you")
        report = run(db, sms(provider))
        assert len(provider.asked) <= 32, "those in flight, and no more"
        provider.answer = lambda a: None
        again = run(db, sms(provider), LATER)
    assert report.trouble == {"sms": "credentials refused: HTTP 401: who are you"}
    assert report.postponed == 200 and again.accepted == 200
    assert {message(db, i).attempts for i in ids} == {1}


@pytest.mark.parametrize(
    ("status", "state"), [(400, "failed"), (404, "failed"), (422, "failed"), (302, "failed"), (409, "retry"), (503, "retry")]
)
def test_other_answers(db: sa.Engine, status: int, state: str) -> None:
    with db.begin() as conn:
        deploy(conn)
        [one] = everyone(conn, ["ann"], "sms")
    with Provider() as provider:
        provider.answer = lambda a: Say(status, {"Location": provider.url + "/elsewhere"})
        run(db, sms(provider, "none"))
        assert [a.path for a in provider.asked] == ["/sms"]
    assert (message(db, one).state, message(db, one).reason[:8]) == (state, f"HTTP {status}")


# SMTP


def test_refusals_before_and_after_the_dot(db: sa.Engine) -> None:
    answers = {"p0": "451 later", "p1": "550 never"}
    with db.begin() as conn:
        deploy(conn)
        ids = everyone(conn, [f"p{i}" for i in range(8)])
    with MailServer() as server:
        server.rcpt = lambda r: answers.get(r.split("@")[0])
        server.dot = lambda r: {"p2": "452 full", "p3": "554 spam"}.get(r.split("@")[0])
        run(db, mail(server))
        assert sorted(server.recipients()) == [f"p{i}@example.org" for i in range(4, 8)]
        server.rcpt = server.dot = lambda r: None
        run(db, mail(server), LATER)
    assert set(server.keys().values()) == {1} and len(server.kept) == 6
    assert [message(db, i).state for i in ids[:4]] == ["accepted", "failed", "accepted", "failed"]
    assert message(db, ids[3]).reason == "the final dot: 554 spam"


@pytest.mark.parametrize("end", [DROP, SILENCE])
def test_no_answer_after_the_dot_is_in_doubt_and_never_sent_again(db: sa.Engine, end: str, short_waits: None) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"p{i}" for i in range(5)])
    with MailServer() as server:
        server.dot = lambda r: end if r.startswith("p2@") else None
        report = run(db, mail(server))
        run(db, mail(server), LATER)
    assert (report.accepted, report.in_doubt) == (4, 1)
    assert set(server.keys().values()) == {1} and len(server.kept) == 5
    assert states(db) == {"accepted": 4, "in_doubt": 1}


def test_a_kept_connection_that_the_server_closed_is_replaced(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"p{i}" for i in range(7)])
    with MailServer() as server:
        mails = count(1)
        # as servers do that take so many mails a connection
        server.mail = lambda sender: {3: DROP, 6: "421 enough for now"}.get(next(mails))
        report = run(db, mail(server))
    assert report.accepted == 7 and set(server.keys().values()) == {1} and len(server.kept) == 7


def test_a_silent_rcpt_is_tried_again(db: sa.Engine, short_waits: None) -> None:
    with db.begin() as conn:
        deploy(conn)
        [one] = everyone(conn, ["ann"])
    with MailServer() as server:
        server.rcpt = lambda r: SILENCE
        run(db, mail(server))
        assert message(db, one).reason.startswith("connection lost before the final dot")
        server.rcpt = lambda r: None
        run(db, mail(server), LATER)
    assert server.recipients() == ["ann@example.org"]


def test_tls_required_and_not_offered_sends_nothing(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, ["ann"])
    with MailServer() as server:
        report = run(db, mail(server, "required"))
    assert server.kept == [] and "offers no STARTTLS" in report.trouble["email"]
    assert states(db) == {"retry": 1}


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_login(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"p{i}" for i in range(70)])
    with MailServer(authenticator=only("shop", "right"), auth_required=True, auth_require_tls=False) as server:
        nobody = run(db, mail(server))
        wrong = run(db, mail(server, "never", "shop", "wrong"), LATER)
        right = run(db, mail(server, "never", "shop", "right"), LATER + timedelta(hours=1))
    assert nobody.trouble["email"].startswith("credentials refused: 530")
    assert wrong.trouble["email"].startswith("credentials refused: 535") and "wrong" not in wrong.trouble["email"]
    assert wrong.accepted == 0 and right.accepted == 70


def test_two_dispatchers_share_the_work_and_repeat_nothing(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"p{i}" for i in range(400)])
    with MailServer() as server, ThreadPoolExecutor(3) as threads:
        # one that finds every shard taken for a moment must look again, or a few messages wait for the next dispatch
        reports = [f.result() for f in [threads.submit(run, db, mail(server), NOW, 1.0) for _ in range(3)]]
    assert sum(r.accepted for r in reports) == 400 and sum(r.fenced for r in reports) == 0
    assert Counter(server.keys().values()) == {1: 400}
    assert reasons(db) == {None: 400}


def test_a_lost_database_connection_turns_no_answer_into_a_doubt(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"p{i}" for i in range(5)])
    others = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    def cut(sender: str) -> None:
        with db.connect() as conn:
            conn.execute(others)

    with MailServer() as server:
        server.mail = cut
        report = run(db, mail(server))
    assert report.accepted == 5 and states(db) == {"accepted": 5} and len(server.kept) == 5


@pytest.mark.parametrize("channel", ["email", "sms", "webhook"])
def test_a_lease_that_ran_out_is_not_begun(channel: str) -> None:
    """A worker that was stopped and wakes up: somebody else may be sending these."""
    message = Rendered(1, "k", 1, 1, 0, "marketing", Content("a@example.org", text="x"), uptime() - 1)
    with Provider() as provider, MailServer() as server:
        way: Channel = {"email": mail(server), "sms": sms(provider), "webhook": WebhookChannel()}[channel]  # type: ignore[assignment]
        assert way.send([message]) == [LEASE_RAN_OUT]
        way.close()
        assert provider.asked == [] and server.kept == []
