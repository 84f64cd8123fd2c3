"""Dispatch end to end: ledger rows in, real SMTP and HTTP servers on loopback, states and reasons out."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import CONSENT, NOW, definition, deploy, everyone, message, person, plan, reasons, states
from servers.mail import MailServer
from servers.provider import Provider

from journey_pipelines.delivery.channel import Channel
from journey_pipelines.delivery.channels.configure import channels_from_settings
from journey_pipelines.delivery.channels.webhook import WebhookChannel
from journey_pipelines.delivery.dispatch import dispatch
from journey_pipelines.delivery.report import DispatchReport
from journey_pipelines.settings import Settings
from journey_pipelines.store import tables as t


def send(db: sa.Engine, *servers: Any, now: Any = NOW, budget: float = 30, **options: Any) -> DispatchReport:
    """One dispatch through channels made from settings that name these servers."""
    values: dict[str, Any] = {"JOURNEYS_SENDER": "Shop <shop@example.org>"}
    for server in servers:
        if isinstance(server, MailServer):
            values["JOURNEYS_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        else:
            values |= {"JOURNEYS_SMS_URL": server.url + "/sms", "JOURNEYS_PUSH_URL": server.url + "/push", "JOURNEYS_SMS_KEY": "secret"}
    channels: dict[str, Channel] = channels_from_settings(Settings(**values))
    if "webhook_allow" in options:
        channels["webhook"] = WebhookChannel(options.pop("webhook_allow"))
    try:
        return dispatch(db, channels, consent=options.pop("consent", CONSENT), linger=0, budget=budget, now=now, **options)
    finally:
        for channel in channels.values():
            channel.close()


def test_mail_sms_and_push_leave_once(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"p{i}" for i in range(60)])
        everyone(conn, [f"s{i}" for i in range(60)], "sms")
        everyone(conn, ["ann"], "push")
    with MailServer() as server, Provider() as provider:
        report = send(db, server, provider)
        again = send(db, server, provider)
    assert (report.accepted, report.claimed, report.stopped_reason) == (121, 121, "idle")
    assert again.claimed == 0
    assert states(db) == {"accepted": 121}
    assert set(server.keys().values()) == {1} and len(server.kept) == 60
    assert set(provider.keys().values()) == {1} and len(provider.accepted) == 61
    assert server.connections <= 4, "connections are kept between batches"


def test_what_a_mail_looks_like(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        person(conn, "ann", first_name="Zoë\r\nBcc: all@example.org")
        sent = plan(conn, "ann", event={"item": "<b>Bücher</b>"})
    with MailServer() as server:
        send(db, server)
    [(recipient, mail)] = server.kept
    row = message(db, sent)
    assert recipient == "ann@example.org"
    assert mail["Subject"] == "Welcome, Zoë Bcc: all@example.org!" and mail["Bcc"] is None
    assert mail["From"] == "Shop <shop@example.org>" and mail["Date"].datetime == NOW
    assert mail["Message-ID"] == f"<{row.message_key}@example.org>"
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None and "Your &lt;b&gt;Bücher&lt;/b&gt; waits." in html.get_content()
    assert text is not None and "Your <b>Bücher</b> waits." in text.get_content()
    assert not mail.defects
    assert (row.state, row.attempts, row.reason, row.lease_until) == ("accepted", 1, None, None)
    assert row.accepted_at == row.claimed_at == NOW and row.provider == "SmtpChannel"
    with db.connect() as conn:
        assert row.address_hmac == conn.scalar(sa.select(sa.func.journeys.address_hmac("ANN@example.org")))


def test_what_a_provider_gets(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        person(conn, "ann", phone_number="+41 79 123 45 67")
        sms, push = plan(conn, "ann", "sms"), plan(conn, "ann", "push")
    with Provider() as provider:
        send(db, provider)
    asked = {a.path: a for a in provider.accepted}
    key = message(db, sms).message_key
    assert asked["/sms"].json() == {"to": "+41791234567", "text": "Your book waits, Ann", "message_key": key}
    assert asked["/sms"].key == key and asked["/sms"].headers["Authorization"] == "Bearer secret"
    assert asked["/push"].json()["title"] == "Hello" and asked["/push"].json()["to"] == "token-ann"
    assert message(db, push).provider_message_id in ("p-1", "p-2")


def test_a_webhook_is_rendered_signed_with_its_key_and_guarded(db: sa.Engine) -> None:
    with Provider() as provider, db.begin() as conn:
        call = {
            "url": f"{provider.url}/leads?c={{{{ customer.customer_id | default(message.message_key) | urlencode }}}}",
            "method": "PUT",
            "headers": {"X-Plan": "{{ customer.plan }}"},
            "body": {"points": "{{ customer.points }}", "who": "{{ customer.first_name }} Smith", "at": "{{ journey.entered_at }}"},
        }
        deploy(conn, definition(actions=[{"kind": "webhook_call", "id": "webhook_call", "params": call}]))
        person(conn, "ann", attributes={"points": 12.5, "plan": "gold"}, email_address=None, subscription_status=None)
        person(conn, "bob")
        sent, broken = plan(conn, "ann", "webhook"), plan(conn, "bob", "webhook")
        conn.commit()
        send(db, webhook_allow=[f"127.0.0.1:{provider.port}"])
        [asked] = provider.accepted
        with db.begin() as other:
            refused = plan(other, "ann", "webhook")
        send(db)
    assert asked.method == "PUT" and asked.headers["X-Plan"] == "gold"
    assert asked.headers["webhook-id"] == message(db, sent).message_key
    assert asked.json() == {"points": 12.5, "who": "Ann Smith", "at": "2026-03-02T10:00:00Z"}
    assert message(db, broken).reason.startswith("step greet: webhook_call: header X-Plan: line 1: customer.plan is missing")
    assert message(db, refused).state == "failed" and "JOURNEYS_WEBHOOK_ALLOW" in message(db, refused).reason


def test_one_bad_recipient_of_fifty(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        ids = everyone(conn, [f"p{i}" for i in range(50)])
    with MailServer() as server:
        server.rcpt = lambda recipient: "550 5.1.1 no such user" if recipient.startswith("p7@") else None
        report = send(db, server)
        again = send(db, server, now=NOW + timedelta(hours=2))
    assert (report.accepted, report.failed, again.claimed) == (49, 1, 0)
    assert set(server.keys().values()) == {1} and len(server.kept) == 49
    assert message(db, ids[7]).reason == "RCPT TO: 550 5.1.1 no such user"


def test_what_is_wrong_with_one_person_stops_nobody_else(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn, definition(templates={"hello.html": "<p>{{ customer.nickname }}</p>"}))
        person(conn, "ann", attributes={"nickname": "Annie"})
        person(conn, "bob")
        person(conn, "cy", email_address="not an address", attributes={"nickname": "C"})
        person(conn, "dee", email_address=None)
        ids = [plan(conn, name) for name in ("ann", "bob", "cy", "dee")]
        ids.append(plan(conn, "ann", workflow_version=9))
        ids.append(plan(conn, "ann", action_id="gone"))
        conn.execute(
            sa.insert(t.automation_workflows).values(
                id="hello", version=3, is_current=False, name="x", status="active", category="marketing", definition={"workflow": 1},
                content_hash="x", deployed_at=NOW,
            )
        )  # fmt: skip
        ids.append(plan(conn, "ann", workflow_version=3))
    with MailServer() as server:
        report = send(db, server)
    assert server.recipients() == ["ann@example.org"]
    assert message(db, ids[1]).reason == (
        "template hello.html: line 1: customer.nickname is missing and has no default: write {{ customer.nickname | default('...') }}"
    )
    assert message(db, ids[2]).reason.startswith("bad address: ")
    assert (message(db, ids[3]).state, message(db, ids[3]).reason) == ("suppressed", "no address")
    assert message(db, ids[4]).reason == "workflow hello version 9 is not deployed"
    assert message(db, ids[5]).reason == "workflow hello has no action gone in step greet"
    assert message(db, ids[6]).reason.startswith("workflow hello version 3 cannot be read: workflow")
    assert (report.accepted, report.failed, report.suppressed) == (1, 5, Counter({"no address": 1}))


@pytest.mark.parametrize(
    ("status", "state"),
    [("active", "accepted"), ("archived", "accepted"), ("completed", "accepted"), ("paused", "planned"), ("draft", "planned")],
)
def test_status_of_the_workflow(db: sa.Engine, status: str, state: str) -> None:
    with db.begin() as conn:
        deploy(conn, status=status)
        everyone(conn, ["ann"])
    with MailServer() as server:
        send(db, server)
        assert states(db) == {state: 1}
        send(db, server, now=NOW + timedelta(days=2))
    assert states(db) == {"accepted": 1} if state == "accepted" else reasons(db) == {"expired": 1}


def test_journeys_that_were_left_held_or_never_were(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        for name, journey in {
            "goal": {"status": "ended", "ended_at": NOW, "exit_reason": "goal"},
            "done": {"status": "ended", "ended_at": NOW, "exit_reason": "completed"},
            "held": {"held_at": NOW},
        }.items():
            person(conn, name)
            plan(conn, name, journey=journey)
        person(conn, "gone")
        lost = plan(conn, "gone")
        conn.execute(sa.delete(t.customer_journeys).where(t.customer_journeys.c.customer_id == "gone"))
    with MailServer() as server:
        report = send(db, server)
    assert server.recipients() == ["done@example.org"]
    assert report.suppressed == {"left the journey, goal": 1, "no journey": 1}
    assert message(db, lost).state == "suppressed" and states(db)["planned"] == 1


def test_channels_not_configured_wait_and_say_so(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, ["ann", "bob"])
        everyone(conn, ["cy"], "sms")
    with Provider() as provider:
        report = send(db, provider)
    assert report.not_configured == {"email": 2} and report.accepted == 1
    assert report.notes() == ["2 email messages wait: not configured: set JOURNEYS_SMTP_URL"]
    assert states(db) == {"planned": 2, "accepted": 1}


def test_a_dead_mail_server_delays_mail_only(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        ids = everyone(conn, [f"p{i}" for i in range(120)])
        everyone(conn, [f"s{i}" for i in range(20)], "sms")
    with MailServer() as dead:
        """Its port is closed again when it is used."""
    with Provider() as provider:
        report = send(db, dead, provider)
    first = message(db, ids[0])
    assert report.accepted == 20 and report.trouble["email"].startswith("connect: ")
    assert report.postponed == 50, "one batch found out, the others were not touched"
    assert (first.state, first.attempts) == ("retry", 0) and first.reason.startswith("connect: ")
    assert states(db) == {"retry": 50, "planned": 70, "accepted": 20}


def test_priority_first(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"low{i}" for i in range(9)], send_after=NOW - timedelta(hours=1))
        everyone(conn, ["high"], priority=5)
    with MailServer() as server:
        send(db, server, batch_size=1)
    assert server.recipients()[0] == "high@example.org"
