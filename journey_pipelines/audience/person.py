"""One customer's story: profile, consents, what happened and why, what comes next. All look-ups go by the customer or by their journeys'
ids.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.audience.moments import Moment, moments
from journey_pipelines.audience.upcoming import Due, due_next
from journey_pipelines.engine.policies import consent_predicates, deployed_policies
from journey_pipelines.store.tables import (
    channel_consents,
    customer_event_stats,
    customer_journeys,
    customer_profiles,
    event_inbox,
    segment_memberships,
)

MAX_JOURNEYS = 200


class UnknownPerson(Exception):
    """Nobody has this id; `nearest` are ids that look like it."""

    def __init__(self, customer_id: str, nearest: Sequence[str]) -> None:
        hint = f" Ids that look like it: {', '.join(nearest)}" if nearest else " There are no customers yet."
        super().__init__(f"no customer {customer_id!r}: no profile, no event, no journey.{hint}")
        self.nearest = list(nearest)


@dataclass(frozen=True)
class Consent:
    """Whether a channel may be used for marketing, and why: an explicit row, else the policy's condition."""

    channel: str
    topic: str | None
    granted: bool
    why: str
    at: datetime | None = None


@dataclass(frozen=True)
class Person:
    """`zone_source`: profile, policy (no zone or an invalid one on the profile). `waiting`: events in the inbox, not routed yet."""

    customer_id: str
    profile: Mapping[str, Any]
    zone: str
    zone_source: str
    consents: Sequence[Consent]
    segments: Sequence[str]
    timeline: Sequence[Moment]
    next: Sequence[Due]
    waiting: int
    events: int
    left_out: int


def person(conn: sa.Connection, customer_id: str, now: datetime, *, limit: int = 500) -> Person:
    """The story of `customer_id` as known at `now`; the timeline holds the last `limit` events. Raises UnknownPerson."""
    profile = conn.execute(sa.select(customer_profiles).where(customer_profiles.c.customer_id == customer_id)).mappings().one_or_none()
    stats = customer_event_stats.c
    count = int(conn.execute(sa.select(sa.func.coalesce(sa.func.sum(stats.n), 0)).where(stats.customer_id == customer_id)).scalar_one())
    journeys = list(
        conn.execute(
            sa.select(customer_journeys)
            .where(customer_journeys.c.customer_id == customer_id)
            .order_by(customer_journeys.c.id.desc())
            .limit(MAX_JOURNEYS)
        ).mappings()
    )
    waiting = _waiting(conn, customer_id)
    if profile is None and not count and not journeys and not waiting:
        raise UnknownPerson(customer_id, nearest_ids(conn, customer_id))
    policies = deployed_policies(conn)
    default_zone = policies.zone if policies else "UTC"
    zone = profile["zone"] if profile is not None and profile["zone"] else default_zone
    return Person(
        customer_id=customer_id,
        profile={
            name: value for name, value in (profile or {}).items() if name not in ("customer_id", "shard") and value not in (None, {})
        },
        zone=zone,
        zone_source="profile" if profile is not None and profile["zone"] else "policy",
        consents=_consents(conn, customer_id, now, {str(channel): text for channel, text in policies.consent.items()} if policies else {}),
        segments=_segments(conn, customer_id),
        timeline=moments(conn, customer_id, [journey["id"] for journey in journeys], limit),
        next=due_next(conn, customer_id, [dict(journey) for journey in journeys if journey["status"] == "active"]),
        waiting=waiting,
        events=count,
        left_out=max(count - limit, 0),
    )


def nearest_ids(conn: sa.Connection, customer_id: str, *, most: int = 5) -> list[str]:
    """Ids that look like `customer_id`: its neighbours in the order of the index, on both sides, the most similar first."""
    found: set[str] = set()
    for column in (customer_profiles.c.customer_id, customer_event_stats.c.customer_id):
        for condition, order in ((column >= customer_id, column.asc()), (column < customer_id, column.desc())):
            found |= set(conn.execute(sa.select(column).where(condition).order_by(order).limit(10)).scalars())
    return sorted(found, key=lambda known: (-difflib.SequenceMatcher(None, known, customer_id).ratio(), known))[:most]


def _waiting(conn: sa.Connection, customer_id: str) -> int:
    i = event_inbox.c
    # by shard, which leads the inbox's index
    some = sa.select(i.id).where(i.shard == sa.func.journeys.shard_of(customer_id), i.customer_id == customer_id).limit(1000)
    return int(conn.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one())


def _consents(conn: sa.Connection, customer_id: str, now: datetime, texts: Mapping[str, str]) -> list[Consent]:
    """Explicit rows win over the policy, as at the gate."""
    c = channel_consents.c
    latest = (
        sa.select(channel_consents)
        .where(c.customer_id == customer_id)
        .distinct(c.channel, c.topic)
        .order_by(c.channel, c.topic, c.at.desc(), c.id.desc())
    )
    found = [
        Consent(row["channel"], row["topic"], row["state"] == "granted", f"{row['state']} through {row['source']}", row["at"])
        for row in conn.execute(latest).mappings()
    ]
    explicit = {consent.channel for consent in found if consent.topic is None}
    at = sa.bindparam("now", now, sa.TIMESTAMP(timezone=True))
    for channel, predicate in consent_predicates(conn).items():
        if channel not in explicit:
            allowed = conn.execute(
                sa.select(predicate(customer_profiles, at)).where(customer_profiles.c.customer_id == customer_id)
            ).scalar()
            found.append(Consent(channel, None, bool(allowed), f"policy: {texts[channel]}"))
    for channel in ("email", "sms", "push"):
        if channel not in explicit and channel not in texts:
            found.append(Consent(channel, None, False, "no row and no policy: unknown is no, for marketing"))
    return sorted(found, key=lambda consent: (consent.channel, consent.topic or ""))


def _segments(conn: sa.Connection, customer_id: str) -> list[str]:
    s = segment_memberships.c
    return list(
        conn.execute(sa.select(s.segment_id).where(s.customer_id == customer_id, s.left_at.is_(None)).order_by(s.segment_id)).scalars()
    )
