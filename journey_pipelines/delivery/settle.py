"""What an outcome means for the ledger, and writing it down: one statement for all outcomes of a batch, fenced by the lease's epoch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from journey_pipelines.delivery.channel import Answer, Idempotency, Outcome, Rendered
from journey_pipelines.delivery.failpoints import failpoint
from journey_pipelines.delivery.gate import NOW, in_state, lit
from journey_pipelines.delivery.timing import Reading
from journey_pipelines.store.tables import TIMESTAMPTZ, messages

MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` in all; the n-th retry waits `backoff` * 2 ** (n - 1) seconds of wall time, at most `max_backoff`, half to all of it
    by chance.
    """

    attempts: int = 3
    backoff: float = 60.0
    max_backoff: float = 3600.0

    def wait(self, attempt: int, chance: random.Random) -> float:
        """Seconds until the next try, after the attempt of that number (from 1). Spread, so that an outage does not end in one burst."""
        longest = min(self.max_backoff, self.backoff * 2.0 ** min(attempt - 1, 30))
        return longest * (0.5 + 0.5 * chance.random())


@dataclass(frozen=True, slots=True)
class Settled:
    """The next state of one message. `attempt_spent` False gives the claim's attempt back; `send_after` None keeps what is there;
    `answer` is what a webhook's receiver said last.
    """

    id: int
    epoch: int
    state: str
    reason: str | None
    send_after: datetime | None = None
    attempt_spent: bool = True
    doubt: bool = False
    provider_message_id: str | None = None
    answer: Answer | None = None

    @property
    def is_final(self) -> bool:
        """Nothing will be tried again."""
        return self.state in ("accepted", "failed", "dead")


def settle(
    message: Rendered, outcome: Outcome, idempotency: Idempotency, policy: RetryPolicy, clock: Reading, chance: random.Random
) -> Settled:
    """The ledger's next state for one outcome (delivery.md, states of a message)."""
    reason = (outcome.reason or outcome.kind)[:MAX_REASON]

    def later(state: str, *, spent: bool, doubt: bool = False, because: str = reason) -> Settled:
        if spent and message.attempt >= policy.attempts:
            # what may have been accepted is not called dead before it expires: an event of the provider can still tell
            end = "in_doubt" if doubt else "dead"
            spent_all = f"{because} (attempt {message.attempt} of {policy.attempts})"
            return Settled(message.id, message.epoch, end, spent_all, doubt=doubt, answer=outcome.answer)
        wait = (
            outcome.wait
            if outcome.wait is not None
            else outcome.pause
            if outcome.pause is not None
            else policy.wait(message.attempt, chance)
        )
        # never all at the same instant
        wait += wait * 0.1 * chance.random()
        return Settled(message.id, message.epoch, state, because, clock.after(wait), attempt_spent=spent, doubt=doubt)

    match outcome.kind:
        case "accepted":
            known = outcome.provider_message_id
            return Settled(message.id, message.epoch, "accepted", None, provider_message_id=known, answer=outcome.answer)
        case "failed":
            return Settled(message.id, message.epoch, "failed", reason, answer=outcome.answer)
        case "retry":
            return later("retry", spent=True)
        case "postponed":
            return later("retry", spent=False)
        case "unsent":
            return (
                later("planned", spent=False)
                if outcome.pause is not None
                else Settled(message.id, message.epoch, "planned", reason, attempt_spent=False)
            )
        case "unknown" if idempotency == "key":
            return later("retry", spent=True, doubt=True, because=f"in doubt: {reason}; the same key again")
        case "unknown" if message.category == "transactional" and message.doubts == 0:
            return later("retry", spent=True, doubt=True, because=f"in doubt: {reason}; transactional, once more")
        case _:
            return Settled(message.id, message.epoch, "in_doubt", reason, doubt=True)


def _array(name: str, of: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=ARRAY(of))


_COLUMNS: dict[str, Any] = {
    "id": sa.BigInteger,
    "epoch": sa.Integer,
    "state": sa.Text,
    "reason": sa.Text,
    "send_after": TIMESTAMPTZ,
    "attempt_spent": sa.Boolean,
    "doubt": sa.Boolean,
    "provider_message_id": sa.Text,
}
_s = (
    sa.func.unnest(*(_array(f"{name}s", of) for name, of in _COLUMNS.items()))
    .table_valued(*(sa.column(name, of) for name, of in _COLUMNS.items()))
    .render_derived(name="s")
)
# A late answer of the lease's own worker still counts while nobody claimed the message again: rescue moves the state, never the epoch.
_MARK = (
    sa.update(messages)
    .values(
        state=_s.c.state,
        reason=_s.c.reason,
        lease_until=sa.null(),
        send_after=sa.func.coalesce(_s.c.send_after, messages.c.send_after),
        attempts=messages.c.attempts - sa.case((_s.c.attempt_spent, 0), else_=1),
        doubts=messages.c.doubts + sa.case((_s.c.doubt, 1), else_=0),
        provider_message_id=sa.func.coalesce(_s.c.provider_message_id, messages.c.provider_message_id),
        accepted_at=sa.case((_s.c.state == lit("accepted"), NOW), else_=sa.null()),
        updated_at=NOW,
    )
    .where(
        messages.c.id == _s.c.id,
        messages.c.lease_epoch == _s.c.epoch,
        in_state(messages, "sending", "in_doubt", "retry"),
    )
    .returning(messages.c.id)
)


def mark(conn: sa.Connection, now: datetime, settled: Sequence[Settled]) -> set[int]:
    """Write outcomes; returns the ids that were still ours. In the caller's transaction."""
    if not settled:
        return set()
    values: dict[str, Any] = {f"{name}s": [getattr(one, name) for one in settled] for name in _COLUMNS}
    marked = set(conn.scalars(_MARK, {"now": now, **values}))
    failpoint("in_mark")
    return marked
