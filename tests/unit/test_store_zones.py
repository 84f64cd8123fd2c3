"""The periods of every zone agree with zoneinfo at every moment, whatever the system's own files say."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

from journey_pipelines.store import zones


def test_every_zone_is_covered_without_gap() -> None:
    assert len(zones.names()) > 590
    assert "localtime" not in zones.names()
    for name in zones.names():
        periods = zones.periods(name)
        assert periods[0].utc_from is None and periods[-1].utc_to is None
        assert all(a.utc_to == b.utc_from and a.offset != b.offset for a, b in itertools.pairwise(periods)), name


def test_offsets_at_random_moments_and_around_each_change() -> None:
    for name in zones.names():
        tz = zones.zone(name)
        periods = zones.periods(name)
        changes = [p.utc_to for p in periods if p.utc_to is not None]
        moments = [zones.FIRST + timedelta(seconds=random.randrange(int((zones.LAST - zones.FIRST).total_seconds()))) for _ in range(20)]
        for change in random.sample(changes, min(10, len(changes))):
            moments += [change - timedelta(seconds=1), change, change + timedelta(seconds=1)]
        for moment in moments:
            period = next(p for p in periods if p.utc_to is None or moment < p.utc_to)
            assert moment.astimezone(tz).utcoffset() == period.offset, (name, moment)


def test_changes_that_people_remember() -> None:
    assert datetime(2026, 3, 29, 1, tzinfo=UTC) in {p.utc_to for p in zones.periods("Europe/Berlin")}
    assert datetime(2099, 10, 25, 1, tzinfo=UTC) in {p.utc_to for p in zones.periods("Europe/Berlin")}
    # Samoa went over the date line, a day was left out
    assert datetime(2011, 12, 30, 10, tzinfo=UTC) in {p.utc_to for p in zones.periods("Pacific/Apia")}
    assert len(zones.periods("UTC")) == 1
