"""Windows of waits: the first instant from a given one on that `until`, `between` or `on` allows, on the wall of the customer's zone.

A candidate a day, in the order of days. What lies before the given instant is passed over, so that nothing is due in the past, or twice in
a night that has an hour twice; a window that a gap has swallowed is passed over too.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from journey_pipelines.compiler.statement import TS, lit
from journey_pipelines.compiler.wall import Column, Moment, clock, day_of, in_order, instant_of, named, span, wall_of
from journey_pipelines.expressions.names import WEEKDAYS
from journey_pipelines.workflows.waits import AfterWait

#: From the day before, whose window may last over midnight, to the day or the second week ahead: a gap swallows one window, not the next.
_FIRST, _LAST, _LAST_OF_WEEKDAYS = -1, 3, 15


def opening(wait: AfterWait, base: Column, zone: Column) -> Moment:
    """When the window of a wait is open at or after `base`, first: `base` itself where it is open then, or where the wait has no window."""
    if not (wait.until or wait.between or wait.on):
        return Moment(base)
    first = named("base", at=base)
    base = first.c.at
    wall = wall_of(base, zone, "base_wall")
    days = in_order("days", _FIRST, _LAST_OF_WEEKDAYS if wait.on else _LAST)
    day = day_of(wall.c.local) + span(lit(0), days.c.n)
    start, end = wait.between or ("00:00", "00:00")
    begins = instant_of(day + clock(wait.until or start), zone, "begins")
    found = days.join(begins, sa.true())
    at: Column = begins.c.at
    where = [at >= base]
    if not wait.until:
        # an end that is not after its start is the next day's
        ends = instant_of(day + clock(end) + span(lit(0), lit(int(end <= start))), zone, "ends")
        found = found.join(ends, sa.true())
        at = sa.func.greatest(base, at, type_=TS)
        where = [base < ends.c.at, begins.c.at < ends.c.at]
    query = sa.select(at.label("at")).select_from(found).where(*allowed(day, wait.on), *where)
    window = query.order_by(days.c.n).limit(lit(1)).correlate_except(found).lateral("opening")
    return Moment(sa.func.coalesce(window.c.at, base, type_=TS), (first, wall, window))


def allowed(day: Column, on: Sequence[str] | None) -> list[Column]:
    """Whether a wall time is on one of these weekdays; None: on any."""
    if on is None:
        return []
    return [sa.extract("isodow", day).in_([lit(1 + WEEKDAYS.index(name)) for name in on])]
