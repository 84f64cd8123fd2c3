"""The next instant at which time alone may change a condition, as SQL: so that it is asked again then, and not at every tick."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from jinja2 import nodes

from . import history, values
from .compile import Compiler, checked
from .parse import parse_expression
from .scope import Scope
from .terms import INSTANT, Sql, Term, as_time
from .timing import TICK, Crossing, Look, Timing, timing

# What is true of these while one event is left changes only when the newest one leaves.
_NEWEST = ("has_event", "last_event")


def compile_recheck(text: str, scope: Scope) -> Sql | None:
    """timestamptz: the earliest instant after `scope.now` at which the truth of a condition may differ by the passing of time alone.

    NULL where it never does for the row, None where it does not depend on time at all. Time passes for `now` and for the row's place
    (at, at_seq) together; new events, a changed profile, segments and journeys are not time's business. The instant may be too early, then
    one evaluation finds nothing new; it is never too late for what `timing` can work out. Everything else is looked at every quarter of an
    hour: zones are whole quarters away from UTC and change at whole quarters, so that local_hour() and local_weekday() are never late
    either. Raises ExpressionError.
    """
    instants = _instants(timing(checked(parse_expression(text), truth=True)), Compiler(scope))
    return _earliest(instants) if instants else None


def _instants(found: Timing, compiler: Compiler) -> list[Sql]:
    instants = [instant for crossing in found.crossings for instant in _crossed(crossing, compiler)]
    for look in found.looks:
        instants += _looked(look, compiler)
    if found.polled:
        instants.append(_next_quarter(compiler.scope.now))
    return instants


def _earliest(instants: list[Sql]) -> Sql:
    return instants[0] if len(instants) == 1 else sa.func.least(*instants, type_=INSTANT)


def _crossed(crossing: Crossing, compiler: Compiler) -> list[Sql]:
    time = as_time(compiler.value(crossing.time))
    if time.kind is None:
        return []
    moved = [_moved(time, offset) for offset in crossing.offsets]
    now = compiler.scope.now
    # a NULL is ignored by greatest, so that what is missing ends as NULL like what is past
    return [_nullif(sa.func.greatest(instant, now, type_=INSTANT), now) for instant in moved if instant is not None]


def _moved(time: Term, offset: timedelta) -> Sql | None:
    """time + offset, NULL (or a time long past) where that leaves the calendar; None where it does so for every time.

    The time stands there once, as it may be a look into history: it is cut to where the sum cannot overflow, not compared first.
    """
    if time.constant:
        instant = _inside(time.value, offset)
        return None if instant is None else sa.literal(instant, INSTANT)
    latest = sa.literal(values.LATEST, INSTANT)
    if offset >= timedelta(0):
        last = _inside(values.LATEST, -offset)
        if last is None:
            return None
        return _nullif(sa.func.least(time.sql, sa.literal(last, INSTANT), type_=INSTANT) + history.interval(offset), latest)
    first = _inside(values.EARLIEST, -offset)
    if first is None:
        return None
    start = sa.func.greatest(time.sql, sa.literal(first, INSTANT), type_=INSTANT)
    return _nullif(sa.func.least(start - history.interval(-offset), latest, type_=INSTANT), latest)


def _inside(time: datetime, offset: timedelta) -> datetime | None:
    try:
        moved = time + offset
    except OverflowError:
        return None
    return moved if values.EARLIEST <= moved <= values.LATEST else None


def _looked(look: Look, compiler: Compiler) -> list[Sql]:
    """An event leaves its window a microsecond after the last moment in it; until then, what counts changes only where when= does."""
    assert isinstance(look.call.node, nodes.Name), "timing finds calls by name"
    instants: list[Sql] = []
    if look.within is not None:
        events, where = compiler.looked_at(look.call)
        leaves = look.within + TICK
        edge = sa.func.max if look.call.node.name in _NEWEST else sa.func.min
        where.append(events.c.occurred_at <= sa.literal(values.LATEST - leaves, INSTANT))
        instants.append(history.scalar(events, edge(events.c.occurred_at) + history.interval(leaves), where, INSTANT))
    if look.inner.crossings:
        events, where = compiler.looked_at(look.call, with_when=False)
        changes = _instants(Timing(look.inner.crossings), compiler.inside(events))
        if changes:
            instants.append(history.scalar(events, sa.func.min(_earliest(changes)), where, INSTANT))
    return instants


def _next_quarter(now: Sql) -> Sql:
    quarter: Sql = sa.literal_column("interval '15 minutes'")
    start = sa.func.date_bin(quarter, now, sa.literal_column("timestamptz '0001-01-01 00:00+00'"), type_=INSTANT)
    return sa.type_coerce(start + quarter, INSTANT)


def _nullif(instant: Sql, other: Sql) -> Sql:
    return sa.func.nullif(instant, other, type_=INSTANT)
