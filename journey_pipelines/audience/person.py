"""One customer's story: profile, consents, what happened and why, what comes next. All look-ups go by the customer or by their journeys'
ids.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.audience.upcoming import Due, due_next
from journey_pipelines.engine.policies import consent_predicates, deployed_policies
from journey_pipelines.store.tables import (
    channel_consents,
    conversions,
    customer_event_stats,
    customer_events,
    customer_journeys,
    customer_profiles,
    event_inbox,
    event_quarantine,
    journey_transitions,
    messages,
    segment_memberships,
    tasks,
    workflow_action_logs,
)
from journey_pipelines.workflows.model import CHANNELS

# order at one instant: the event, then what it did
_RANKS = {"event": 0, "journey": 1, "action": 2, "message": 3, "goal": 4, "refused": 5}
_TIMER_SEQ = 9223372036854775807
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
class Moment:
    """One line of the timeline. `kind`: event, journey, action, message, goal, refused. `detail` is the row's own facts."""

    at: datetime
    kind: str
    what: str
    workflow_id: str | None = None
    journey_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[Any, ...] = ()


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
    timeline = _events(conn, customer_id, limit)
    for part in (_transitions, _messages, _actions, _goals):
        timeline += part(conn, customer_id, [journey["id"] for journey in journeys])
    timeline += _refused(conn, customer_id)
    return Person(
        customer_id=customer_id,
        profile={
            name: value for name, value in (profile or {}).items() if name not in ("customer_id", "shard") and value not in (None, {})
        },
        zone=zone,
        zone_source="profile" if profile is not None and profile["zone"] else "policy",
        consents=_consents(conn, customer_id, now, {str(channel): text for channel, text in policies.consent.items()} if policies else {}),
        segments=_segments(conn, customer_id),
        timeline=sorted(timeline, key=lambda moment: (moment.at, moment.order)),
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


def _events(conn: sa.Connection, customer_id: str, limit: int) -> list[Moment]:
    e = customer_events.c
    rows = conn.execute(
        sa.select(customer_events).where(e.customer_id == customer_id).order_by(e.occurred_at.desc(), e.seq.desc()).limit(limit)
    )
    moments = []
    for row in rows.mappings():
        detail = {"seq": row["seq"], "source": row["source"], "source_event_id": row["source_event_id"], "payload": row["payload"]}
        if row["original_occurred_at"]:
            detail["original_occurred_at"] = row["original_occurred_at"]
        moments.append(_moment("event", row["occurred_at"], row["seq"], row["type"], None, row["journey_id"], detail))
    return moments


def _transitions(conn: sa.Connection, customer_id: str, journeys: list[int]) -> list[Moment]:
    t = journey_transitions.c
    moments = []
    for row in conn.execute(sa.select(journey_transitions).where(t.journey_id.in_(journeys)).order_by(t.id)).mappings():
        detail = {name: row[name] for name in ("version", "visit", "from_step", "to_step", "why")} | dict(row["detail"] or {})
        moments.append(_moment("journey", row["at"], row["at_seq"], row["why"], row["workflow_id"], row["journey_id"], detail, row["id"]))
    return moments


def _messages(conn: sa.Connection, customer_id: str, journeys: list[int]) -> list[Moment]:
    m = messages.c
    shown = (
        "channel",
        "action_id",
        "step_key",
        "state",
        "reason",
        "attempts",
        "send_after",
        "expires_at",
        "accepted_at",
        "claimed_at",
        "updated_at",
    )
    rows = conn.execute(sa.select(messages).where(m.customer_id == customer_id).order_by(m.id.desc()).limit(MAX_JOURNEYS * 5)).mappings()
    return [
        _moment(
            "message",
            row["planned_at"],
            _TIMER_SEQ,
            row["state"],
            row["workflow_id"],
            row["journey_id"],
            {name: row[name] for name in (*shown, "message_key", "provider", "provider_message_id")},
            row["id"],
        )
        for row in rows
    ]


def _actions(conn: sa.Connection, customer_id: str, journeys: list[int]) -> list[Moment]:
    a = workflow_action_logs.c
    moments = []
    for row in conn.execute(sa.select(workflow_action_logs).where(a.journey_id.in_(journeys))).mappings():
        if row["kind"] in CHANNELS:
            continue  # the ledger tells it better
        detail = {name: row[name] for name in ("kind", "action_id", "step_key", "state", "reason")} | dict(row["detail"] or {})
        moments.append(_moment("action", row["at"], _TIMER_SEQ, row["kind"], row["workflow_id"], row["journey_id"], detail))
    open_tasks = {
        (t["journey_id"], t["step_key"], t["action_id"]): t
        for t in conn.execute(sa.select(tasks).where(tasks.c.journey_id.in_(journeys))).mappings()
    }
    for moment in moments:
        task = open_tasks.get((moment.journey_id, moment.detail["step_key"], moment.detail["action_id"]))
        if task is not None and isinstance(moment.detail, dict):
            moment.detail.update(title=task["title"], assignee=task["assignee"], due_at=task["due_at"], status=task["status"])
    return moments


def _goals(conn: sa.Connection, customer_id: str, journeys: list[int]) -> list[Moment]:
    rows = conn.execute(sa.select(conversions).where(conversions.c.journey_id.in_(journeys))).mappings()
    return [
        _moment(
            "goal",
            row["at"],
            row["event_seq"],
            row["event_type"],
            row["workflow_id"],
            row["journey_id"],
            {"value": row["value"], "exposed": row["exposed"], "event": row["event_seq"]},
        )
        for row in rows
    ]


def _refused(conn: sa.Connection, customer_id: str) -> list[Moment]:
    q = event_quarantine.c
    rows = conn.execute(sa.select(event_quarantine).where(q.customer_id == customer_id).order_by(q.id.desc()).limit(50)).mappings()
    return [
        _moment(
            "refused",
            row["occurred_at"] or row["received_at"] or row["quarantined_at"],
            row["inbox_id"] or 0,
            row["type"] or "event",
            None,
            None,
            {name: row[name] for name in ("source", "source_event_id", "reason", "sqlstate", "statement", "quarantined_at")},
        )
        for row in rows
    ]


def _moment(
    kind: str, at: datetime, seq: int, what: str, workflow_id: str | None, journey_id: int | None, detail: dict[str, Any], row_id: int = 0
) -> Moment:
    return Moment(at, kind, what, workflow_id, journey_id, detail, (seq, _RANKS[kind], row_id))


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
