"""What a channel is: it takes rendered messages and gives one outcome for each, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

# what to set for a channel that has none yet
VARIABLES = {"email": "JOURNEYS_SMTP_URL", "sms": "JOURNEYS_SMS_URL", "push": "JOURNEYS_PUSH_URL"}

# a webhook's method among its frozen headers, named as RFC 9113 names it
METHOD = ":method"

Idempotency = Literal["key", "none"]

OutcomeKind = Literal["accepted", "failed", "retry", "unknown", "postponed", "unsent"]


@dataclass(frozen=True, slots=True)
class Capability:
    """What a provider promises, as read in its documentation on `verified_on`.

    `idempotency`: `key` = the same key sent twice is accepted once. `lookup`: it can be asked what became of a key. `batch`: how many
    messages are claimed for one call of `send`; where there is no idempotency it is also how many a killed worker can leave in doubt,
    so keep it small.
    """

    idempotency: Idempotency
    lookup: bool
    batch: int
    verified_on: str


@dataclass(frozen=True, slots=True)
class Content:
    """What is frozen at the claim and sent, also by every retry. `address` is the mail address, phone number, push token or URL.

    `headers` are a mail's or a webhook's, with the webhook's method as METHOD.
    """

    address: str
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A claimed message. `deadline` is on `timing.uptime()`: a send not begun by then must not begin, its lease may end meanwhile.

    `attempt` counts this one; `doubts` are earlier sends that ended without an answer.
    """

    id: int
    key: str
    epoch: int
    attempt: int
    doubts: int
    category: str
    content: Content
    deadline: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a called system said: HTTP status, and the body as far as it was read (64 kB)."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message.

    accepted: the provider said yes · failed: a permanent no · retry: proof that it was not accepted, try again, one attempt spent ·
    unknown: nobody can say whether it was accepted · postponed: not accepted because of the channel (unreachable, busy): tried again, no
    attempt spent · unsent: not even tried (credentials, lease): back to planned, no attempt spent.

    `wait`: seconds of wall time before the next try, where the provider said so. `pause`: seconds for which the whole channel stands still.
    `answer`: of a webhook, for the workflow to read.
    """

    kind: OutcomeKind
    reason: str | None = None
    provider_message_id: str | None = None
    wait: float | None = None
    pause: float | None = None
    answer: Answer | None = None


LEASE_RAN_OUT = Outcome("unsent", "not begun before its lease ended; the channel is slower than its batch")


class Channel(Protocol):
    """One way out. `send` blocks until every message has an outcome, never raises for a message's sake, and keeps its own connections."""

    @property
    def name(self) -> str:
        """The ledger's channel: email, sms, push, webhook."""

    @property
    def capability(self) -> Capability: ...

    def send(self, batch: Sequence[Rendered]) -> list[Outcome]: ...

    def close(self) -> None: ...
