"""The SQL of a claim, apart from what runs it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB

from journey_pipelines.delivery.gate import ADDRESS_COLUMNS, IDS, NOW, SHARDS, Consent, Leaving, address_of, in_state, lit, verdict, waits
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

_UNSENT = in_state(messages, "planned", "deferred", "retry")


def _array(name: str, of: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=ARRAY(of))


LOCK_FREE_SHARDS = (
    sa.select(delivery_shards.c.shard)
    .where(delivery_shards.c.shard == sa.any_(SHARDS))
    .order_by(delivery_shards.c.shard)
    .with_for_update(skip_locked=True)
)
# In one order and held for milliseconds, so that waiting for them cannot deadlock
LOCK_SHARDS = (
    sa.select(delivery_shards.c.shard).where(delivery_shards.c.shard == sa.any_(SHARDS)).order_by(delivery_shards.c.shard).with_for_update()
)
LOCK_MESSAGES = (
    sa.select(messages.c.id, messages.c.workflow_id).where(messages.c.id == sa.any_(IDS), _UNSENT).with_for_update(skip_locked=True)
)
LOCK_PROFILES = (
    sa.select(customer_profiles.c.customer_id)
    .where(customer_profiles.c.customer_id == sa.any_(_array("customers", sa.Text)))
    .with_for_update(read=True, skip_locked=True)
)

_reasons = (
    sa.func.unnest(IDS, _array("reasons", sa.Text))
    .table_valued(sa.column("id", sa.BigInteger), sa.column("reason", sa.Text))
    .render_derived(name="r")
)
SUPPRESS = (
    sa.update(messages)
    .values(state=lit("suppressed"), reason=_reasons.c.reason, updated_at=NOW)
    .where(messages.c.id == _reasons.c.id, _UNSENT)
    .returning(messages.c.reason)
)
FAIL = (
    sa.update(messages).values(state=lit("failed"), reason=_reasons.c.reason, updated_at=NOW).where(messages.c.id == _reasons.c.id, _UNSENT)
)

_bodies = (
    sa.func.unnest(
        IDS,
        _array("addresses", sa.Text),
        _array("subjects", sa.Text),
        _array("texts", sa.Text),
        _array("htmls", sa.Text),
        _array("headers", JSONB),
    )
    .table_valued(
        sa.column("message_id", sa.BigInteger),
        sa.column("address", sa.Text),
        sa.column("subject", sa.Text),
        sa.column("body_text", sa.Text),
        sa.column("body_html", sa.Text),
        sa.column("headers", JSONB),
    )
    .render_derived(name="b")
)
_insert_bodies = postgresql.insert(message_bodies).from_select(
    ["message_id", "address", "subject", "body_text", "body_html", "headers", "frozen_at"], sa.select(*_bodies.c, NOW)
)
# A body is there already where an earlier claim came to nothing (a busy provider): nothing was sent, so the newer text takes its place
FREEZE = _insert_bodies.on_conflict_do_update(
    index_elements=["message_id"],
    set_={name: _insert_bodies.excluded[name] for name in ("address", "subject", "body_text", "body_html", "headers", "frozen_at")},
)


def details_statement() -> sa.Select[Any]:
    m, j, p, b = messages, customer_journeys.alias("j"), customer_profiles.alias("p"), message_bodies.alias("b")
    context, arrived = journey_context.alias("context"), customer_events.alias("arrived")
    # something may have been sent: the same bytes again, whatever the profile says by now
    sent_before = sa.and_(b.c.message_id == m.c.id, sa.or_(m.c.attempts > 0, m.c.doubts > 0))
    return (
        sa.select(
            *(
                m.c[name]
                for name in ("id", "message_key", "journey_id", "step_key", "action_id", "visit", "workflow_id", "workflow_version")
            ),
            *(m.c[name] for name in ("customer_id", "shard", "channel", "category", "topic", "planned_at")),
            *(
                p.c[name]
                for name in ("email_address", "phone_number", "push_token", "first_name", "last_name", "language", "country", "timezone")
            ),
            *(p.c[name] for name in ("zone", "subscription_status", "lifetime_value", "attributes")),
            p.c.created_at.label("customer_created_at"),
            p.c.updated_at.label("customer_updated_at"),
            j.c.trigger_id,
            j.c.entered_at,
            context.c.event_type,
            context.c.event,
            arrived.c.type.label("arrived_type"),
            arrived.c.occurred_at.label("arrived_at"),
            arrived.c.payload.label("arrived"),
            b.c.message_id.label("frozen_id"),
            b.c.address,
            b.c.subject,
            b.c.body_text,
            b.c.body_html,
            b.c.headers,
        )
        .select_from(
            m.outerjoin(p, p.c.customer_id == m.c.customer_id)
            .outerjoin(j, j.c.id == m.c.journey_id)
            .outerjoin(context, context.c.journey_id == m.c.journey_id)
            .outerjoin(arrived, arrived.c.seq == m.c.arrived_seq)
            .outerjoin(b, sent_before)
        )
        .where(m.c.id == sa.any_(IDS), _UNSENT)
    )


def claim_statement(channel: str, consent: Consent, leaving: Leaving = ()) -> sa.Update:
    m, j, p = messages.alias("m"), customer_journeys.alias("j"), customer_profiles.alias("p")
    ready = (
        sa.func.unnest(IDS, _array("addresses", sa.Text), _array("frozen", sa.Boolean))
        .table_valued(sa.column("id", sa.BigInteger), sa.column("address", sa.Text), sa.column("frozen", sa.Boolean))
        .render_derived(name="ready")
    )
    address = address_of(channel, p)
    moved = sa.and_(ready.c.frozen, address.is_distinct_from(ready.c.address))
    # a person's address that changed since rendering: untouched here, rendered again in the next round
    same_address = sa.or_(ready.c.frozen, address.is_(None), address == ready.c.address) if channel in ADDRESS_COLUMNS else sa.true()
    gate = (
        sa.select(
            m.c.id,
            verdict(channel, consent, m, j, p, (moved, "address changed since the first attempt"), leaving=leaving).label("reason"),
            (sa.func.journeys.address_hmac(address) if channel in ADDRESS_COLUMNS else sa.null().cast(BYTEA)).label("address_hmac"),
        )
        .select_from(
            ready.join(m, m.c.id == ready.c.id).outerjoin(j, j.c.id == m.c.journey_id).outerjoin(p, p.c.customer_id == m.c.customer_id)
        )
        # a profile that exists and is not held here is being written by somebody: next round
        .where(
            sa.not_(waits(m, j)), sa.or_(p.c.customer_id.is_(None), p.c.customer_id == sa.any_(_array("profiles", sa.Text))), same_address
        )
        .cte("gate")
        # inlined, the reason would be worked out again for every column that depends on it
        .prefix_with("MATERIALIZED")
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
        .where(messages.c.id == gate.c.id, _UNSENT)
        .returning(messages.c.id, messages.c.state, messages.c.reason, messages.c.lease_epoch, messages.c.attempts, messages.c.doubts)
    )
