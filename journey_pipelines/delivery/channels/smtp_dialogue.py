"""One connection to an SMTP server, and one mail over it, with an outcome for every way it can end.

What counts as proof (RFC 5321): until the final dot nothing is accepted, so whatever breaks before it may be tried again; after it a reply
decides, and no reply leaves the mail in doubt, for SMTP has no idempotency key.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from journey_pipelines.delivery.channel import Outcome
from journey_pipelines.delivery.failpoints import failpoint

Tls = Literal["offered", "required", "implicit", "never"]

# Wall seconds. MAIL, RCPT, DATA, the body and the dot together take at most 60: the margin that a lease keeps.
CONNECT_TIMEOUT = 10.0
COMMAND_TIMEOUT = 10.0
DOT_TIMEOUT = 20.0
CONNECT_PAUSE = 15.0
CREDENTIALS_PAUSE = 60.0
_CREDENTIALS = (530, 534, 535, 538)


@dataclass(frozen=True)
class Server:
    """Where mail goes. `tls`: `offered` = STARTTLS where the server offers it, without asking who it is (RFC 7435); `required` = STARTTLS
    with a verified certificate or not at all; `implicit` = TLS from the first byte, verified; `never`.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: Tls = "offered"


class Unusable(Exception):
    """The server cannot be used now; `outcome` is what that means for every mail."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class Gone(Exception):
    """The server closed the connection before it took a command: the mail may go over a new one."""


@dataclass(frozen=True)
class Mail:
    """An envelope and its content. `utf8` where an address is not ASCII."""

    sender: str
    recipient: str
    data: bytes

    @property
    def utf8(self) -> bool:
        return not (self.sender.isascii() and self.recipient.isascii())


class Dialogue:
    """An open connection. `usable` turns False when it must not be used again."""

    def __init__(self, server: Server) -> None:
        """Connects, greets, encrypts and logs in. Raises Unusable."""
        self.usable = True
        self.used = 0
        try:
            self._smtp = _open(server)
        except smtplib.SMTPResponseException as error:
            raise Unusable(_refused(error.smtp_code, error.smtp_error)) from error
        except (OSError, smtplib.SMTPException) as error:
            raise Unusable(Outcome("postponed", f"connect: {_said(error)}", pause=CONNECT_PAUSE)) from error

    def send(self, mail: Mail) -> Outcome:
        """One transaction. Raises Gone where the connection was dead before it began, Unusable where the trouble is the server's."""
        if mail.utf8 and not self._smtp.has_extn("smtputf8"):
            return Outcome("failed", "bad address: the mail server takes ASCII addresses only")
        try:
            code, said = self._smtp.mail(mail.sender, ["SMTPUTF8"] if mail.utf8 else [])
        except (OSError, smtplib.SMTPException) as error:
            self.usable = False
            if self.used:
                raise Gone from error
            return Outcome("retry", f"connection lost at MAIL FROM: {_said(error)}")
        if code == 421:
            self.close()
            if self.used:
                raise Gone
            raise Unusable(Outcome("postponed", f"connect: {_reply(code, said)}", pause=CONNECT_PAUSE))
        if code in _CREDENTIALS:
            self.close()
            raise Unusable(_refused(code, said))
        self.used += 1
        if code != 250:
            return self._no("MAIL FROM", code, said)
        try:
            code, said = self._smtp.rcpt(mail.recipient)
            if code not in (250, 251):
                return self._no("RCPT TO", code, said)
            code, said = self._smtp.docmd("DATA")
            if code != 354:
                return self._no("DATA", code, said)
            # sendall raises before the last bytes are with the kernel, and the last bytes are the dot
            self._smtp.send(_stuffed(mail.data))
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return Outcome("retry", f"connection lost before the final dot: {_said(error)}")
        return self._after_dot()

    def close(self) -> None:
        """Say goodbye; the server's answer does not matter."""
        self.usable = False
        try:
            if self._smtp.sock is not None:
                self._smtp.sock.settimeout(1.0)
                self._smtp.putcmd("QUIT")
        except (OSError, smtplib.SMTPException):
            pass
        finally:
            self._smtp.close()

    def _after_dot(self) -> Outcome:
        try:
            assert self._smtp.sock is not None
            self._smtp.sock.settimeout(DOT_TIMEOUT)
            code, said = self._smtp.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self.usable = False
            self._smtp.close()
            return Outcome("unknown", f"no answer after the final dot: {_said(error)}")
        failpoint("after_yes")
        if code < 0:
            self.close()
            return Outcome("unknown", f"no answer anybody can read after the final dot: {_text(said)[:200]}")
        if code != 250:
            return self._no("the final dot", code, said)
        self._smtp.sock.settimeout(COMMAND_TIMEOUT)
        return Outcome("accepted", provider_message_id=_text(said)[:200] or None)

    def _no(self, where: str, code: int, said: bytes) -> Outcome:
        """A refusal in words; the connection is reset for the next mail, or given up."""
        if code in (421, -1):
            self.close()
        else:
            try:
                self._smtp.rset()
            except (OSError, smtplib.SMTPException):
                self.close()
        reason = f"{where}: {_reply(code, said)}"
        return Outcome("failed" if 500 <= code < 600 else "retry", reason)


def _open(server: Server) -> smtplib.SMTP:
    name = socket.gethostname()
    smtp: smtplib.SMTP
    if server.tls == "implicit":
        smtp = smtplib.SMTP_SSL(server.host, server.port, name, timeout=CONNECT_TIMEOUT, context=ssl.create_default_context())
    else:
        smtp = smtplib.SMTP(server.host, server.port, name, timeout=CONNECT_TIMEOUT)
    try:
        smtp.ehlo_or_helo_if_needed()
        if server.tls in ("offered", "required"):
            if smtp.has_extn("starttls"):
                smtp.starttls(context=_context(verified=server.tls == "required"))
                smtp.ehlo()
            elif server.tls == "required":
                raise smtplib.SMTPException("the server offers no STARTTLS, and the channel is told to require it")
        if server.user is not None:
            smtp.login(server.user, server.password or "")
        assert smtp.sock is not None
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        smtp.sock.settimeout(COMMAND_TIMEOUT)
    except BaseException:
        smtp.close()
        raise
    return smtp


def _context(*, verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refused(code: int, said: bytes | str) -> Outcome:
    if code in _CREDENTIALS:
        return Outcome("unsent", f"credentials refused: {_reply(code, said)}", pause=CREDENTIALS_PAUSE)
    return Outcome("postponed", f"connect: {_reply(code, said)}", pause=CONNECT_PAUSE)


def _stuffed(data: bytes) -> bytes:
    if data.startswith(b"."):
        data = b"." + data
    return data.replace(b"\r\n.", b"\r\n..") + (b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n")


def _reply(code: int, said: bytes | str) -> str:
    return f"{code} {_text(said)}".strip()[:300]


def _text(said: bytes | str) -> str:
    return " ".join((said.decode("utf-8", "replace") if isinstance(said, bytes) else said).split())


def _said(error: Exception) -> str:
    return (_text(str(error)) or type(error).__name__)[:300]
