"""Doorbells: is there work? One cheap, indexed question each, asked of the database every few seconds whatever its size.

An answer is only a hint. A wrong yes costs a run that finds nothing, a wrong no costs delay; neither loses or repeats anything, because
what is due is decided again by the run. All functions read in the caller's transaction and take the clock's time. What a declared event
source is asked is `intake.sources`' business.

Each question asks for the first row in the order of an index instead of whether a row exists: after a day of standstill the planner
believes that half of the table is due, and would look for one of them by reading it from the start.

`since`: what lies before that was asked, and there was nothing (`store.patience`). Without it the question is about everything.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.delivery.send_limits import full_workflows
from journey_pipelines.delivery.silence import silent_workflows
from journey_pipelines.store.moment_tables import customer_changes, customer_moments, engine_builds, resumptions
from journey_pipelines.store.patience import BEGINNING
from journey_pipelines.store.tables import (
    customer_journeys,
    deployment,
    engine_shards,
    event_inbox,
    messages,
    segment_changes,
)


def inbox_waiting(conn: sa.Connection, now: datetime, since: datetime = BEGINNING) -> bool:
    """Is there an event in the inbox that has happened by `now`? Events of the future stay there until their time."""
    return _in_some_shard(conn, event_inbox.c.shard, event_inbox.c.effective_at, now, since)


def segment_changes_waiting(conn: sa.Connection, now: datetime, since: datetime = BEGINNING) -> bool:
    """Is there a segment change that has happened by `now`?"""
    return _in_some_shard(conn, segment_changes.c.shard, segment_changes.c.occurred_at, now, since)


def moments_waiting(conn: sa.Connection, now: datetime, since: datetime = BEGINNING) -> bool:
    """Has a profile changed, has a condition's or a date's time come, may a schedule tick, did a deploy leave something to compute, or may
    a released workflow let somebody go?
    """
    if any(_in_some_shard(conn, queue.c.shard, queue.c.at, now, since) for queue in (customer_changes, customer_moments)):
        return True
    looks = sa.select(deployment.c.one).where(deployment.c.next_tick_at <= now)
    released = sa.select(resumptions.c.workflow_id).limit(1)
    return any(conn.scalar(question) is not None for question in (looks, sa.select(engine_builds.c.shard).limit(1), released))


def journeys_due(conn: sa.Connection, now: datetime, since: datetime = BEGINNING) -> bool:
    """Is there an active journey, not held, whose time has come?"""
    journey = customer_journeys.c
    # the partial index is used where its condition is repeated as it stands, so with a literal
    active = sa.and_(journey.status == sa.literal_column("'active'"), journey.held_at.is_(None), journey.due_at >= since)
    return _reached(conn, sa.select(journey.due_at).where(active).order_by(journey.due_at), now)


def messages_waiting(conn: sa.Connection, now: datetime, channels: Collection[str], since: datetime = BEGINNING) -> bool:
    """Is there a message to send on one of `channels`, or one whose sender did not come back before its lease ended?

    Not counted is what no dispatch would move: other channels, workflows from which nothing is sent for now or whose limit of sends is
    reached, journeys that are parked.
    """
    message, journey = messages.c, customer_journeys.c
    full = full_workflows(conn, now)
    outbox = (
        sa.select(message.id)
        .select_from(messages.outerjoin(customer_journeys, journey.id == message.journey_id))
        .where(
            message.state.in_(sa.literal_column(state) for state in ("'planned'", "'deferred'", "'retry'")),
            message.send_after.between(since, now),
            message.channel.in_(channels),
            message.workflow_id.not_in(silent_workflows()),
            journey.held_at.is_(None),
        )
        .order_by(message.send_after)
        .limit(1)
    )
    if full:
        outbox = outbox.where(message.workflow_id.not_in(full))
    sending = sa.and_(message.state == sa.literal_column("'sending'"), message.lease_until >= since)
    leases = sa.select(message.lease_until).where(sending).order_by(message.lease_until)
    return conn.scalar(outbox) is not None or _reached(conn, leases, now)


def _in_some_shard(conn: sa.Connection, shard: sa.Column[Any], at: sa.Column[Any], now: datetime, since: datetime) -> bool:
    # the first row of each shard, because the index begins with the shard
    of_shard = sa.select(at.label("at")).where(shard == engine_shards.c.shard, at >= since)
    first = of_shard.order_by(at).limit(1).correlate(engine_shards).lateral("first")
    question = sa.select(engine_shards.c.shard).select_from(engine_shards.join(first, first.c.at <= now)).limit(1)
    return conn.scalar(question) is not None


def _reached(conn: sa.Connection, times: sa.Select[Any], now: datetime) -> bool:
    first = conn.scalar(times.limit(1))
    return first is not None and first <= now
