"""The table `zone_offsets`: every zone of the tz database, an offset period a row (engine.md, 14).

`AT TIME ZONE` is wrong around transitions and an unknown name kills its statement; one look-up in this table is right
for normal times, gaps and overlaps. The source is the `tzdata` package, not the system's files, so that all machines agree.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import metadata, resources
from io import BytesIO
from typing import IO, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from journey_pipelines.store.tables import zone_offsets

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = _EPOCH
LAST = datetime(2100, 1, 1, tzinfo=UTC)
# A rule of the tz database that runs on for ever ("last Sunday of March") keeps each offset for months.
_PROBE = timedelta(days=28)
_OPEN_PAST = "-infinity"
_OPEN_FUTURE = "infinity"


class Period(NamedTuple):
    """One offset of one zone, valid in [utc_from, utc_to); None = no end on that side."""

    utc_from: datetime | None
    utc_to: datetime | None
    offset: timedelta


@cache
def names() -> tuple[str, ...]:
    """All names of the tz database, links included, sorted."""
    listed = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return tuple(sorted(listed))


@cache
def zone(name: str) -> ZoneInfo:
    """The zone as the `tzdata` package has it. Raises KeyError for a name that it has not."""
    if name not in names():
        raise KeyError(f"unknown time zone {name!r}")
    with _file(name) as f:
        return ZoneInfo.from_file(f, key=name)


def _file(name: str) -> IO[bytes]:
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb")


def periods(name: str) -> list[Period]:
    """The zone's offsets in order, from FIRST to LAST; the first and the last are open."""
    with _file(name) as f:
        return _periods(f.read())


@cache
def _periods(raw: bytes) -> list[Period]:
    # keyed by the file's bytes: of 598 names 260 are links to another
    tz = ZoneInfo.from_file(BytesIO(raw))
    offset = _offset(tz, FIRST)
    ends: list[datetime | None] = []
    offsets = [offset]
    for at in _candidates(raw, tz):
        after = _offset(tz, at)
        if after != offset:
            ends.append(at)
            offsets.append(after)
            offset = after
    return [Period(a, b, o) for a, b, o in zip([None, *ends], [*ends, None], offsets, strict=True)]


def write_zones(conn: sa.Connection) -> int:
    """Bring `zone_offsets` to what this installation's `tzdata` says; returns the number of rows written, 0 if it was right already.

    A new tz release changes the future of a few zones each year, so deploy calls this, too.
    """
    wanted = list(_rows())
    t = zone_offsets.c
    columns = (t.zone, sa.cast(t.utc_from, sa.Text), sa.cast(t.utc_to, sa.Text), sa.extract("epoch", t.utc_offset))
    stored = conn.execute(sa.select(*columns).order_by(t.zone.collate("C"), t.utc_to)).all()
    if [tuple(row) for row in stored] == [(z, a, b, seconds) for z, a, b, seconds, _ in wanted]:
        return 0
    conn.execute(sa.delete(zone_offsets))
    driver = conn.connection.driver_connection
    assert driver is not None
    into = "COPY journeys.zone_offsets (zone, utc_from, utc_to, utc_offset, local_to) FROM STDIN"
    with driver.cursor() as cursor, cursor.copy(into) as copy:
        for name, utc_from, utc_to, seconds, local_to in wanted:
            copy.write_row((name, utc_from, utc_to, f"{seconds} seconds", local_to))
    return len(wanted)


def _rows() -> Iterator[tuple[str, str, str, int, str]]:
    for name in names():
        for period in periods(name):
            yield (
                name,
                _sql(period.utc_from, _OPEN_PAST),
                _sql(period.utc_to, _OPEN_FUTURE),
                int(period.offset.total_seconds()),
                _OPEN_FUTURE if period.utc_to is None else f"{period.utc_to.replace(tzinfo=None) + period.offset}",
            )


def _sql(at: datetime | None, unbounded: str) -> str:
    return unbounded if at is None else f"{at:%Y-%m-%d %H:%M:%S}+00"


def _offset(tz: ZoneInfo, at: datetime) -> timedelta:
    offset = at.astimezone(tz).utcoffset()
    assert offset is not None
    return offset


def _candidates(raw: bytes, tz: ZoneInfo) -> Iterator[datetime]:
    """Every instant in (FIRST, LAST) where the offset may change: those the file lists, then, by probing, those its last rule makes."""
    last = FIRST
    for seconds in _listed(raw):
        at = _EPOCH + timedelta(seconds=seconds)
        if FIRST < at < LAST:
            yield at
            last = at
    # the footer is the rule for the time after the table (RFC 9636, 3.3): with a comma it changes to summer time and back
    if b"," not in raw.rstrip(b"\n").rpartition(b"\n")[2]:
        return
    while last < LAST:
        probe = min(last + _PROBE, LAST)
        before = _offset(tz, last)
        if _offset(tz, probe) != before:
            low, high = int(last.timestamp()), int(probe.timestamp())
            while high - low > 1:
                middle = (low + high) // 2
                if datetime.fromtimestamp(middle, tz).utcoffset() == before:
                    low = middle
                else:
                    high = middle
            probe = datetime.fromtimestamp(high, UTC)
            yield probe
        last = probe


def _listed(raw: bytes) -> tuple[int, ...]:
    """The transition times of a TZif file, seconds since 1970 (RFC 9636, 3.2: the second block holds 64-bit times)."""
    isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt = struct.unpack(">6l", raw[20:44])
    second = 44 + timecnt * 5 + typecnt * 6 + charcnt + leapcnt * 8 + isstdcnt + isutcnt
    (timecnt,) = struct.unpack(">l", raw[second + 32 : second + 36])
    return struct.unpack(f">{timecnt}q", raw[second + 44 : second + 44 + timecnt * 8])


def tz_release() -> str:
    """The release of the tz database in use, such as '2026.1'."""
    return metadata.version("tzdata")
