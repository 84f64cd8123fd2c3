"""When schedules tick: cron and one-off instants of every active workflow, in a fixed zone or in each customer's own.

One tick per local time and day: in autumn's hour that comes twice the first, in spring's that does not come the first instant after it.
Pure but for the zones: a `Calendar` answers for any span of time, and keeps what it has worked out ahead.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim

from journey_pipelines.workflows.model import ScheduleTrigger

#: how far ahead ticks are worked out at a time
AHEAD = timedelta(hours=6)
#: later than this a tick is missed: `catchup` says what becomes of it
MISSED = timedelta(hours=1)
#: ticks so far back are worked out again where somebody asks for them
_KEPT = timedelta(days=2)
#: more than any wall is ahead of UTC, or behind it
_WIDEST = timedelta(hours=16)
#: more than a wall is turned at once
_TURNED = timedelta(hours=3)


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
        if self._start is None or self._until is None or after > self._until:
            self._start, self._until, self._ticks = after, after, []
        if after < self._start:
            self._ticks = self._found(after, self._start) + self._ticks
            self._start = after
        if until > self._until:
            # what a shard that is behind asks next stays, what lies further back than that is left behind
            first = bisect.bisect_right(self._ticks, after - _KEPT, key=lambda tick: tick.at)
            self._ticks = self._ticks[first:] + self._found(self._until, until + AHEAD)
            self._start, self._until = max(self._start, after - _KEPT), until + AHEAD
        first = bisect.bisect_right(self._ticks, after, key=lambda tick: tick.at)
        last = bisect.bisect_right(self._ticks, until, key=lambda tick: tick.at)
        return self._ticks[first:last]

    def _found(self, after: datetime, until: datetime) -> list[Tick]:
        found = [tick for schedule in self.schedules for tick in self._of(schedule, after, until)]
        return sorted(found, key=lambda tick: (tick.at, tick.workflow_id, tick.trigger.id))

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
        # the walls' times are the same for all 600 zones: cron is asked once
        walls = _walls(trigger, after, until)
        for zone in self._zones:
            for at in _on(walls, zone, after, until):
                by_instant.setdefault(at, []).append(zone)
        for at, zones in by_instant.items():
            yield Tick(at, schedule.workflow_id, trigger, tuple(zones))


@cache
def _place(zone: str) -> ZoneInfo:
    """ZoneInfo's own cache holds eight."""
    return ZoneInfo(zone)


def instants(trigger: ScheduleTrigger, zone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """UTC instants of a schedule's local times in a zone, in (after, until]."""
    return _on(_walls(trigger, after, until), zone, after, until)


def _walls(trigger: ScheduleTrigger, after: datetime, until: datetime) -> list[datetime]:
    """A schedule's times on any wall between two instants, and more: naive, so that cron counts wall-clock days; in order."""
    if until <= after:
        return []
    if trigger.at is not None:
        return [datetime.fromisoformat(trigger.at)]
    assert trigger.cron is not None
    # from a day before: what a gap swallows comes later than the wall said
    start = (after.astimezone(UTC) - timedelta(days=1) - _WIDEST).replace(tzinfo=None)
    end = (until.astimezone(UTC) + _TURNED + _WIDEST).replace(tzinfo=None)
    return list(takewhile(lambda local: local <= end, CronSim(trigger.cron, start)))


def _on(walls: Sequence[datetime], zone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """The instants in (after, until] of such times on the walls of a zone."""
    place = _place(zone)
    seen: set[datetime] = set()
    for local in walls[bisect.bisect_left(walls, (after.astimezone(place) - timedelta(days=1)).replace(tzinfo=None)) :]:
        at = utc_of(local, place)
        if at > until + _TURNED:
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
