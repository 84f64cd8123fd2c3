"""Whom a statement about customers (not journeys) is asked for: those of a round's rows, or everybody of a shard after a deploy."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.statement import CUSTOMERS, FOREVER_SEQ, HIGH, LOW, NOW, ROUND, SHARDS, TS, lit
from journey_pipelines.expressions import Scope
from journey_pipelines.store.tables import customer_event_stats, customer_profiles


def round_people(concerned: sa.ColumnElement[bool]) -> sa.CTE:
    """customer_id, shard, at, at_seq, received_at, depth, newest_at of the round's rows that concern the statement: one per customer."""
    b = batch_events.c
    query = sa.select(b.customer_id, b.shard, b.occurred_at.label("at"), b.seq.label("at_seq"), b.received_at, b.depth, b.newest_at).where(
        b.round == ROUND, b.seq.between(LOW, HIGH), concerned
    )
    return query.cte("people").prefix_with("MATERIALIZED", dialect="postgresql")


def shard_people(*, with_events: bool) -> sa.CTE:
    """The same columns for everybody of the shards, as of now; `with_events`: also those of whom only events are known."""
    p, s = customer_profiles.c, customer_event_stats.c
    known = sa.select(p.customer_id, p.shard).where(p.shard == sa.any_(SHARDS))
    if with_events:
        known = sa.union(known, sa.select(s.customer_id, s.shard).where(s.shard == sa.any_(SHARDS)))  # type: ignore[assignment]
    everybody = known.subquery("everybody")
    # the halves of a statement that failed
    some = sa.or_(CUSTOMERS.is_(None), everybody.c.customer_id == sa.any_(CUSTOMERS))
    query = sa.select(
        everybody.c.customer_id, everybody.c.shard, NOW.label("at"), FOREVER_SEQ.label("at_seq"), NOW.label("received_at"),
        sa.cast(lit(0), sa.SmallInteger).label("depth"), sa.cast(sa.null(), TS).label("newest_at"),
    )  # fmt: skip
    return query.where(some).cte("people").prefix_with("MATERIALIZED", dialect="postgresql")


def customer_scope(people: Any, profile: Any, zone: sa.ColumnElement[Any], brand: Any, types: Any) -> Scope:
    """What a condition about a customer alone may name: no event, no journey."""
    return Scope(
        customer=profile,
        customer_id=people.c.customer_id,
        at=people.c.at,
        at_seq=people.c.at_seq,
        zone=zone,
        event=None,
        arrived=None,
        journey={},
        brand=brand,
        catalogue=types,
        now=people.c.at,
    )
