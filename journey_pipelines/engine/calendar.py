"""When schedules tick: cron and one-off instants of every active workflow, in a fixed zone or in each customer's own.

One tick per local time and day: in autumn's hour that comes twice the first, in spring's that does not come the first instant after it.
Pure but for the zones: a `Calendar` answers for any span of time, and keeps what it has worked out ahead.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim

from journey_pipelines.workflows.model import ScheduleTrigger

#: how far ahead ticks are worked out at a time
AHEAD = timedelta(hours=6)
#: later than this a tick is missed: `catchup` says what becomes of it
MISSED = timedelta(hours=1)


@dataclass(frozen=True)
class Tick:
    """An instant of a schedule: for everybody, or for the customers of some zones."""

    at: datetime
    workflow_id: str
    trigger: ScheduleTrigger
    zones: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scheduled:
    """A schedule that is active since `since`; earlier ticks are none."""

    workflow_id: str
    trigger: ScheduleTrigger
    since: datetime


@dataclass
class Calendar:
    """The ticks of all schedules."""

    schedules: tuple[Scheduled, ...]
    _start: datetime | None = None
    _until: datetime | None = None
    _ticks: list[Tick] = field(default_factory=list)

    def between(self, after: datetime, until: datetime) -> list[Tick]:
        """Ticks later than `after`, up to and with `until`, in order."""
        if not self.schedules or until <= after:
            return []
        if self._start is None or self._until is None or after < self._start or until > self._until:
            start, end = after, until + AHEAD
            self._start, self._until = start, end
            found = [tick for schedule in self.schedules for tick in self._of(schedule, start, end)]
            self._ticks = sorted(found, key=lambda tick: (tick.at, tick.workflow_id, tick.trigger.id))
        first = bisect.bisect_right(self._ticks, after, key=lambda tick: tick.at)
        last = bisect.bisect_right(self._ticks, until, key=lambda tick: tick.at)
        return self._ticks[first:last]

    @cached_property
    def _zones(self) -> list[str]:
        return sorted(available_timezones())

    def _of(self, schedule: Scheduled, after: datetime, until: datetime) -> Iterator[Tick]:
        after = max(after, schedule.since)
        trigger = schedule.trigger
        if trigger.timezone != "customer":
            for at in instants(trigger, trigger.timezone, after, until):
                yield Tick(at, schedule.workflow_id, trigger)
            return
        by_instant: dict[datetime, list[str]] = {}
        for zone in self._zones:
            for at in instants(trigger, zone, after, until):
                by_instant.setdefault(at, []).append(zone)
        for at, zones in by_instant.items():
            yield Tick(at, schedule.workflow_id, trigger, tuple(zones))


@cache
def _place(zone: str) -> ZoneInfo:
    """ZoneInfo's own cache holds eight."""
    return ZoneInfo(zone)


def instants(trigger: ScheduleTrigger, zone: str, after: datetime, until: datetime) -> Iterable[datetime]:
    """UTC instants of a schedule's local times in a zone, in (after, until]."""
    if until <= after:
        return
    place = _place(zone)
    if trigger.at is not None:
        at = utc_of(datetime.fromisoformat(trigger.at), place)
        if after < at <= until:
            yield at
        return
    assert trigger.cron is not None
    # naive local times, so that cron counts wall-clock days; from a day before, because the wall may be ahead or behind
    seen: set[datetime] = set()
    for local in CronSim(trigger.cron, (after.astimezone(place) - timedelta(days=1)).replace(tzinfo=None)):
        at = utc_of(local, place)
        if at > until + timedelta(hours=3):
            return
        if after < at <= until and at not in seen:
            seen.add(at)
            yield at


def utc_of(local: datetime, place: ZoneInfo) -> datetime:
    """A wall time's instant: the first of two, the first after a gap."""
    first = local.replace(tzinfo=place, fold=0)
    at = first.astimezone(UTC)
    if at.astimezone(place).replace(tzinfo=None) == local:
        return at
    # in a gap: fold=0 counts with the offset before it, so that the gap's own length beyond its start; its end is where the offset changes
    before, behind = first.utcoffset(), local.replace(tzinfo=place, fold=1).utcoffset()
    assert before is not None and behind is not None
    low, high = (local - behind).replace(tzinfo=UTC), (local - before).replace(tzinfo=UTC)
    low, high = min(low, high), max(low, high)
    while high - low > timedelta(microseconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(place).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def due(ticks: Iterable[Tick], now: datetime, *, late: bool, begun: Collection[tuple[str, str, datetime]] = frozenset()) -> Iterator[Tick]:
    """Those to be run of ticks up to now, in order: missed ones by their `catchup`. `late` False: nothing is (a replay's clock jumps);
    `begun`: (workflow, trigger, instant) of ticks that were not missed by everybody.
    """
    ordered = list(ticks)
    # by zone: those that share an instant today did not on the other side of a change of clocks
    latest = {(tick.workflow_id, tick.trigger.id, zone): tick.at for tick in ordered for zone in tick.zones or ("",)}
    for tick in ordered:
        missed = late and now - tick.at > MISSED and (tick.workflow_id, tick.trigger.id, tick.at) not in begun
        if not missed:
            yield tick
        elif tick.trigger.catchup == "last":
            last = [zone for zone in tick.zones or ("",) if latest[tick.workflow_id, tick.trigger.id, zone] == tick.at]
            if last:
                yield replace(tick, zones=tuple(zone for zone in last if zone))
