"""Where an expression stands: the columns behind its names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .lookups import LookUps
from .names import CUSTOMER_COLUMNS, JOURNEY_FIELDS


@dataclass(frozen=True)
class EventScope:
    """The columns of one event: payload jsonb, type text, occurred_at timestamptz. All are NULL where there is no event."""

    payload: sa.ColumnElement[Any]
    type: sa.ColumnElement[Any]
    occurred_at: sa.ColumnElement[Any]


@dataclass(frozen=True)
class Scope:
    """The columns behind the names of an expression.

    customer: customer_profiles or anything with its columns; None where no profile is at hand. at, at_seq: the row's place in the
    customer's history, which it never looks beyond. now: what `now`, `within` and `days_since` count from. zone: a name of zone_offsets.
    journey: id (which opened() and its like and `steps` need too), entered_at, step_entered_at, visit, trigger, and entered_seq,
    step_entered_seq where `since='entry'` and `'step'` shall tell events of one instant apart; what is absent may not be named.
    brand: columns, or plain values.
    catalogue: attribute -> text | number | bool | date | datetime; other attributes are JSON. look_ups: where they are made once a row,
    for whoever joins them.
    """

    customer: sa.FromClause | None
    customer_id: sa.ColumnElement[Any]
    at: sa.ColumnElement[Any]
    at_seq: sa.ColumnElement[Any]
    zone: sa.ColumnElement[Any]
    event: EventScope | None
    arrived: EventScope | None
    journey: Mapping[str, sa.ColumnElement[Any]]
    brand: Mapping[str, Any]
    catalogue: Any
    now: sa.ColumnElement[Any]
    look_ups: LookUps | None = None


def placeholder_scope(catalogue: Any = None) -> Scope:
    """Every name of the language as a column of no table: enough to find what cannot be compiled."""
    instant = sa.TIMESTAMP(timezone=True)
    profile = sa.table("customer_profiles", *(sa.column(name) for name in (*CUSTOMER_COLUMNS, "attributes")))
    event = EventScope(sa.column("payload"), sa.column("type"), sa.column("occurred_at"))
    journey: dict[str, sa.ColumnElement[Any]] = {name: sa.column(name) for name in (*JOURNEY_FIELDS, "entered_seq", "step_entered_seq")}
    at = sa.column("at", instant)
    return Scope(profile, sa.column("customer_id"), at, sa.column("at_seq"), sa.column("zone"), event, event, journey, {}, catalogue, at)
