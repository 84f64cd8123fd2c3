"""Taking messages: which are due, what they need for rendering, and the claim that commits the intent to send.

Three steps, and rendering lies between the second and the third, outside any transaction. Only the claim decides: it holds the shards,
the rows and the profiles, asks the gate again, freezes what will be sent and takes the lease. Rows and profiles that somebody else holds are left for the
next round instead of waited for: the engine locks the two in the other order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from journey_pipelines.delivery.channel import Content
from journey_pipelines.delivery.failpoints import failpoint
from journey_pipelines.delivery.gate import ADDRESS_COLUMNS, IDS, NOW, SHARDS, Consent, address_of, due_statement, lit, unsent, verdict, waits
from journey_pipelines.delivery.timing import Reading
from journey_pipelines.store.tables import (
    TIMESTAMPTZ,
    customer_events,
    customer_journeys,
    customer_profiles,
    delivery_shards,
    journey_context,
    message_bodies,
    messages,
)

# Wall seconds. A send is not begun in the last LEASE_MARGIN of a lease: the slowest single send (see the channels' time-outs) must end inside it.
LEASE = 90.0
LEASE_MARGIN = 60.0

# Rows looked at in one round; what passes is rendered and claimed batch by batch
WINDOW = 5_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message ready for its claim: the text, or the `error` that makes it fail. `frozen`: the text is that of an earlier attempt."""

    id: int
    shard: int
    customer_id: str
    key: str
    category: str
    content: Content | None
    error: str | None = None
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this worker may send, under `epoch`."""

    message: Prepared
    epoch: int
    attempt: int
    doubts: int


@dataclass(frozen=True, slots=True)
class Claims:
    """What a claim did: `lost` are messages that somebody else took, changed or holds; they were not touched."""

    claimed: list[Claimed]
    suppressed: Counter[str]
    failed: int
    lost: int


class Ledger:
    """The claiming statements of one channel, built once."""

    def __init__(self, channel: str, consent: Consent, provider: str) -> None:
        self._provider = provider
        self._due = due_statement(channel, consent)
        self._details = _details_statement()
        self._claim = _claim_statement(channel, consent)

    def due(self, conn: sa.Connection, now: datetime, shards: Sequence[int], limit: int = WINDOW) -> tuple[list[int], Counter[str]]:
        """Ids to send, in order, from those of `shards` that nobody else holds; those that must not be sent get their reason here."""
        held = list(conn.scalars(_LOCK_FREE_SHARDS, {"shards": list(shards)}))
        if not held:
            return [], Counter()
        rows = conn.execute(self._due, {"now": now, "shards": held, "row_limit": limit}).all()
        refused = [(row.id, row.reason) for row in rows if row.reason is not None]
        counted: Counter[str] = Counter()
        if refused:
            ids, reasons = zip(*refused, strict=True)
            counted.update(conn.scalars(_SUPPRESS, {"now": now, "ids": list(ids), "reasons": list(reasons)}))
        failpoint("before_gate")
        return [row.id for row in rows if row.reason is None], counted

    def details(self, conn: sa.Connection, ids: Sequence[int]) -> list[sa.Row[Any]]:
        """Everything a template may read about these messages, in their order; those sent or ended meanwhile are left out."""
        rows = {row.id: row for row in conn.execute(self._details, {"ids": list(ids)})}
        return [rows[message_id] for message_id in ids if message_id in rows]

    def claim(self, conn: sa.Connection, clock: Reading, batch: Sequence[Prepared]) -> Claims:
        """Take the lease on what may still be sent and freeze it; in the caller's transaction, which must commit before the first byte leaves."""
        conn.execute(_LOCK_SHARDS, {"shards": sorted({message.shard for message in batch})})
        mine = set(conn.scalars(_LOCK_MESSAGES, {"ids": [message.id for message in batch]}))
        profiles = list(conn.scalars(_LOCK_PROFILES, {"customers": sorted({message.customer_id for message in batch})}))
        held = [message for message in batch if message.id in mine]
        ready = {message.id: message for message in held if message.content is not None}
        broken = [message for message in held if message.content is None]

        rows: Sequence[sa.Row[Any]] = ()
        if ready:
            rows = conn.execute(
                self._claim,
                {
                    "now": clock.now,
                    "lease_end": clock.after(LEASE),
                    "via": self._provider,
                    "profiles": profiles,
                    "ids": list(ready),
                    "addresses": [message.content.address for message in ready.values() if message.content],
                    "frozen": [message.frozen for message in ready.values()],
                },
            ).all()
        claimed = [Claimed(ready[row.id], row.lease_epoch, row.attempts, row.doubts) for row in rows if row.state == "sending"]
        suppressed = Counter(row.reason for row in rows if row.state == "suppressed")
        self._freeze(conn, clock, claimed)
        if broken:
            conn.execute(_FAIL, {"now": clock.now, "ids": [m.id for m in broken], "reasons": [m.error for m in broken]})
        failpoint("in_claim")
        return Claims(claimed, suppressed, len(broken), len(batch) - len(rows) - len(broken))

    def _freeze(self, conn: sa.Connection, clock: Reading, claimed: Sequence[Claimed]) -> None:
        fresh = [(c.message.id, c.message.content) for c in claimed if c.message.content and not c.message.frozen]
        if not fresh:
            return
        conn.execute(
            _FREEZE,
            {
                "now": clock.now,
                "ids": [message_id for message_id, _ in fresh],
                "addresses": [content.address for _, content in fresh],
                "subjects": [content.subject for _, content in fresh],
                "texts": [content.text for _, content in fresh],
                "htmls": [content.html for _, content in fresh],
                "headers": [content.headers for _, content in fresh],
            },
        )


def _array(name: str, of: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=ARRAY(of))


_LOCK_FREE_SHARDS = (
    sa.select(delivery_shards.c.shard)
    .where(delivery_shards.c.shard == sa.any_(SHARDS))
    .order_by(delivery_shards.c.shard)
    .with_for_update(skip_locked=True)
)
# In one order and held for milliseconds, so that waiting for them cannot deadlock
_LOCK_SHARDS = (
    sa.select(delivery_shards.c.shard).where(delivery_shards.c.shard == sa.any_(SHARDS)).order_by(delivery_shards.c.shard).with_for_update()
)
_LOCK_MESSAGES = sa.select(messages.c.id).where(messages.c.id == sa.any_(IDS), unsent(messages)).with_for_update(skip_locked=True)
_LOCK_PROFILES = (
    sa.select(customer_profiles.c.customer_id)
    .where(customer_profiles.c.customer_id == sa.any_(_array("customers", sa.Text)))
    .with_for_update(read=True, skip_locked=True)
)

_reasons = sa.func.unnest(IDS, _array("reasons", sa.Text)).table_valued(sa.column("id", sa.BigInteger), sa.column("reason", sa.Text), name="r").render_derived()
_SUPPRESS = (
    sa.update(messages)
    .values(state=lit("suppressed"), reason=_reasons.c.reason, updated_at=NOW)
    .where(messages.c.id == _reasons.c.id, unsent(messages))
    .returning(messages.c.reason)
)
_FAIL = sa.update(messages).values(state=lit("failed"), reason=_reasons.c.reason, updated_at=NOW).where(messages.c.id == _reasons.c.id, unsent(messages))

_bodies = (
    sa.func.unnest(
        IDS, _array("addresses", sa.Text), _array("subjects", sa.Text), _array("texts", sa.Text), _array("htmls", sa.Text), _array("headers", JSONB)
    )
    .table_valued(
        sa.column("message_id", sa.BigInteger),
        sa.column("address", sa.Text),
        sa.column("subject", sa.Text),
        sa.column("body_text", sa.Text),
        sa.column("body_html", sa.Text),
        sa.column("headers", JSONB),
        name="b",
    )
    .render_derived()
)
_insert_bodies = postgresql.insert(message_bodies).from_select(
    ["message_id", "address", "subject", "body_text", "body_html", "headers", "frozen_at"], sa.select(*_bodies.c, NOW)
)
# A body is there already where an earlier claim came to nothing (a busy provider): nothing was sent, so the newer text takes its place
_FREEZE = _insert_bodies.on_conflict_do_update(
    index_elements=["message_id"],
    set_={name: _insert_bodies.excluded[name] for name in ("address", "subject", "body_text", "body_html", "headers", "frozen_at")},
)


def _details_statement() -> sa.Select[Any]:
    m, j, p, b = messages, customer_journeys.alias("j"), customer_profiles.alias("p"), message_bodies.alias("b")
    context, arrived = journey_context.alias("context"), customer_events.alias("arrived")
    # something may have been sent: the same bytes again, whatever the profile says by now
    sent_before = sa.and_(b.c.message_id == m.c.id, sa.or_(m.c.attempts > 0, m.c.doubts > 0))
    return (
        sa.select(
            *(m.c[name] for name in ("id", "message_key", "journey_id", "step_key", "action_id", "visit", "workflow_id", "workflow_version")),
            *(m.c[name] for name in ("customer_id", "shard", "channel", "category", "topic", "planned_at")),
            *(p.c[name] for name in ("email_address", "phone_number", "push_token", "first_name", "last_name", "language", "country", "timezone")),
            *(p.c[name] for name in ("zone", "subscription_status", "lifetime_value", "attributes")),
            p.c.created_at.label("customer_created_at"),
            j.c.trigger_id, j.c.entered_at,
            context.c.event_type, context.c.event,
            arrived.c.type.label("arrived_type"), arrived.c.occurred_at.label("arrived_at"), arrived.c.payload.label("arrived"),
            b.c.message_id.label("frozen_id"), b.c.address, b.c.subject, b.c.body_text, b.c.body_html, b.c.headers,
        )  # fmt: skip
        .select_from(
            m.outerjoin(p, p.c.customer_id == m.c.customer_id)
            .outerjoin(j, j.c.id == m.c.journey_id)
            .outerjoin(context, context.c.journey_id == m.c.journey_id)
            .outerjoin(arrived, arrived.c.seq == m.c.arrived_seq)
            .outerjoin(b, sent_before)
        )
        .where(m.c.id == sa.any_(IDS), unsent(m))
    )


def _claim_statement(channel: str, consent: Consent) -> sa.Update:
    m, j, p = messages.alias("m"), customer_journeys.alias("j"), customer_profiles.alias("p")
    ready = (
        sa.func.unnest(IDS, _array("addresses", sa.Text), _array("frozen", sa.Boolean))
        .table_valued(sa.column("id", sa.BigInteger), sa.column("address", sa.Text), sa.column("frozen", sa.Boolean), name="ready")
        .render_derived()
    )
    address = address_of(channel, p)
    moved = sa.and_(ready.c.frozen, address.is_distinct_from(ready.c.address))
    # a person's address that changed since rendering: untouched here, rendered again in the next round
    same_address = sa.or_(ready.c.frozen, address.is_(None), address == ready.c.address) if channel in ADDRESS_COLUMNS else sa.true()
    gate = (
        sa.select(
            m.c.id,
            verdict(channel, consent, m, j, p, (moved, "address changed since the first attempt")).label("reason"),
            (sa.func.journeys.address_hmac(address) if channel in ADDRESS_COLUMNS else sa.null()).label("address_hmac"),
        )
        .select_from(
            ready.join(m, m.c.id == ready.c.id).outerjoin(j, j.c.id == m.c.journey_id).outerjoin(p, p.c.customer_id == m.c.customer_id)
        )
        # a profile that exists and is not held here is being written by somebody: next round
        .where(sa.not_(waits(m, j)), sa.or_(p.c.customer_id.is_(None), p.c.customer_id == sa.any_(_array("profiles", sa.Text))), same_address)
        .cte("gate")
    )
    may = gate.c.reason.is_(None)

    def if_sent(value: Any, otherwise: Any) -> sa.ColumnElement[Any]:
        return sa.case((may, value), else_=otherwise)

    return (
        sa.update(messages)
        .values(
            state=if_sent(lit("sending"), lit("suppressed")),
            reason=gate.c.reason,
            lease_epoch=messages.c.lease_epoch + if_sent(1, 0),
            attempts=messages.c.attempts + if_sent(1, 0),
            lease_until=if_sent(sa.bindparam("lease_end", type_=TIMESTAMPTZ), sa.null()),
            claimed_at=if_sent(NOW, messages.c.claimed_at),
            provider=if_sent(sa.bindparam("via", type_=sa.Text), messages.c.provider),
            address_hmac=if_sent(gate.c.address_hmac, messages.c.address_hmac),
            updated_at=NOW,
        )
        .where(messages.c.id == gate.c.id, unsent(messages))
        .returning(messages.c.id, messages.c.state, messages.c.reason, messages.c.lease_epoch, messages.c.attempts, messages.c.doubts)
    )
