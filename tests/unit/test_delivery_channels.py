"""Channels without a network: what answers mean, what the guard lets through, and settings that cannot be used."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from journey_pipelines.delivery.channels.configure import ChannelConfigError, channels_from_settings
from journey_pipelines.delivery.channels.guard import Guard, Refused, is_public
from journey_pipelines.delivery.channels.http_answers import outcome_of_error, outcome_of_status, retry_after
from journey_pipelines.delivery.channels.smtp import SmtpChannel
from journey_pipelines.delivery.failpoints import FailpointError, failpoint
from journey_pipelines.settings import Settings

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("120", 120), (" 3 ", 3), ("0", 1), ("99999999999999999999", 3600), ("Mon, 02 Mar 2026 10:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 10:00:00 GMT", 1), ("Mon, 02 Mar 2036 10:00:00 GMT", 3600), ("soon", None),
        ("-5", None), ("1.5", None), ("", None),
        ("Mon, 99 Mar 2026 10:00:00 GMT", None), ("\u0665", None),
    ],
)  # fmt: skip
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "idempotency", "shared", "kind", "pauses"),
    [
        (400, "key", True, "failed", False), (401, "key", True, "unsent", True), (403, "none", True, "unsent", True),
        (401, "key", False, "retry", False), (404, "key", True, "failed", False), (408, "none", True, "retry", False),
        (409, "key", True, "retry", False), (425, "key", True, "retry", False), (429, "none", True, "postponed", True),
        (429, "key", False, "postponed", False), (500, "key", True, "retry", False), (500, "none", True, "unknown", False),
        (502, "none", True, "unknown", False), (503, "none", True, "retry", False), (301, "key", True, "failed", False),
    ],
)  # fmt: skip
def test_what_a_status_means(status: int, idempotency: Any, shared: bool, kind: str, pauses: bool) -> None:
    outcome = outcome_of_status(status, {}, "said", idempotency, shared=shared)
    assert (outcome.kind, outcome.pause is not None) == (kind, pauses)


def test_only_a_connection_that_never_stood_is_proof() -> None:
    key = aiohttp.client_reqrep.ConnectionKey("h", 1, False, True, None, None, None, None)
    refused = aiohttp.ClientConnectorError(key, ConnectionRefusedError(111, "refused"))
    assert outcome_of_error(refused, shared=True).kind == "postponed"
    assert outcome_of_error(refused, shared=False).kind == "retry"
    assert outcome_of_error(aiohttp.ConnectionTimeoutError(), shared=False).kind == "retry"
    for lost in (aiohttp.ServerDisconnectedError(), aiohttp.SocketTimeoutError(), TimeoutError(), aiohttp.ClientOSError(104, "reset")):
        assert outcome_of_error(lost, shared=True).kind == "unknown"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False), ("10.1.2.3", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False), ("::", False),
        ("fe80::1", False), ("fc00::1", False), ("::ffff:127.0.0.1", False), ("::ffff:93.184.216.34", True), ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False), ("64:ff9b::5db8:d822", True), ("64:ff9b:1::5db8:d822", False),
        ("::127.0.0.1", False), ("ff02::1", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "https://example.org:8443/", "https://127.0.0.1/", "https://[::1]/", "https://user:pw@example.org/",
        "ftp://example.org/", "file:///etc/passwd", "//example.org/", "", "https://", "https://10.0.0.1/x", "http://127.0.0.1:9/",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        Guard(["127.0.0.1:8", "[::1]:8"]).check(url)


def test_urls_that_are_allowed() -> None:
    guard = Guard(["127.0.0.1:8080", "[::1]:8", "Intern.example.org:80"])
    for url in ("https://example.org/x?y=1", "http://127.0.0.1:8080/x", "http://[::1]:8/", "http://intern.example.org/"):
        assert str(guard.check(url)) == url


def test_names_that_resolve_to_the_private_network_are_refused() -> None:
    with pytest.raises(Refused):
        asyncio.run(Guard().resolve("localhost", 443, socket.AF_INET))
    [found] = asyncio.run(Guard(["localhost:443"]).resolve("localhost", 443, socket.AF_INET))
    assert found["host"] == "127.0.0.1" and found["hostname"] == "localhost"


def configured(**values: str) -> Any:
    channels = channels_from_settings(Settings(**values))
    for channel in channels.values():
        channel.close()
    return channels


def test_channels_of_the_settings() -> None:
    assert sorted(configured()) == ["webhook"]
    channels = configured(
        JOURNEYS_SMTP_URL="smtps://me%40x:p%3Aw@mail.example.org#connections=9",
        JOURNEYS_SENDER="Shop <shop@example.org>",
        JOURNEYS_SMS_URL="https://sms.example.org/send#in_flight=5&idempotency=none",
    )
    mail, sms = channels["email"], channels["sms"]
    assert isinstance(mail, SmtpChannel) and (mail.server.host, mail.server.port, mail.connections) == ("mail.example.org", 465, 9)
    assert (mail.server.user, mail.server.password, mail.server.tls) == ("me@x", "p:w", "implicit")
    assert (sms.url, sms.capability.idempotency, sms.capability.batch) == ("https://sms.example.org/send", "none", 50)
    assert configured(JOURNEYS_SMTP_URL="smtp://u:p@h", JOURNEYS_SENDER="a@b")["email"].server.tls == "required", "no password in the clear"
    assert configured(JOURNEYS_SMTP_URL="smtp://h", JOURNEYS_SENDER="a@b")["email"].server.tls == "offered"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"JOURNEYS_SMTP_URL": "smtp://h"}, "JOURNEYS_SENDER: e-mail needs the address it comes from"),
        ({"JOURNEYS_SMTP_URL": "smtp://h", "JOURNEYS_SENDER": "Shop"}, "got 'Shop'"),
        ({"JOURNEYS_SMTP_URL": "smtp://h:99999", "JOURNEYS_SENDER": "a@b"}, "JOURNEYS_SMTP_URL: Port out of range"),
        (
            {"JOURNEYS_SMTP_URL": "smtp://h#speed=9", "JOURNEYS_SENDER": "a@b"},
            "unknown option 'speed' behind '#'; there is: connections, tls",
        ),
        ({"JOURNEYS_SMS_URL": "https://h#in_flight=many"}, "JOURNEYS_SMS_URL: option in_flight: expected"),
    ],
)
def test_settings_that_cannot_be_used(values: dict[str, str], said: str) -> None:
    with pytest.raises(ChannelConfigError, match=said):
        configured(**values)


def test_failpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    failpoint("after_claim")
    monkeypatch.setenv("JOURNEYS_FAILPOINTS", "before_mark=raise:2, in_mark=raise")
    failpoint("after_claim")
    failpoint("before_mark")
    with pytest.raises(FailpointError, match="before_mark"):
        failpoint("before_mark")
    failpoint("before_mark")
    for wrong in ("after_clam=kill", "after_claim=explode", "after_claim=kill:x", "after_claim"):
        monkeypatch.setenv("JOURNEYS_FAILPOINTS", wrong)
        with pytest.raises(FailpointError, match="expected NAME=kill"):
            failpoint("in_claim")
