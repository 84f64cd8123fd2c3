"""Messages whose worker never came back, and those nobody can tell the fate of.

An expired lease says that the intent was committed and no outcome was: the message may have been sent. With an idempotent provider it
is sent again under the same key; otherwise it is in doubt. Out of doubt leads an event about the message (delivered, opened: it was
accepted), one more try for transactional messages, or its expiry: then it is `dead`, and counted. Nothing in doubt is ever dropped
unseen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from journey_pipelines.delivery.failpoints import failpoint
from journey_pipelines.delivery.gate import NOW, lit, unsent
from journey_pipelines.delivery.timing import Reading
from journey_pipelines.store.tables import customer_events, messages

ROWS = 5_000

# any of these about a message proves that it was accepted
_PROOF = (
    "message.accepted",
    "message.delivered",
    "message.opened",
    "message.clicked",
    "message.replied",
    "message.bounced",
    "message.complained",
)


@dataclass(frozen=True, slots=True)
class RescueReport:
    """Rows moved by one call."""

    retried: int = 0
    in_doubt: int = 0
    proved: int = 0
    dead: int = 0
    expired: int = 0


def rescue(conn: sa.Connection, clock: Reading, *, idempotent: Collection[str], attempts: int) -> RescueReport:
    """One bounded round. `idempotent`: channels whose provider takes a key twice and accepts once; `attempts`: as in RetryPolicy."""
    given: dict[str, Any] = {"now": clock.now, "idempotent": sorted(idempotent), "max_attempts": attempts}

    def run(statement: sa.Update) -> int:
        return len(_ids(conn, statement, given))

    again = run(_LEASE_AGAIN)
    doubtful = run(_LEASE_DOUBTFUL)
    proved = run(_PROVED)
    once_more = run(_ONCE_MORE)
    dead = run(_DEAD)
    expired = run(_EXPIRED)
    failpoint("in_rescue")
    return RescueReport(again + once_more, doubtful, proved, dead, expired)


def _ids(conn: sa.Connection, statement: sa.Update, given: dict[str, Any]) -> Sequence[int]:
    return conn.scalars(statement.returning(messages.c.id), given).all()


# what a round looks for, on an alias: inside an UPDATE of messages a subquery over messages itself would be taken for the row being updated
_m = messages.alias("m")
_idempotent = _m.c.channel == sa.any_(sa.bindparam("idempotent", type_=ARRAY(sa.Text)))
_tries_left = _m.c.attempts < sa.bindparam("max_attempts", type_=sa.Integer)
_lease_over = sa.and_(_m.c.state == lit("sending"), _m.c.lease_until <= NOW)
_in_doubt = _m.c.state == lit("in_doubt")
_alive = _m.c.expires_at > NOW


def _bounded(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """At most ROWS of them, passing over rows that somebody else is changing."""
    chosen = sa.select(_m.c.id).where(*conditions).limit(ROWS).with_for_update(skip_locked=True, of=_m).scalar_subquery()
    return messages.c.id.in_(chosen)


def _first_proof(message: sa.FromClause) -> sa.ScalarSelect[Any]:
    event = customer_events.alias("event")
    return (
        sa.select(sa.func.min(event.c.occurred_at))
        .where(
            event.c.customer_id == message.c.customer_id,
            event.c.type.in_([lit(kind) for kind in _PROOF]),
            event.c.message_key == message.c.message_key,
        )
        .correlate(message)
        .scalar_subquery()
    )


_LEASE_AGAIN = (
    sa.update(messages)
    .where(_bounded(_lease_over, _idempotent, _tries_left, _alive))
    .values(
        state=lit("retry"),
        reason=lit("in doubt: its worker did not come back; the same key again"),
        lease_until=sa.null(),
        send_after=NOW,
        doubts=messages.c.doubts + 1,
        updated_at=NOW,
    )
)
_LEASE_DOUBTFUL = (
    sa.update(messages)
    .where(_bounded(_lease_over))
    .values(
        state=lit("in_doubt"),
        reason=lit("its worker did not come back after the claim"),
        lease_until=sa.null(),
        doubts=messages.c.doubts + 1,
        updated_at=NOW,
    )
)
_PROVED = (
    sa.update(messages)
    .where(_bounded(_in_doubt, _first_proof(_m).is_not(None)))
    .values(
        state=lit("accepted"), reason=lit("in doubt until an event about it arrived"), accepted_at=_first_proof(messages), updated_at=NOW
    )
)
# A first doubt of a transactional message, or one of a channel that has keys after all
_ONCE_MORE = (
    sa.update(messages)
    .where(_bounded(_in_doubt, _alive, _tries_left, sa.or_(_idempotent, sa.and_(_m.c.category == lit("transactional"), _m.c.doubts <= 1))))
    .values(state=lit("retry"), reason=lit("in doubt, once more: ").op("||")(messages.c.reason), send_after=NOW, updated_at=NOW)
)
_DEAD = (
    sa.update(messages)
    .where(_bounded(_in_doubt, sa.not_(_alive)))
    .values(state=lit("dead"), reason=lit("in doubt until it expired: ").op("||")(messages.c.reason), updated_at=NOW)
)
# The gate ends expired messages as it meets them; these are the ones it does not meet: channels not configured, workflows paused
_EXPIRED = (
    sa.update(messages)
    .where(_bounded(unsent(_m), _m.c.send_after <= NOW, sa.not_(_alive)))
    .values(state=lit("suppressed"), reason=lit("expired"), updated_at=NOW)
)
