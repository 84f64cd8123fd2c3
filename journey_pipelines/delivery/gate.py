"""Who may be written to: one SQL expression that gives a message the reason why it must not be sent, or NULL.

It is asked twice, set-based: before rendering, so that nothing is rendered in vain, and in the claim, where the answer counts.
Withdrawing consent, suppressing an address and changing it lock the profile's row first, and the claim holds that row: what was
committed before the claim commits is honoured.

Consent: marketing needs one. The latest row of `channel_consents` for the channel whose topic is null or the message's own decides;
without a row the policy's predicate does; a channel without a predicate has no consent. Transactional messages need none; they are
stopped by a withdrawal of their own topic only, since opting out of offers must not stop a receipt. A suppressed address stops
everything. Webhooks go to systems, not to people, and need neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from journey_pipelines.delivery.silence import silent_workflows
from journey_pipelines.store.tables import (
    TIMESTAMPTZ,
    channel_consents,
    customer_journeys,
    customer_profiles,
    messages,
    suppressions,
)

ConsentPredicate = Callable[[sa.FromClause, sa.ColumnElement[Any]], sa.ColumnElement[bool]]
Consent = Mapping[str, ConsentPredicate]
#: exits on conditions: whether (message, its journey, the profile, now) leaves its workflow, whatever the engine has got to know of it yet
LeavingPredicate = Callable[[sa.FromClause, sa.FromClause, sa.FromClause, sa.ColumnElement[Any]], sa.ColumnElement[bool]]
Leaving = Sequence[LeavingPredicate]

ADDRESS_COLUMNS = {"email": "email_address", "sms": "phone_number", "push": "push_token"}

# Ends of a journey that take its unsent messages with them. Completed journeys and those that ran out of time still owe what they planned.
_LEAVING = ("goal", "exit_rule", "unsubscribed", "erased", "version_retired", "step_removed", "manual")

NOW: sa.BindParameter[Any] = sa.bindparam("now", type_=TIMESTAMPTZ)
SINCE: sa.BindParameter[Any] = sa.bindparam("since", type_=TIMESTAMPTZ)
SHARDS: sa.BindParameter[Any] = sa.bindparam("shards", type_=ARRAY(sa.SmallInteger))
FULL: sa.BindParameter[Any] = sa.bindparam("full", type_=ARRAY(sa.Text))
IDS: sa.BindParameter[Any] = sa.bindparam("ids", type_=ARRAY(sa.BigInteger))


def lit(value: str) -> sa.ColumnElement[str]:
    """A state or a kind, inlined so that partial indexes match (engine.md, 21). Never a user's value."""
    return sa.literal_column(f"'{value}'", sa.Text)


def unsent(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """In the words of the index `messages_outbox`."""
    return table.c.state.in_([lit("planned"), lit("deferred"), lit("retry")])


def in_state(table: sa.FromClause, *states: str) -> sa.ColumnElement[bool]:
    """A check of rows that are found by id. As CASE, which the planner has no statistics for: by its statistics no message is ever
    `sending`, and it would rather compare the whole table with the batch than look up 500 ids (measured: 470 ms instead of 10).
    """
    return sa.case(*((table.c.state == lit(state), sa.true()) for state in states), else_=sa.false())


def waits(message: sa.FromClause, journey: sa.FromClause) -> sa.ColumnElement[bool]:
    """Nothing is sent from its workflow for now, or its journey is parked: not now, and no reason to end the message."""
    return sa.or_(message.c.workflow_id.in_(silent_workflows()), journey.c.held_at.is_not(None))


def address_of(channel: str, profile: sa.FromClause) -> sa.ColumnElement[Any]:
    """The profile's column of a channel; NULL for webhooks, whose address comes from the workflow."""
    column = ADDRESS_COLUMNS.get(channel)
    return profile.c[column] if column else sa.null().cast(sa.Text)


def verdict(
    channel: str,
    consent: Consent,
    message: sa.FromClause,
    journey: sa.FromClause,
    profile: sa.FromClause,
    *extra: tuple[sa.ColumnElement[bool], str],
    leaving: Leaving = (),
) -> sa.ColumnElement[Any]:
    """The reason why `message` must not be sent on `channel`, NULL where it may be. `extra`: further (condition, reason) pairs of the
    caller.
    """
    address = address_of(channel, profile)
    reasons: list[tuple[sa.ColumnElement[bool], Any]] = [
        (message.c.expires_at <= NOW, lit("expired")),
        (journey.c.id.is_(None), lit("no journey")),
        (journey.c.exit_reason.in_([lit(reason) for reason in _LEAVING]), lit("left the journey, ").op("||")(journey.c.exit_reason)),
        *((leaves(message, journey, profile, NOW), lit("exit")) for leaves in leaving),
    ]
    if channel in ADDRESS_COLUMNS:
        suppressed = (
            sa.select(lit("suppressed address, ").op("||")(suppressions.c.reason))
            .where(suppressions.c.address_hmac == sa.func.journeys.address_hmac(address))
            .scalar_subquery()
        )
        reasons += [
            (address.is_(None), lit("no address")),
            *((condition, lit(reason)) for condition, reason in extra),
            (suppressed.is_not(None), suppressed),
            *_consent(channel, consent, message, profile),
        ]
    return sa.case(*reasons, else_=sa.null())


def _consent(
    channel: str, consent: Consent, message: sa.FromClause, profile: sa.FromClause
) -> list[tuple[sa.ColumnElement[bool], sa.ColumnElement[str]]]:
    row = channel_consents.alias("consent")
    marketing = message.c.category == lit("marketing")
    latest = (
        sa.select(row.c.state)
        .where(
            row.c.customer_id == message.c.customer_id,
            row.c.channel == lit(channel),
            sa.or_(sa.and_(marketing, row.c.topic.is_(None)), row.c.topic == message.c.topic),
        )
        .order_by(row.c.at.desc(), row.c.id.desc())
        .limit(1)
        .correlate(message)
        .scalar_subquery()
    )
    by_policy = consent[channel](profile, NOW) if channel in consent else sa.false()
    return [
        (latest == lit("withdrawn"), lit("consent withdrawn")),
        (sa.and_(marketing, latest.is_(None), sa.func.coalesce(by_policy, sa.false()).is_(sa.false())), lit("no consent")),
    ]


def due_statement(channel: str, consent: Consent, leaving: Leaving = ()) -> sa.Select[Any]:
    """The due messages of a channel in the shards held, `(id, workflow_id, reason)` in sending order; reason NULL = may be sent.

    Binds: now, since (what was due before is not asked for), shards, row_limit, full (workflows that have sent all that their limit
    allows). The limit takes the longest waiting first and priority orders what it took, so that a deep backlog costs no sort of all of it
    at every turn.
    """
    m, j, p = messages, customer_journeys.alias("j"), customer_profiles.alias("p")
    due = (
        sa.select(
            *(m.c[name] for name in ("id", "workflow_id", "customer_id", "journey_id", "category", "topic", "priority", "send_after")),
            m.c.expires_at,
            m.c.workflow_version,
        )
        .select_from(m.outerjoin(j, j.c.id == m.c.journey_id))
        .where(
            unsent(m), m.c.send_after.between(SINCE, NOW), m.c.channel == lit(channel), m.c.shard == sa.any_(SHARDS), sa.not_(waits(m, j))
        )
        .where(m.c.workflow_id != sa.all_(FULL))
        .order_by(m.c.send_after)
        .limit(sa.bindparam("row_limit", type_=sa.Integer))
        .cte("due")
    )
    return (
        sa.select(due.c.id, due.c.workflow_id, verdict(channel, consent, due, j, p, leaving=leaving).label("reason"))
        .select_from(due.outerjoin(j, j.c.id == due.c.journey_id).outerjoin(p, p.c.customer_id == due.c.customer_id))
        .order_by(due.c.priority.desc(), due.c.send_after, due.c.id)
    )
