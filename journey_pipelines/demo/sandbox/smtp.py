"""The e-mail side: a real SMTP server that keeps every message, fails on demand, and knows nobody whose name begins with "gone."."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from typing import NoReturn
from weakref import WeakKeyDictionary

from aiosmtpd.smtp import SMTP, Envelope, Session

from journey_pipelines.demo.sandbox.faults import Fault, Faults
from journey_pipelines.demo.sandbox.mailbox import Mailbox, Message


class Handler:
    """aiosmtpd's hooks. A fault is taken once per message, at MAIL FROM, and carried out at its own point of the dialogue."""

    def __init__(self, mailbox: Mailbox, faults: Faults, accepted: Callable[[Message], None]) -> None:
        self._mailbox = mailbox
        self._faults = faults
        self._accepted = accepted
        self._chosen: WeakKeyDictionary[Envelope, Fault] = WeakKeyDictionary()

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        fault = self._faults.take("email")
        self._chosen[envelope] = fault
        if fault.mode == "421":
            asyncio.get_running_loop().call_later(0.05, _close, server)
            return "421 4.3.2 The sandbox was told to be busy, closing"
        if fault.mode == "refuse":
            _abort(server)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if self._chosen.get(envelope, Fault()).mode == "550":
            return "550 5.1.1 The sandbox was told to refuse this recipient"
        if address.lower().startswith("gone."):
            return "550 5.1.1 No such mailbox here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        fault = self._chosen.get(envelope, Fault())
        if fault.mode == "451":
            return "451 4.3.0 The sandbox was told to try later; nothing was kept"
        answered = {"timeout_after_accept": "silence", "drop_after_dot": "dropped", "reset": "dropped"}.get(fault.mode, "yes")
        numbers = []
        for recipient in envelope.rcpt_tos:
            kept, _ = self._mailbox.accept(parse(envelope, recipient), answered=answered, idempotent=False)
            self._accepted(kept)
            numbers.append(str(kept.number))
        if answered == "silence":
            await asyncio.sleep(fault.seconds)
            _abort(server)
        elif answered == "dropped":
            _abort(server)
        return f"250 2.0.0 Kept as {' '.join(numbers)}"


class _Server(SMTP):
    """Closes a connection before the greeting while the e-mail channel refuses."""

    def __init__(self, handler: Handler, faults: Faults) -> None:
        super().__init__(handler, enable_SMTPUTF8=True, hostname="sandbox.localhost", ident="journey-pipelines sandbox")
        self._sandbox_faults = faults

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._sandbox_faults.peek("email").mode == "refuse":
            self._sandbox_faults.take("email")
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.session is not None:
            super().connection_lost(error)


async def serve(host: str, port: int, mailbox: Mailbox, faults: Faults, accepted: Callable[[Message], None]) -> asyncio.Server:
    """Listen for e-mail; `accepted` is called with each message kept."""
    handler = Handler(mailbox, faults, accepted)
    return await asyncio.get_running_loop().create_server(lambda: _Server(handler, faults), host, port)


def parse(envelope: Envelope, recipient: str) -> Message:
    """An envelope as a Message; the key is X-Message-Key where there is one, else the local part of Message-ID."""
    content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content or "").encode()
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    key = str(mail.get("X-Message-Key", "")).strip() or str(mail.get("Message-ID", "")).strip().strip("<>").partition("@")[0]
    return Message(
        key=key,
        channel="email",
        recipient=recipient,
        sender=str(mail.get("From", envelope.mail_from or "")),
        subject=str(mail.get("Subject", "")),
        text=_body(mail, "plain"),
        html=_body(mail, "html"),
        headers=[(name, str(value)) for name, value in mail.items()],
    )


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()) if part is not None else ""


def _close(server: SMTP) -> None:
    if server.transport is not None:
        server.transport.close()


def _abort(server: SMTP) -> NoReturn:
    """Drop the connection; cancelling is how aiosmtpd itself ends a dialogue whose other side is gone."""
    if isinstance(server.transport, asyncio.Transport):
        server.transport.abort()
    raise asyncio.CancelledError
