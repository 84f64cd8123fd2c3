"""Times on a person's wall clock, in plain `zoneinfo`: what the waits of the language mean (workflow-language.md, Waits; engine.md, 14).

A wall time that does not exist is the first instant after the gap, an ambiguous one the first of the two. Days and months of a wait are
counted on the wall, the rest of it as elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import cache

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.expressions.names import WEEKDAYS
from journey_pipelines.store.zones import zone as zone_named
from journey_pipelines.workflows.model import AfterWait, DateTrigger, Offset, ScheduleTrigger


def on_the_wall(at: datetime, zone: str) -> datetime:
    """An instant as the clock on the wall shows it, without a zone."""
    return at.astimezone(zone_named(zone)).replace(tzinfo=None)


def instant(wall: datetime, zone: str) -> datetime:
    """When the clock on the wall shows `wall`."""
    first, second = (wall.replace(tzinfo=zone_named(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first
    # a gap: `first` is read with the offset before it and lies behind it, `second` with the one after it
    before, after = second, first
    old = before.astimezone(zone_named(zone)).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        before, after = (middle, after) if middle.astimezone(zone_named(zone)).utcoffset() == old else (before, middle)
    return after.replace(microsecond=0)


def plus(wall: datetime, length: Duration, sign: int = 1) -> datetime:
    """Months (to the month's last day where it is shorter), then days, of a wall time."""
    month = wall.year * 12 + wall.month - 1 + sign * length.months
    first = wall.replace(year=month // 12, month=month % 12 + 1, day=1)
    last = ((first + timedelta(days=31)).replace(day=1) - timedelta(days=1)).day
    return first.replace(day=min(wall.day, last)) + sign * timedelta(days=length.days)


def later(at: datetime, length: Duration, zone: str) -> datetime:
    """`after: length`."""
    if not length.is_calendar:
        return at + timedelta(seconds=length.seconds)
    return instant(plus(on_the_wall(at, zone), length), zone) + timedelta(seconds=length.seconds)


def of_day(text: str) -> time:
    """'09:00'."""
    return time.fromisoformat(text)


def opens(wait: AfterWait, at: datetime, zone: str) -> datetime:
    """The first instant from `at` on that the wait's window allows (`until`, `between`, `on`); `at` where it has none."""
    if wait.until is not None:
        moments = (instant(datetime.combine(day, of_day(wait.until)), zone) for day in _days(at, zone, wait.on))
        return next(moment for moment in moments if moment >= at)
    if wait.between is None and wait.on is None:
        return at
    start, end = (of_day(text) for text in wait.between or ("00:00", "00:00"))
    for day in _days(at, zone, wait.on):
        begins = instant(datetime.combine(day, start), zone)
        ends = instant(datetime.combine(day if start < end else day + timedelta(days=1), end), zone)
        if at < ends and begins < ends:
            return max(at, begins)
    raise AssertionError("a window that never opens")


def on_date(date: datetime, offset: Offset | None, at: str | None, zone: str, *, kind: str) -> datetime:
    """A date of a person, moved by `offset` on the calendar, at the local time `at` (None: its own).

    `kind`: a `date` is that day wherever the person is, a `time` is a point in time, of which the local day counts; of what is neither
    declared nor typed (`unknown`) midnight UTC is a date.
    """
    is_day = kind == "date" or (kind == "unknown" and date.time() == time())
    wall = date.replace(tzinfo=None) if is_day else on_the_wall(date, zone)
    return moved(wall, offset, at, zone) if is_day or at or (offset and offset.length.is_calendar) else date + _seconds(offset)


def moved(wall: datetime, offset: Offset | None, at: str | None, zone: str) -> datetime:
    """A wall time moved by the calendar part of `offset`, at the local time `at`, as an instant; then the rest of the offset."""
    if offset is not None:
        wall = plus(wall, offset.length, -1 if offset.before else 1)
    if at is not None:
        wall = datetime.combine(wall.date(), of_day(at))
    return instant(wall, zone) + _seconds(offset)


def _seconds(offset: Offset | None) -> timedelta:
    return timedelta(seconds=(-1 if offset.before else 1) * offset.length.seconds) if offset else timedelta(0)


def _days(at: datetime, zone: str, on: Sequence[str] | None) -> Iterator[datetime]:
    """Local midnights from the day before `at` on, those of the weekdays `on`."""
    day = datetime.combine(on_the_wall(at, zone).date(), time()) - timedelta(days=1)
    for _ in range(400):
        if on is None or WEEKDAYS[day.weekday()] in on:
            yield day
        day += timedelta(days=1)


def anniversaries(date: datetime, trigger: DateTrigger, after: datetime, zone: str, *, kind: str) -> Iterator[datetime]:
    """A yearly date of the years around `after`, none before the date itself: 29 February is the 28th where there is none."""
    is_day = kind == "date" or (kind == "unknown" and date.time() == time())
    wall = date.replace(tzinfo=None) if is_day else on_the_wall(date, zone)
    for age in range(max(0, after.year - wall.year - 2), max(0, after.year - wall.year) + 3):
        yield moved(plus(wall, Duration(months=12 * age)), trigger.offset, trigger.at, zone)


@cache
def ticks(trigger: ScheduleTrigger, after: datetime, until: datetime, zone: str) -> list[datetime]:
    """Instants in (after, until] of a schedule: each local time once, whatever the clocks do."""
    if trigger.at is not None:
        walls = [datetime.fromisoformat(trigger.at)]
    else:
        minute, hour, day, month, weekday = (trigger.cron or "").split()
        first, last = on_the_wall(after, zone).date() - timedelta(days=1), on_the_wall(until, zone).date()
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        dates = [d for d in days if _in_cron(day, d.day) and _in_cron(month, d.month) and _in_cron(weekday, d.isoweekday() % 7)]
        walls = [
            datetime.combine(d, time(h, n)) for d in dates for h in range(24) if _in_cron(hour, h) for n in range(60) if _in_cron(minute, n)
        ]
    return sorted({at for wall in walls if after < (at := instant(wall, zone)) <= until})


def _in_cron(field: str, value: int) -> bool:
    """One field of a cron line: numbers, ranges, lists and `*/n`."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = ("0", "", "59") if span == "*" else span.partition("-")
        if int(low) <= value <= int(high or low) and (value - int(low)) % int(step or 1) == 0:
            return True
    return False
