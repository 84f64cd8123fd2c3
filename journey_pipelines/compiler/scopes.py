"""What an expression's names mean in each place: the row of a trigger, of a rule about a journey, of a step."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.statement import DEFAULT_ZONE, lit
from journey_pipelines.expressions import EventScope, Scope
from journey_pipelines.store.tables import customer_events, customer_profiles, journey_context

Columns = Any  # a CTE, lateral or alias: anything with `.c`


def profile_of(customer_id: sa.ColumnElement[Any], name: str = "p") -> LateralFromClause:
    """One customer's profile; no row where there is none."""
    return sa.select(customer_profiles).where(customer_profiles.c.customer_id == customer_id).limit(lit(1)).lateral(name)


def context_of(journey_id: sa.ColumnElement[Any], name: str = "c") -> LateralFromClause:
    """The entry event of one journey."""
    return sa.select(journey_context).where(journey_context.c.journey_id == journey_id).limit(lit(1)).lateral(name)


def event_of(seq: sa.ColumnElement[Any], name: str = "arr") -> LateralFromClause:
    """One event of the history by its seq."""
    return (
        sa.select(customer_events.c.seq, customer_events.c.type, customer_events.c.occurred_at, customer_events.c.payload)
        .where(customer_events.c.seq == seq)
        .limit(lit(1))
        .lateral(name)
    )


def event_scope(rows: Columns) -> EventScope:
    """The envelope and payload of rows with payload, type and occurred_at."""
    return EventScope(payload=rows.c.payload, type=rows.c.type, occurred_at=rows.c.occurred_at)


def entry_scope(event: Columns, profile: Columns, brand: Mapping[str, Any], types: Mapping[str, str]) -> Scope:
    """A trigger's `when`, the entry's `when` and `key`: the event is both `event` and the row's own time."""
    return Scope(
        customer=profile,
        customer_id=event.c.customer_id,
        at=event.c.occurred_at,
        at_seq=event.c.seq,
        zone=sa.func.coalesce(profile.c.zone, DEFAULT_ZONE),
        event=event_scope(event),
        arrived=None,
        journey={},
        brand=brand,
        catalogue=types,
        now=event.c.occurred_at,
    )


def journey_scope(
    journey: Columns,
    profile: Columns,
    context: Columns,
    arrived: EventScope | None,
    at: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]],
    brand: Mapping[str, Any],
    types: Mapping[str, str],
) -> Scope:
    """A step's conditions and values, and rules that compare an arriving event with a journey.

    `at` is the row's own place in the customer's history: the journey's logical time in a step, the event's in a rule.
    """
    return Scope(
        customer=profile,
        customer_id=journey.c.customer_id,
        at=at[0],
        at_seq=at[1],
        zone=sa.func.coalesce(profile.c.zone, DEFAULT_ZONE),
        event=EventScope(payload=context.c.event, type=context.c.event_type, occurred_at=journey.c.entered_at),
        arrived=arrived,
        journey={
            "id": journey.c.id,
            "entered_at": journey.c.entered_at,
            "entered_seq": journey.c.entered_seq,
            "step_entered_at": journey.c.at,
            "step_entered_seq": journey.c.at_seq,
            "visit": journey.c.visit,
            "trigger": journey.c.trigger_id,
        },
        brand=brand,
        catalogue=types,
        now=at[0],
    )


def later(
    a: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]], b: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]
) -> sa.ColumnElement[bool]:
    """(occurred_at, seq) of a after that of b: the one order of a customer's history."""
    return sa.tuple_(*a) > sa.tuple_(*b)
