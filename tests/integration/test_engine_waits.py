"""Waits for time: elapsed, and calendar time on the wall clock of the customer's zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import START, World, at

from journey_pipelines.store import tables as t
from journey_pipelines.store import zones


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def waiting(wait: str, workflow: str = "pause") -> str:
    return f"workflow: {workflow}\ntriggers: [{{event: go_{workflow}}}]\nsteps: [{{id: rest, wait: {wait}}}]\n"


BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
# zone, wait, entered, due: both in UTC
WAITS = [
    (BERLIN, "90 minutes", "2026-03-29 00:30", "2026-03-29 02:00"),
    (BERLIN, "24 hours", "2026-03-28 08:00", "2026-03-29 08:00"),
    (BERLIN, "1 day", "2026-03-28 08:00", "2026-03-29 07:00"),  # the night of 23 hours
    (BERLIN, "1 day", "2026-10-24 07:00", "2026-10-25 08:00"),  # the night of 25 hours
    (BERLIN, "1 day", "2026-03-28 01:30", "2026-03-29 01:00"),  # 02:30 does not exist: the first instant after the gap
    (BERLIN, "1 day", "2026-10-24 00:30", "2026-10-25 00:30"),  # 02:30 is there twice: the first
    (BERLIN, "1 day", "2026-10-25 01:30", "2026-10-26 01:30"),  # from the second 02:30
    (BERLIN, "2 weeks", "2026-03-20 08:00", "2026-04-03 07:00"),
    (BERLIN, "1 day 12 hours", "2026-03-28 08:00", "2026-03-29 19:00"),  # the day on the wall, then 12 hours of time
    (BERLIN, "1 month", "2026-01-31 09:00", "2026-02-28 09:00"),
    (BERLIN, "1 month", "2028-01-31 09:00", "2028-02-29 09:00"),
    (BERLIN, "2 months", "2026-01-31 09:00", "2026-03-31 08:00"),
    (BERLIN, "1 month", "2026-02-28 23:30", "2026-03-31 22:30"),  # the first of March there
    (BERLIN, "1 year", "2028-02-29 09:00", "2029-02-28 09:00"),
    (NEW_YORK, "1 week", "2026-03-07 17:00", "2026-03-14 16:00"),
    ("Asia/Kathmandu", "1 month", "2026-01-31 20:00", "2026-02-28 20:00"),
    ("Pacific/Apia", "1 day", "2011-12-29 20:00", "2011-12-30 10:00"),  # a day that was not: the 30th was skipped
    ("UTC", "1 day", "2026-03-28 08:00", "2026-03-29 08:00"),
]


def test_elapsed_and_calendar_waits(world: World) -> None:
    names = {wait: f"w{n}" for n, wait in enumerate(dict.fromkeys(wait for _, wait, _, _ in WAITS))}
    world.deploy(*(waiting(wait, name) for wait, name in names.items()))
    for n, (zone, wait, entered, _) in enumerate(WAITS):
        world.event(f"c{n}", f"go_{names[wait]}", _utc(entered), profile={"timezone": zone})
    world.tick(datetime(2028, 3, 1, tzinfo=UTC))
    due = {f"c{n}": (*WAITS[n][:3], _text(world.journey(f"c{n}").due_at)) for n in range(len(WAITS))}
    assert due == {f"c{n}": row for n, row in enumerate(WAITS)}


def test_a_day_in_every_zone_around_its_changes(world: World) -> None:
    """Somebody in every zone enters a day before each change of clocks of 2026, and a quarter of an hour, an hour ... to each side."""
    world.deploy(waiting("1 day"))
    z = t.zone_offsets
    with world.db.connect() as conn:
        changes = conn.execute(sa.select(z.c.zone, z.c.utc_to).where(sa.extract("year", z.c.utc_to) == 2026)).all()
    moments = [(zone, START) for zone in zones.names()]
    for minutes in (-75, -30, -15, 0, 15, 30, 75):
        moments += [(zone, when - timedelta(days=1) + timedelta(minutes=minutes)) for zone, when in changes]
    assert len(changes) > 200
    world.events(
        [
            {
                "customer_id": f"c{n}", "type": "go_pause", "occurred_at": when, "received_at": when, "payload": {},
                "profile": {"timezone": zone},
            }
            for n, (zone, when) in enumerate(moments)
        ]
    )  # fmt: skip
    world.tick(datetime(2027, 1, 1, tzinfo=UTC))
    due = {j.customer_id: j.due_at for j in world.journeys()}
    seen = [(zone, when, due[f"c{n}"], _a_day_later(zone, when)) for n, (zone, when) in enumerate(moments)]
    assert [row for row in seen if row[2] != row[3]] == []


def test_unknown_zones_wait_in_the_policys(world: World) -> None:
    world.deploy(waiting("1 day"), policies=f"zone: {NEW_YORK}\n")
    entered = _utc("2026-03-07 17:00")
    world.event("none", "go_pause", entered)
    world.event("odd", "go_pause", entered, profile={"timezone": "UTC+3"})
    world.event("old", "go_pause", entered, profile={"timezone": "Mars/Olympus_Mons"})
    world.event("known", "go_pause", entered, profile={"timezone": BERLIN})
    world.tick(entered)
    due = {j.customer_id: _text(j.due_at) for j in world.journeys()}
    assert due == {**dict.fromkeys(("none", "odd", "old"), "2026-03-08 16:00"), "known": "2026-03-08 17:00"}
    sources = {p.customer_id: p.zone_source for p in world.rows(t.customer_profiles, order=("customer_id",))}
    assert sources == {"odd": "invalid", "old": "invalid", "known": "profile"}


def test_a_wait_once_computed_does_not_move(world: World) -> None:
    world.deploy(waiting("1 day"))
    entered = _utc("2026-03-28 08:00")
    world.event("ann", "go_pause", entered, profile={"timezone": BERLIN})
    world.tick(entered)
    world.profile("ann", entered + timedelta(hours=1), timezone=NEW_YORK)
    world.deploy(policies="zone: Asia/Tokyo\n", now=entered)
    world.tick(entered + timedelta(hours=22, minutes=59))
    assert world.journey("ann").status == "active"
    world.tick(entered + timedelta(days=2))
    assert _text(world.journey("ann").ended_at) == "2026-03-29 07:00"


def test_waits_count_from_logical_time(world: World) -> None:
    """However late the engine runs: each wait starts where the one before ended."""
    world.deploy("workflow: three\ntriggers: [{event: go}]\nsteps:\n" + "".join(f"- {{id: s{n}, wait: {n} hours}}\n" for n in (1, 2, 3)))
    world.event("ann", "go", at())
    world.tick(at(30))
    assert [(row.to_step, row.at) for row in world.transitions("ann")] == [
        ("s1", at()), ("s2", at(hours=1)), ("s3", at(hours=3)), (None, at(hours=6)),
    ]  # fmt: skip


def _utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def _text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _a_day_later(zone: str, when: datetime) -> datetime:
    """The same wall clock a day later; what does not exist is the first instant after the gap, of two the first."""
    there = zones.zone(zone)
    wall = when.astimezone(there).replace(tzinfo=None) + timedelta(days=1)
    due = wall.replace(tzinfo=there, fold=0).astimezone(UTC)
    if due.astimezone(there).replace(tzinfo=None) == wall:
        return due
    instant = wall.replace(tzinfo=there, fold=1).astimezone(UTC)
    while instant.astimezone(there).utcoffset() != due.astimezone(there).utcoffset():
        instant += timedelta(minutes=1)
    return instant
