"""E-mail over SMTP: stdlib smtplib in a few threads, connections kept between batches, one outcome per recipient."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parseaddr

from journey_pipelines.delivery.addresses import BadAddress, email_address
from journey_pipelines.delivery.channel import LEASE_RAN_OUT, Capability, Outcome, Rendered
from journey_pipelines.delivery.channels.smtp_dialogue import Dialogue, Gone, Mail, Server, Unusable
from journey_pipelines.delivery.failpoints import failpoint
from journey_pipelines.delivery.mime import compose
from journey_pipelines.delivery.timing import uptime

# servers drop idle clients after minutes; one that did is noticed and replaced, this only saves the detour
KEEP_IDLE = 30.0
# a second connection pays where there are more mails than it takes to open it
MAILS_PER_CONNECTION = 10


class SmtpChannel:
    """`sender` is the From of mails that name none: an address, or `Name <address>`. `connections`: at most so many at once."""

    name = "email"
    # 50 is what a killed worker can leave in doubt
    capability = Capability(idempotency="none", lookup=False, batch=50, verified_on="RFC 5321")

    def __init__(self, server: Server, sender: str, connections: int = 4) -> None:
        self.server = server
        self.sender = sender
        self.connections = connections
        self._threads = ThreadPoolExecutor(max(1, connections), thread_name_prefix="smtp")
        self._kept: deque[tuple[Dialogue, float]] = deque()

    def send(self, batch: Sequence[Rendered]) -> list[Outcome]:
        work = _Batch(batch)
        others = [self._threads.submit(self._work, work) for _ in range(min(self.connections, len(batch) // MAILS_PER_CONNECTION) - 1)]
        self._work(work)
        for other in others:
            other.result()
        rest = work.stop or LEASE_RAN_OUT
        return [outcome or rest for outcome in work.outcomes]

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        while self._kept:
            self._kept.pop()[0].close()

    def _work(self, work: _Batch) -> None:
        dialogue: Dialogue | None = None
        while work.stop is None and work.todo:
            try:
                index, message = work.todo.popleft()
            except IndexError:  # another thread took the last one
                break
            try:
                dialogue, work.outcomes[index] = self._send_one(dialogue, message)
            except Unusable as trouble:
                dialogue = None
                work.stop = work.outcomes[index] = trouble.outcome
        if dialogue is not None and dialogue.usable:
            self._kept.append((dialogue, time.monotonic()))

    def _send_one(self, dialogue: Dialogue | None, message: Rendered) -> tuple[Dialogue | None, Outcome]:
        try:
            mail = self._mail(message)
        except BadAddress as error:
            return dialogue, Outcome("failed", str(error))
        except ValueError as error:
            return dialogue, Outcome("failed", f"cannot be written as a mail: {error}")
        while True:
            if uptime() >= message.deadline:
                return dialogue, LEASE_RAN_OUT
            if dialogue is None or not dialogue.usable:
                dialogue = self._take_kept() or Dialogue(self.server)
                continue  # opening took time
            failpoint("before_send")
            try:
                return dialogue, dialogue.send(mail)
            except Gone:
                dialogue = None

    def _take_kept(self) -> Dialogue | None:
        while True:
            try:
                dialogue, since = self._kept.pop()
            except IndexError:
                return None
            if time.monotonic() - since < KEEP_IDLE:
                return dialogue
            dialogue.close()

    def _mail(self, message: Rendered) -> Mail:
        content = message.content
        recipient = email_address(content.address)
        sender = content.headers.get("From") or self.sender
        sender_address = parseaddr(sender)[1]
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", sender_address):
            raise BadAddress(f"bad sender {sender!r}: expected an address, or Name <address>")
        headers = {
            "From": sender,
            "To": recipient,
            "Subject": content.subject or "",
            "Message-ID": f"<{message.key}@{sender_address.rpartition('@')[2]}>",
            "X-Message-Key": message.key,
            **{name: value for name, value in content.headers.items() if name != "From"},
        }
        return Mail(sender_address, recipient, compose(headers, content.text or "", content.html, message.key))


class _Batch:
    """What the threads of one `send` share. `stop` ends it: what is true of the server is true for the rest."""

    def __init__(self, messages: Sequence[Rendered]) -> None:
        self.todo = deque(enumerate(messages))
        self.outcomes: list[Outcome | None] = [None] * len(messages)
        self.stop: Outcome | None = None
