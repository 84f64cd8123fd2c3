"""Schedules: a tick asks its audience in, an `enter.<workflow>` event per customer; and members of a segment asked in at activation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.compiler.details import built_object
from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.people import customer_scope, shard_people
from journey_pipelines.compiler.relevance import relevance_of
from journey_pipelines.compiler.statement import CUSTOMERS, DEFAULT_ZONE, NOW, SHARDS, TICK_AT, ZONES, Statement, compile_statement, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.expressions import compile_condition
from journey_pipelines.store.tables import customer_profiles, event_inbox, segment_memberships
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ScheduleTrigger
from journey_pipelines.workflows.triggers import enter_event

#: the place of a schedule's ticks at their instant: after its events, before dates, changes and segments (journeys.moment_id)
_BAND = 1
_COLUMNS = ["id", "source", "source_event_id", "customer_id", "type", "occurred_at", "received_at", "payload"]


@kept
def tick_statement(definition: Definition, trigger: ScheduleTrigger, around: Surroundings) -> Statement:
    """Ask the audience of some shards in, at :tick_at; with `timezone: customer` those who live in :zones."""
    # the audience as it is at the tick: everything that happened up to it, and no other tick of the same instant
    at_seq = sa.literal_column(str((_BAND << 60) - 1), sa.BigInteger)
    p = customer_profiles.alias("p")
    zone = sa.func.coalesce(p.c.zone, DEFAULT_ZONE)
    place = (TICK_AT.label("at"), at_seq.label("at_seq"))
    if relevance_of([trigger.audience], definition.catalogue).event_types:
        # also those of whom only events are known
        known = shard_people(with_events=True).alias("known")
        joined = known.outerjoin(p, p.c.customer_id == known.c.customer_id)
        people = sa.select(known.c.customer_id.label("person"), *place, p).select_from(joined)
    else:
        people = sa.select(p.c.customer_id.label("person"), *place, p).where(p.c.shard == sa.any_(SHARDS), _some(p.c.customer_id))
    if trigger.timezone == "customer":
        people = people.where(zone == sa.any_(ZONES))
    # a fence: the columns are those of the table, under names that a condition can read
    who = people.offset(lit(0)).subquery("who")
    query = sa.select(who.c.person.label("customer_id"))
    if trigger.audience:
        asked = SimpleNamespace(c=SimpleNamespace(customer_id=who.c.person, at=who.c.at, at_seq=who.c.at_seq))
        scope = customer_scope(asked, who, sa.func.coalesce(who.c.zone, DEFAULT_ZONE), around.brand, definition.catalogue)
        query = query.where(compile_condition(trigger.audience, scope).sql)
    tick = sa.func.journeys.iso(TICK_AT, type_=sa.Text)
    payload = built_object({"trigger": sa.literal(trigger.id, sa.Text), "tick": tick})
    key = sa.literal(f"{definition.workflow.id}|{trigger.id}|", sa.Text).concat(tick).concat(lit("|"))
    return _ask(f"{definition.workflow.id}/{trigger.id}: tick", definition, query, "schedule", key, TICK_AT, payload)


@kept
def existing_statement(definition: Definition, trigger_id: str, segment_id: str) -> Statement:
    """Ask the members that a segment has now in: `entry.existing: enter`."""
    m = segment_memberships
    shard = sa.func.journeys.shard_of(m.c.customer_id, type_=sa.SmallInteger)
    query = sa.select(m.c.customer_id).where(
        m.c.segment_id == segment_id, m.c.left_at.is_(None), shard == sa.any_(SHARDS), _some(m.c.customer_id)
    )
    payload = built_object({"trigger": sa.literal(trigger_id, sa.Text), "segment": sa.literal(segment_id, sa.Text)})
    key = sa.literal(f"{definition.workflow.id}|{trigger_id}|existing|{definition.content_hash()[:16]}|", sa.Text)
    return _ask(f"{definition.workflow.id}/{trigger_id}: existing members", definition, query, "existing", key, NOW, payload)


def _some(customer_id: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """The halves of a statement that failed."""
    return sa.or_(CUSTOMERS.is_(None), customer_id == sa.any_(CUSTOMERS))


def _ask(
    name: str,
    definition: Definition,
    customers: sa.Select[Any],
    source: str,
    key: sa.ColumnElement[Any],
    at: sa.ColumnElement[Any],
    payload: sa.ColumnElement[Any],
) -> Statement:
    """Each customer once for a key, whatever is retried: the key is the event's own (`event_keys`)."""
    c = customers.subquery("asked")
    band = sa.func.journeys.moment_id(lit(_BAND), type_=sa.BigInteger)
    # ids are longer than what a source_event_id may be together with the rest of the key: their hash stands for them
    event_id = key.concat(sa.func.md5(c.c.customer_id))
    type_ = sa.literal(enter_event(definition.workflow.id), sa.Text)
    rows = sa.select(band, lit(source), event_id, c.c.customer_id, type_, at, at, sa.cast(payload, JSONB))
    told = sa.insert(event_inbox).from_select(_COLUMNS, rows).returning(event_inbox.c.id).cte("told")
    query = sa.select(sa.select(sa.func.count()).select_from(told).scalar_subquery().label("asked"))
    statement = compile_statement(name, query)
    return Statement(name, _overriding(statement.sql), statement.params, statement.needs)


def _overriding(sql: str) -> str:
    """SQLAlchemy has no word for it: ids of moments are given, not drawn from the inbox's own sequence."""
    head = f"({', '.join(_COLUMNS)})"
    assert sql.count(head) == 1
    return sql.replace(head, f"{head} OVERRIDING SYSTEM VALUE")
