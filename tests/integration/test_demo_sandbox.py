"""The channel sandbox: real SMTP and HTTP on loopback, kept once, failing on demand, shown in pages that ask for nothing outside."""

from __future__ import annotations

import json
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass
class Sandbox:
    folder: Path
    http: httpx.Client
    smtp_port: int

    def accepted(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "accepted.jsonl").read_text().splitlines()]

    def fail(self, channel: str, mode: str, **more: Any) -> None:
        assert self.http.post("/control", json={"channel": channel, "mode": mode, **more}).status_code == 200

    def mail(self, to: str, key: str = "k1", **more: str) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "Shop <shop@example.org>", to, more.get("subject", "Hello")
        message["Message-ID"] = f"<{key}@example.org>"
        message.set_content(more.get("text", "Hello there"))
        message.add_alternative(more.get("html", "<p>Hello <b>there</b></p>"), subtype="html")
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=3) as client:
            client.send_message(message)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with started(tmp_path / "sandbox") as running:
        yield running


class started:
    """A sandbox process with free ports, stopped (and its exit checked) at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.smtp_port = folder, free_port(), free_port()

    def __enter__(self) -> Sandbox:
        command = [sys.executable, "-m", "journey_pipelines.demo.sandbox", "--folder", str(self.folder)]
        self.process = subprocess.Popen([*command, "--port", str(self.port), "--smtp-port", str(self.smtp_port)])
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=3)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.http.get("/healthz").raise_for_status()
                return Sandbox(self.folder, self.http, self.smtp_port)
            except httpx.TransportError:
                assert self.process.poll() is None and time.monotonic() < deadline, "the sandbox did not start"
                time.sleep(0.05)

    def __exit__(self, *error: object) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(10)


def test_mail_is_kept_and_shown(sandbox: Sandbox) -> None:
    sandbox.mail("zoë.o'neil@example.org", key="abc", subject="Grüße, Zoë ✨", html="<p>Hallo <b>Zoë</b></p>")
    (message,) = sandbox.http.get("/api/messages").json()["messages"]
    assert (message["channel"], message["recipient"], message["key"]) == ("email", "zoë.o'neil@example.org", "abc")
    page = sandbox.http.get(f"/messages/{message['number']}")
    assert "Grüße, Zoë ✨" in page.text
    assert 'sandbox="allow-same-origin"' in page.text and "&lt;p&gt;Hallo &lt;b&gt;Zoë" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert sandbox.http.get("/", params={"q": "O'NEIL"}).text.count("<li data-number") == 1
    assert sandbox.http.get("/", params={"q": "nobody%"}).text.count("<li data-number") == 0
    assert sandbox.http.get("/messages/99").status_code == 404


def test_a_key_is_accepted_once_over_http_also_after_a_restart(tmp_path: Path) -> None:
    body, headers = {"to": "+15551234567", "text": "hi"}, {"Idempotency-Key": "k-sms"}
    with started(tmp_path / "s") as first:
        answers = [first.http.post("/sms", json=body, headers=headers) for _ in range(3)]
        assert {(a.status_code, a.json()["id"]) for a in answers} == {(202, "sms-1")}
    with started(tmp_path / "s") as second:
        assert second.http.post("/sms", json=body, headers=headers).json()["id"] == "sms-1"
        assert second.http.post("/push", json={"to": "token", "title": "T", "text": "t"}).json()["id"] == "push-2"
        assert second.http.get("/api/status").json()["accepted"] == {"email": 0, "sms": 1, "push": 1}
        assert [line["kind"] for line in second.accepted()] == ["accepted", "repeat", "repeat", "repeat", "accepted"]


def test_smtp_accepts_a_repeat_again_so_that_a_duplicate_is_on_record(sandbox: Sandbox) -> None:
    sandbox.mail("a@example.org", key="same")
    sandbox.mail("a@example.org", key="same")
    assert [line["key"] for line in sandbox.accepted()] == ["same", "same"]


@pytest.mark.parametrize(("mode", "code"), [("421", 421), ("451", 451), ("550", 550)])
def test_smtp_refusals_keep_nothing_and_end_after_their_count(sandbox: Sandbox, mode: str, code: int) -> None:
    sandbox.fail("email", mode, count=1)
    with pytest.raises(smtplib.SMTPException) as refused:
        sandbox.mail("a@example.org")
    assert str(code) in str(refused.value)
    assert sandbox.accepted() == []
    sandbox.mail("a@example.org")
    assert len(sandbox.accepted()) == 1


def test_nobody_lives_at_gone(sandbox: Sandbox) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        sandbox.mail("gone.ada@example.org")
    assert sandbox.accepted() == []


@pytest.mark.parametrize("mode", ["drop_after_dot", "reset", "timeout_after_accept"])
def test_smtp_that_keeps_and_does_not_say_so(sandbox: Sandbox, mode: str) -> None:
    sandbox.fail("email", mode, count=1, seconds=30)
    with pytest.raises((smtplib.SMTPServerDisconnected, TimeoutError)):
        sandbox.mail("a@example.org")
    assert [line["answered"] for line in sandbox.accepted()] == ["silence" if mode.startswith("timeout") else "dropped"]


def test_smtp_refuses_connections(sandbox: Sandbox) -> None:
    sandbox.fail("email", "refuse", count=2)
    for _ in range(2):
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            sandbox.mail("a@example.org")
    sandbox.mail("a@example.org")
    assert len(sandbox.accepted()) == 1


def test_http_faults(sandbox: Sandbox) -> None:
    def send(key: str) -> httpx.Response:
        return sandbox.http.post("/sms", json={"to": "+1555", "text": "hi"}, headers={"Idempotency-Key": key})

    sandbox.fail("sms", "429", count=1, retry_after="soon")
    answer = send("a")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "soon")
    sandbox.fail("sms", "500", count=1)
    assert send("a").status_code == 500
    sandbox.fail("sms", "refuse", count=1)
    with pytest.raises(httpx.TransportError):
        send("a")
    assert sandbox.accepted() == []
    sandbox.fail("sms", "reset", count=1)
    with pytest.raises(httpx.TransportError):
        send("a")
    assert send("a").json()["id"] == "sms-1"
    sandbox.fail("sms", "timeout_after_accept", count=1, seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        send("b")
    assert send("b").json()["id"] == "sms-2"
    assert [line["key"] for line in sandbox.accepted() if line["kind"] == "accepted"] == ["a", "b"]


def test_control_says_what_it_wants(sandbox: Sandbox) -> None:
    answer = sandbox.http.post("/control", json={"channel": "sms", "mode": "451"})
    assert answer.status_code == 400 and "expected one of ok, 429, 500" in answer.json()["error"]
    assert sandbox.http.post("/control", json={"channel": "fax"}).status_code == 400
    assert sandbox.http.post("/control", json=[1]).status_code == 400
    assert sandbox.http.post("/control", json={"channel": "sms", "mode": "429", "count": "x"}).status_code == 400
    form = sandbox.http.post("/control", data={"channel": "email", "mode": "550", "count": ""})
    assert form.status_code == 303
    assert sandbox.http.get("/api/status").json()["faults"]["email"]["mode"] == "550"
    assert sandbox.http.post("/sms", content=b"not json").status_code == 400
    assert sandbox.http.post("/sms", json={"text": "nobody"}).status_code == 400


def test_a_line_cut_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    line = json.dumps({"kind": "accepted", "number": 4, "key": "old", "channel": "sms", "to": "+1", "at": 0})
    (folder / "accepted.jsonl").write_text(line + "\n" + line[:20])
    with started(folder) as running:
        assert running.http.post("/sms", json={"to": "+2"}, headers={"Idempotency-Key": "old"}).json()["id"] == "sms-4"
        assert running.http.post("/sms", json={"to": "+2"}, headers={"Idempotency-Key": "new"}).json()["id"] == "sms-5"
