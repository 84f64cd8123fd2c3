"""A real SMTP server on loopback that keeps what it accepts and can be told to misbehave at any point of the dialogue."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
from collections import Counter
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

DROP = "drop"
SILENCE = "silence"


class MailServer:
    """`mail`, `rcpt` and `dot` decide the answer: a reply line, DROP (the connection is cut) or SILENCE (no answer for 60 s); None = yes.

    `dot` is asked after the mail was kept, unless it answers with a refusal. Use as a context manager; `port` is its port.
    """

    def __init__(self, **options: Any) -> None:
        self.kept: list[tuple[str, EmailMessage]] = []
        self.raw: list[bytes] = []
        self.connections = 0
        self.mail: Callable[[str], str | None] = lambda sender: None
        self.rcpt: Callable[[str], str | None] = lambda recipient: None
        self.dot: Callable[[str], str | None] = lambda recipient: None
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self.port = 0

    def keys(self) -> Counter[str]:
        """How often each message key was accepted."""
        return Counter(str(mail["X-Message-Key"]) for _, mail in self.kept)

    def recipients(self) -> list[str]:
        return [recipient for recipient, _ in self.kept]

    def __enter__(self) -> MailServer:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> asyncio.Server:
        def make() -> SMTP:
            self.connections += 1
            return SMTP(self, hostname="sink.test", enable_SMTPUTF8=True, loop=self._loop, **self._options)

        return await self._loop.create_server(make, "127.0.0.1", self.port)

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.sleep(0.05)

    # aiosmtpd's hooks

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        said = self.mail(address)
        if said is not None:
            return await self._misbehave(server, said)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        said = self.rcpt(address)
        if said is not None:
            return await self._misbehave(server, said)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        said = self.dot(envelope.rcpt_tos[0])
        if said is not None and said[:1] in "45":
            return said
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.raw.append(envelope.content)
        self.kept.append((envelope.rcpt_tos[0], mail))
        return "250 kept" if said is None else await self._misbehave(server, said)

    async def _misbehave(self, server: SMTP, said: str) -> str:
        if said == SILENCE:
            await asyncio.sleep(60)
        if said == DROP:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return said


def only(user: str, password: str) -> Callable[..., AuthResult]:
    """An authenticator for one user."""

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (user.encode(), password.encode()), handled=False)

    return check
