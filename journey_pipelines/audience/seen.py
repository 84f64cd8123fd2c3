"""What apps really write: the event types with their payload fields, and the attributes of profiles, each with the types that were seen.

From samples: the newest events, at most so many of each type, and so many profiles. The types are those of catalogue.yaml; the engine's own
events are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.store.tables import customer_events, customer_profiles
from journey_pipelines.workflows.events import RESERVED_PREFIXES

#: events that are looked at, of these so many of one type, and profiles
NEWEST, OF_A_TYPE, PROFILES = 200_000, 1_000, 50_000


@dataclass(frozen=True)
class Seen:
    """`events`: type -> payload field -> type -> how often; `attributes`: attribute -> type -> how often. Types of values are text, number,
    bool, date, datetime, list and object; JSON null counts as absent.
    """

    events: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    attributes: dict[str, dict[str, int]] = field(default_factory=dict)


def seen(conn: sa.Connection, *, newest: int = NEWEST, of_a_type: int = OF_A_TYPE, profiles: int = PROFILES) -> Seen:
    """Look at `newest` events, `of_a_type` of each type at most, and at `profiles` profiles; one statement each."""
    found = Seen()
    for row in conn.execute(_event_fields(newest, of_a_type)):
        fields = found.events.setdefault(row.type, {})
        if row.key is not None:
            fields.setdefault(row.key, {})[row.kind] = row.n
    for row in conn.execute(_attributes(conn, profiles)):
        found.attributes.setdefault(row.key, {})[row.kind] = row.n
    return found


def main_type(kinds: Mapping[str, int]) -> str:
    """The type to declare where several were seen: a day among points in time is one, else the most frequent."""
    if kinds.keys() == {"date", "datetime"}:
        return "datetime"
    return max(sorted(kinds), key=lambda kind: kinds[kind])


def _event_fields(newest: int, of_a_type: int) -> sa.Select[Any]:
    e = customer_events.c
    # by seq, the primary key: no index leads from a type to its events, and none is worth keeping for this question
    last = sa.select(e.seq, e.type, e.payload).order_by(e.seq.desc()).limit(newest).subquery().c
    place = sa.func.row_number().over(partition_by=last.type, order_by=last.seq.desc())
    ours = sa.or_(*(sa.func.starts_with(last.type, prefix) for prefix in RESERVED_PREFIXES))
    some = sa.select(last.type, last.payload, place.label("place")).where(sa.not_(ours)).subquery().c
    pair = sa.func.jsonb_each(some.payload).table_valued("key", sa.column("value", JSONB)).lateral("pair")
    kind = _kind(pair.c.value)
    return (
        sa.select(some.type, pair.c.key, kind.label("kind"), sa.func.count().label("n"))
        .select_from(some.type.table.outerjoin(pair, sa.func.jsonb_typeof(pair.c.value) != "null"))
        .where(some.place <= of_a_type)
        .group_by(some.type, pair.c.key, kind)
        .order_by(some.type, pair.c.key, kind)
    )


def _attributes(conn: sa.Connection, profiles: int) -> sa.Select[Any]:
    # pages from all over the table, where it holds more than are wanted; the planner's estimate is near enough
    rows = conn.scalar(sa.text("SELECT reltuples FROM pg_class WHERE oid = 'journeys.customer_profiles'::regclass")) or 0
    table: Any = customer_profiles
    if rows > 2 * profiles:
        table = sa.tablesample(customer_profiles, sa.func.system(min(100.0, 120.0 * profiles / rows)))
    some = sa.select(table.c.attributes).limit(profiles).subquery()
    pair = sa.func.jsonb_each(some.c.attributes).table_valued("key", sa.column("value", JSONB)).lateral("pair")
    kind = _kind(pair.c.value)
    return (
        sa.select(pair.c.key, kind.label("kind"), sa.func.count().label("n"))
        .select_from(some.join(pair, sa.func.jsonb_typeof(pair.c.value) != "null"))
        .group_by(pair.c.key, kind)
        .order_by(pair.c.key, kind)
    )


def _kind(value: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The catalogue's word for a JSON value; text is a date where all of it is one (journeys.ts never raises)."""
    kind = sa.func.jsonb_typeof(value)
    text = value.op("#>>", return_type=sa.Text)(sa.literal_column("'{}'"))
    is_time = sa.func.journeys.ts(value).is_not(None)
    return sa.case(
        (kind == "number", sa.literal_column("'number'")),
        (kind == "boolean", sa.literal_column("'bool'")),
        (kind == "array", sa.literal_column("'list'")),
        (kind == "object", sa.literal_column("'object'")),
        (sa.and_(sa.func.length(text) == 10, is_time), sa.literal_column("'date'")),
        (is_time, sa.literal_column("'datetime'")),
        else_=sa.literal_column("'text'"),
    )
