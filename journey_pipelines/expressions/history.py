"""What looks beyond the row: a customer's history, messages and results of steps, segments and journeys, and the local clock, as SQL.

History never sees the future: every look is bounded by the row's own place (at, at_seq). Without a window the counts kept at intake answer;
only where the latest event lies after the row's place is the history itself counted.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB

from journey_pipelines.store.tables import customer_event_stats, customer_events, customer_journeys, segment_memberships, zone_offsets

from . import values
from .names import STEP_EVENTS
from .operators import in_utc, json_at
from .scope import Scope
from .terms import INSTANT, MISSING, Sql, Term, as_time, call, condition, constant

_ONE: Sql = sa.literal_column("1")
_ZERO: Sql = sa.literal_column("0")
Events = sa.FromClause


def events_of(scope: Scope, event_type: str) -> tuple[Events, list[Sql]]:
    """The customer's events of a type up to the row's place: an alias of customer_events and its conditions, which its index serves."""
    events = customer_events.alias()
    return events, [events.c.customer_id == scope.customer_id, events.c.type == sa.literal(event_type, sa.Text()), _past(events, scope)]


def _past(events: Events, scope: Scope) -> Sql:
    return sa.tuple_(events.c.occurred_at, events.c.seq) <= sa.tuple_(scope.at, scope.at_seq)


def within(events: Events, scope: Scope, length: timedelta) -> Sql:
    return events.c.occurred_at >= scope.now - interval(length)


def since_time(events: Events, time: Sql) -> Sql:
    return events.c.occurred_at >= time


def since_place(events: Events, scope: Scope, place: str) -> Sql:
    """After the journey's entry ('entry'), or after it reached its step ('step'). KeyError where the scope has no journey."""
    at, seq = {"entry": ("entered_at", "entered_seq"), "step": ("step_entered_at", "step_entered_seq")}[place]
    if seq in scope.journey:
        return sa.tuple_(events.c.occurred_at, events.c.seq) > sa.tuple_(scope.journey[at], scope.journey[seq])
    return events.c.occurred_at > scope.journey[at]


def looked_up(function: str, events: Events, where: list[Sql], key: str = "") -> Term:
    """has_event, event_count, event_sum or last_event over the history itself."""
    if function == "has_event":
        return condition(_exists(events, where))
    if function == "event_count":
        return Term("num", scalar(events, sa.cast(sa.func.count(), sa.Numeric()), where, sa.Numeric()))
    if function == "last_event":
        return Term("ts", scalar(events, sa.func.max(events.c.occurred_at), where, INSTANT))
    number = call("num", json_at(events.c.payload, list(key.split("."))), sa.Numeric())
    total = scalar(events, sa.func.coalesce(sa.func.sum(number), _ZERO), where, sa.Numeric())
    return Term("num", call("fit", total, sa.Numeric()))


def kept(function: str, scope: Scope, event_type: str) -> Term:
    """has_event, event_count or last_event without a window: one row of the counts kept at intake."""
    stats = customer_event_stats.alias()
    events, where = events_of(scope, event_type)
    mine = [stats.c.customer_id == scope.customer_id, stats.c.type == sa.literal(event_type, sa.Text())]
    all_past = sa.tuple_(stats.c.last_at, stats.c.last_seq) <= sa.tuple_(scope.at, scope.at_seq)
    if function == "has_event":
        # an event before this instant is enough; only at the very instant does the order of arrival decide
        known = sa.case(
            (stats.c.first_at > scope.at, sa.false()),
            (stats.c.first_at < scope.at, sa.true()),
            (all_past, sa.true()),
            else_=_exists(events, where),
        )
        return condition(_exists(stats, [*mine, known]))
    counted = looked_up(function, events, where)
    ready: Sql = sa.cast(stats.c.n, sa.Numeric()) if function == "event_count" else stats.c.last_at
    found = scalar(stats, sa.case((all_past, ready), else_=counted.sql), mine, counted.sql.type)
    return Term("num", sa.func.coalesce(found, _ZERO, type_=sa.Numeric())) if function == "event_count" else Term("ts", found)


def engaged(scope: Scope, event_type: str, step: str, action: str | None) -> Term:
    """opened, clicked, replied, bounced: by a person, with a message of this journey. What a machine opened does not count."""
    events, where = events_of(scope, event_type)
    where += [
        events.c.journey_id == scope.journey["id"],
        call("txt", json_at(events.c.payload, ["step"]), sa.Text()) == sa.literal(step, sa.Text()),
        call("bool", json_at(events.c.payload, ["machine"]), sa.Boolean()).is_not(sa.true()),
    ]
    if action is not None:
        where.append(call("txt", json_at(events.c.payload, ["action"]), sa.Text()) == sa.literal(action, sa.Text()))
    return condition(_exists(events, where))


def step_result(scope: Scope, step: str, keys: list[str | int]) -> Term:
    """steps.<step>.<keys>: out of the last answer of a webhook or done task of that step of this journey. Without keys: is there one?"""
    events = customer_events.alias()
    where = [
        events.c.customer_id == scope.customer_id,
        events.c.type.in_([sa.literal_column(f"'{event_type}'") for event_type in STEP_EVENTS]),
        _past(events, scope),
        events.c.journey_id == scope.journey["id"],
        call("txt", json_at(events.c.payload, ["step"]), sa.Text()) == sa.literal(step, sa.Text()),
    ]
    if not keys:
        return condition(_exists(events, where))
    last_first = (events.c.occurred_at.desc(), events.c.seq.desc())
    found = sa.select(json_at(events.c.payload, keys)).select_from(events).where(*where).order_by(*last_first).limit(_ONE)
    return Term("json", sa.type_coerce(found.correlate_except(events).scalar_subquery(), JSONB()), raw=True)


def in_workflow(scope: Scope, workflow: str) -> Term:
    """Whether the customer has an active journey of a workflow: as known when processed, whatever the row's place."""
    journeys = customer_journeys.alias()
    mine = [
        journeys.c.customer_id == scope.customer_id,
        journeys.c.workflow_id == sa.literal(workflow, sa.Text()),
        journeys.c.status == sa.literal_column("'active'"),
    ]
    return condition(_is_one(journeys, mine))


def in_segment(scope: Scope, segment: str) -> Term:
    members = segment_memberships.alias()
    mine = [members.c.customer_id == scope.customer_id, members.c.segment_id == sa.literal(segment, sa.Text()), members.c.left_at.is_(None)]
    return condition(_is_one(members, mine))


def days_between(start: Term, end: Term) -> Term:
    """Days from start to end, a day being 24 hours, with 12 decimals."""
    a, b = as_time(start), as_time(end)
    if a.kind is None or b.kind is None:
        return MISSING
    if a.constant and b.constant:
        return constant(values.days_between(a.value, b.value))
    return Term("num", call("quotient", sa.extract("epoch", b.sql - a.sql), sa.literal_column("86400"), sa.Numeric()))


def later(start: Term, length: timedelta) -> Term:
    """A time plus elapsed time; missing past the ends of the calendar."""
    time = as_time(start)
    if time.kind is None:
        return MISSING
    if time.constant:
        return constant(values.later(time.value, length))
    latest = sa.literal(values.LATEST - length, INSTANT)
    fits = time.sql <= latest
    if length < timedelta(days=1):
        fits = sa.and_(time.sql >= sa.literal(values.EARLIEST - length, INSTANT), fits)
    return Term("ts", sa.case((fits, time.sql + interval(length))))


def local_hour(scope: Scope) -> Term:
    """0 to 23 on the customer's clock."""
    return Term("num", _local(scope, lambda local: sa.cast(sa.extract("hour", local), sa.Numeric()), sa.Numeric()))


def local_weekday(scope: Scope) -> Term:
    """mon to sun on the customer's calendar."""
    return Term("text", _local(scope, lambda local: sa.func.to_char(local, sa.literal_column("'dy'"), type_=sa.Text()), sa.Text()))


def _local(scope: Scope, read: Any, type_: Any) -> Sql:
    """From the table of offsets: AT TIME ZONE with a person's zone would raise on a name it does not know."""
    zones = zone_offsets.alias()
    read_out = sa.select(read(in_utc(scope.now) + zones.c.utc_offset)).where(zones.c.zone == scope.zone, zones.c.utc_to > scope.now)
    return sa.type_coerce(read_out.order_by(zones.c.utc_to).limit(_ONE).correlate_except(zones).scalar_subquery(), type_)


def interval(length: timedelta) -> Sql:
    """A length of elapsed time, not negative, to the microsecond."""
    micros = (length.days * 86_400 + length.seconds) * 1_000_000 + length.microseconds
    seconds = f"{micros // 1_000_000}.{micros % 1_000_000:06d}".rstrip("0").rstrip(".")
    return sa.cast(sa.literal(f"{seconds} seconds", sa.Text()), INTERVAL())


def _exists(table: Events, where: list[Sql]) -> Sql:
    return sa.exists(sa.select(_ONE).select_from(table).where(*where).correlate_except(table))


def _is_one(table: Events, where: list[Sql]) -> Sql:
    """As `_exists`, looked up row by row: of an EXISTS over many rows the planner may make a hash of the whole segment."""
    found = sa.select(sa.true()).select_from(table).where(*where).correlate_except(table).limit(_ONE).scalar_subquery()
    return sa.func.coalesce(sa.type_coerce(found, sa.Boolean()), sa.false(), type_=sa.Boolean())


def scalar(table: Events, what: Sql, where: list[Sql], type_: Any) -> Sql:
    """One value over rows of `table`, whose conditions may name the row around them."""
    return sa.type_coerce(sa.select(what).select_from(table).where(*where).correlate_except(table).scalar_subquery(), type_)
