"""Clocks on customers' walls, in SQL: from an instant to the wall of a zone and back, through `zone_offsets` (engine.md, 14).

`AT TIME ZONE` is wrong around changes of clocks. One look-up is right: a wall time that does not exist is the first instant after the gap,
one that is there twice the first of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.statement import TS, lit
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.store.tables import zone_offsets

Column = sa.ColumnElement[Any]
LOCAL = sa.TIMESTAMP()


@dataclass(frozen=True)
class Moment:
    """An instant, and the laterals that it is computed with, in the order they have to be joined."""

    at: Column
    laterals: tuple[sa.FromClause, ...] = ()

    def joined(self, source: Any) -> Any:
        """`source` with the laterals."""
        for lateral in self.laterals:
            source = source.outerjoin(lateral, sa.true())
        return source


def utc(local: Column) -> Column:
    """A wall time read as UTC's."""
    return sa.func.timezone(lit("UTC"), local, type_=TS)


def in_utc(at: Column) -> Column:
    """What UTC's wall shows."""
    return sa.func.timezone(lit("UTC"), at, type_=LOCAL)


def interval(length: timedelta) -> Column:
    """Elapsed time as a parameter."""
    return sa.literal(length, sa.Interval())


def day_of(local: Column) -> Column:
    """The midnight before a wall time."""
    return sa.func.date_trunc(lit("day"), local, type_=LOCAL)


def clock(text: str) -> Column:
    """'09:30' as an interval after midnight."""
    at = time.fromisoformat(text)
    return interval(timedelta(hours=at.hour, minutes=at.minute))


def span(months: Any, days: Any) -> Column:
    """Months and days as an interval: added to a wall time, a month ends with its last day where it is shorter."""
    return sa.func.make_interval(lit(0), months, lit(0), days, type_=sa.Interval())


def span_of(duration: Duration) -> Column:
    """The calendar part of a duration."""
    return span(lit(duration.months), lit(duration.days))


def wall_of(at: Column, zone: Column, name: str, *where: Column) -> LateralFromClause:
    """One row with `local`, what the wall of a zone shows at an instant; no row for a zone that the table does not know.

    `name` is the lateral's, and has to be its own in the statement. where: for which rows to look at all.
    """
    z = zone_offsets.alias(f"{name}_zone")
    return (
        sa.select((in_utc(at) + z.c.utc_offset).label("local"))
        .select_from(z)
        .where(*where, z.c.zone == zone, z.c.utc_to > at)
        .order_by(z.c.utc_to)
        .limit(lit(1))
        .correlate_except(z)
        .lateral(name)
    )


def instant_of(local: Column, zone: Column, name: str) -> LateralFromClause:
    """One row with `at`, when the wall of a zone shows `local`."""
    z = zone_offsets.alias(f"{name}_zone")
    return (
        sa.select(sa.func.greatest(z.c.utc_from, utc(local - z.c.utc_offset), type_=TS).label("at"))
        .select_from(z)
        .where(z.c.zone == zone, z.c.local_to > local)
        .order_by(z.c.local_to)
        .limit(lit(1))
        .correlate_except(z)
        .lateral(name)
    )


def named(name: str, **columns: Column) -> LateralFromClause:
    """One row with these columns, so that what is long is worked out and written once."""
    return sa.select(*(column.label(key) for key, column in columns.items())).correlate_except().lateral(name)


def in_order(name: str, first: int, last: int) -> sa.Subquery:
    """Rows `n`: the whole numbers from `first` to `last`. Sorted here, so that who looks for the first that will do stops there (0.1 ms a
    journey instead of 0.5: the planner does not know that the function's rows come in order, and would work out all of them).
    """
    numbers = sa.func.generate_series(lit(first), lit(last)).table_valued(sa.column("n", sa.Integer)).render_derived("numbers")
    return sa.select(numbers.c.n).order_by(numbers.c.n).subquery(name)


def after(at: Column, duration: Duration, zone: Column) -> Moment:
    """`after: duration` from an instant on: months and days keep the clock on the wall, the rest is elapsed time."""
    elapsed = timedelta(seconds=duration.seconds)
    if not duration.is_calendar:
        return Moment(at + interval(elapsed) if elapsed else at)
    wall = wall_of(at, zone, "after_wall")
    back = instant_of(wall.c.local + span_of(duration), zone, "after")
    # without a row the zone is not known: the same span on UTC's wall
    due = sa.func.coalesce(back.c.at, utc(in_utc(at) + span_of(duration)), type_=TS)
    return Moment(due + interval(elapsed) if elapsed else due, (wall, back))
