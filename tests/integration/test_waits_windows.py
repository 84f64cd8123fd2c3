"""Waits with a window, through the engine: computed once on arriving, from logical time, on the customer's wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import START, World, at

from journey_pipelines.store import tables as t

BERLIN, NEW_YORK, TOKYO = "Europe/Berlin", "America/New_York", "Asia/Tokyo"


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def waiting(wait: str, workflow: str = "pause") -> str:
    return f"workflow: {workflow}\ntriggers: [{{event: go_{workflow}}}]\nsteps: [{{id: rest, wait: {wait}}}]\n"


# zone, wait, entered, due: both in UTC
WAITS = [
    # until: the next such time, an instant equal to it counts
    (BERLIN, '{after: 1 hour, until: "09:00"}', "2026-03-02 06:00", "2026-03-02 08:00"),
    (BERLIN, '{after: 1 hour, until: "09:00"}', "2026-03-02 07:00", "2026-03-02 08:00"),
    (BERLIN, '{after: 1 hour, until: "09:00"}', "2026-03-02 07:01", "2026-03-03 08:00"),
    # over the night of the change: the same wall, another instant
    (NEW_YORK, '{until: "09:00"}', "2026-03-07 15:00", "2026-03-08 13:00"),
    (NEW_YORK, '{until: "09:00"}', "2026-03-06 15:00", "2026-03-07 14:00"),
    # Monday 08:00 in Tokyo is Sunday in UTC
    (TOKYO, '{until: "08:00", on: [mon]}', "2026-03-06 10:00", "2026-03-08 23:00"),
    (TOKYO, '{until: "08:00", on: mon}', "2026-03-08 23:00", "2026-03-08 23:00"),
    # the time that is not there: the first instant after the gap; the time that is there twice: once
    (BERLIN, '{until: "02:30"}', "2026-03-28 12:00", "2026-03-29 01:00"),
    (BERLIN, '{until: "02:30"}', "2026-10-24 12:00", "2026-10-25 00:30"),
    (BERLIN, '{until: "02:30"}', "2026-10-25 00:31", "2026-10-26 01:30"),
    # between: at once inside, else the next start
    (BERLIN, '{after: 2 hours, between: ["09:00", "18:00"], on: weekdays}', "2026-03-02 12:00", "2026-03-02 14:00"),
    (BERLIN, '{after: 2 hours, between: ["09:00", "18:00"], on: weekdays}', "2026-03-06 15:00", "2026-03-09 08:00"),
    (BERLIN, '{after: 2 hours, between: ["09:00", "18:00"], on: weekdays}', "2026-03-02 06:00", "2026-03-02 08:00"),
    (BERLIN, '{between: ["09:00", "18:00"]}', "2026-03-02 17:00", "2026-03-03 08:00"),
    (BERLIN, '{between: ["09:00", "18:00"]}', "2026-03-02 16:59", "2026-03-02 16:59"),
    # overnight, and the weekday is that of the start: Saturday 03:00 belongs to Friday's window, Monday 03:00 to Sunday's
    (BERLIN, '{between: ["22:00", "06:00"], on: [fri]}', "2026-03-07 02:00", "2026-03-07 02:00"),
    (BERLIN, '{between: ["22:00", "06:00"], on: weekdays}', "2026-03-09 02:00", "2026-03-09 21:00"),
    (BERLIN, '{between: ["22:00", "06:00"]}', "2026-03-02 10:00", "2026-03-02 21:00"),
    (BERLIN, '{between: ["22:00", "06:00"]}', "2026-03-02 05:00", "2026-03-02 21:00"),
    # a window that the gap swallows is passed over
    (BERLIN, '{between: ["02:00", "03:00"], on: [sun]}', "2026-03-28 12:00", "2026-04-05 00:00"),
    # on alone: the whole day
    (BERLIN, "{on: weekends}", "2026-03-06 22:59", "2026-03-06 23:00"),
    (BERLIN, "{on: weekends}", "2026-03-08 22:59", "2026-03-08 22:59"),
    (BERLIN, "{after: 1 day, on: [mon]}", "2026-03-02 12:00", "2026-03-08 23:00"),
    # days on the wall first, then the window
    (BERLIN, '{after: 1 day, until: "08:30"}', "2026-03-28 08:00", "2026-03-30 06:30"),
]


def test_windows(world: World) -> None:
    names = {wait: f"w{n}" for n, wait in enumerate(dict.fromkeys(wait for _, wait, _, _ in WAITS))}
    world.deploy(*(waiting(wait, name) for wait, name in names.items()))
    for n, (zone, wait, entered, _) in enumerate(WAITS):
        world.event(f"c{n}", f"go_{names[wait]}", utc(entered), profile={"timezone": zone})
    world.tick(datetime(2026, 12, 1, tzinfo=UTC))
    ended = {f"c{n}": (*WAITS[n][:3], text(world.journey(f"c{n}").ended_at)) for n in range(len(WAITS))}
    assert ended == {f"c{n}": row for n, row in enumerate(WAITS)}
    # each went on once, at that time, and was nowhere in between
    assert len(world.transitions()) == 2 * len(WAITS)


def test_nine_in_new_york_is_nine_over_the_night_of_the_change(world: World) -> None:
    """Seen elsewhere: the offset was that of the moment of asking, and "09:00" came at 10:00."""
    world.deploy(waiting('{until: "09:00"}'), waiting("1 day", "day"))
    world.event("ann", "go_pause", utc("2026-03-07 15:00"), profile={"timezone": NEW_YORK})
    world.event("bob", "go_day", utc("2026-03-07 14:00"), profile={"timezone": NEW_YORK})
    world.event("cid", "go_pause", utc("2026-10-31 15:00"), profile={"timezone": NEW_YORK})
    world.tick(utc("2026-11-09 00:00"))
    assert [text(world.journey(name).ended_at) for name in ("ann", "bob", "cid")] == [
        "2026-03-08 13:00", "2026-03-08 13:00", "2026-11-01 14:00",
    ]  # fmt: skip


def test_monday_in_tokyo_is_monday_in_tokyo(world: World) -> None:
    """Seen elsewhere: the weekday was UTC's, and Monday 08:00 came on Tuesday."""
    world.deploy(waiting('{until: "08:00", on: [mon]}'))
    world.event("ann", "go_pause", utc("2026-03-08 22:00"), profile={"timezone": TOKYO})
    world.tick(utc("2026-03-20 00:00"))
    assert text(world.journey("ann").ended_at) == "2026-03-08 23:00"


def test_a_window_over_midnight_stays_the_night(world: World) -> None:
    """Seen elsewhere: 22 to 6 silently became 6 to 22."""
    world.deploy(waiting('{between: ["22:00", "06:00"]}'))
    for hour in range(24):
        world.event(f"c{hour}", "go_pause", utc("2026-03-02 00:00") + timedelta(hours=hour))
    world.tick(utc("2026-03-05 00:00"))
    ended = {hour: world.journey(f"c{hour}").ended_at.hour for hour in range(24)}
    assert ended == {hour: hour if hour >= 22 or hour < 6 else 22 for hour in range(24)}


def test_a_window_is_computed_once_and_does_not_move(world: World) -> None:
    world.deploy(waiting('{after: 1 day, until: "09:00"}'))
    world.event("ann", "go_pause", utc("2026-03-27 10:00"), profile={"timezone": BERLIN})
    world.tick(utc("2026-03-27 10:00"))
    parked = world.journey("ann")
    assert (text(parked.due_at), text(parked.at)) == ("2026-03-29 07:00", "2026-03-27 10:00")
    # who moves house, a new default and a restarted worker change nothing
    world.profile("ann", utc("2026-03-28 10:00"), timezone=NEW_YORK)
    world.worker = type(world.worker)(world.db)
    world.tick(utc("2026-03-29 06:59"))
    assert world.journey("ann").status == "active"
    world.tick(utc("2026-03-29 12:00"))
    assert text(world.journey("ann").ended_at) == "2026-03-29 07:00"
    assert world.way("ann") == ["rest", "end"]


def test_late_work_gives_the_same_times(world: World) -> None:
    """Windows in a row, however late the engine looks: each begins where the one before ended."""
    steps = "".join(f'- {{id: s{n}, wait: {{after: 1 hour, between: ["09:00", "12:00"]}}}}\n' for n in range(4))
    world.deploy(f"workflow: row\ntriggers: [{{event: go}}]\nsteps:\n{steps}")
    for name in ("early", "late"):
        world.event(name, "go", at(hours=1, minutes=30))
    for hours in range(2, 60):
        world.tick(at(hours=hours))
    world.event("much_later", "go", at(hours=1, minutes=30), received=at(hours=20))
    world.tick(at(5))
    expected = [("s0", 1.5), ("s1", 2.5), ("s2", 24.0), ("s3", 25.0), (None, 26.0)]
    for name in ("early", "late", "much_later"):
        assert [(row.to_step, (row.at - START) / timedelta(hours=1)) for row in world.transitions(name)] == expected


def test_an_unknown_zone_waits_in_the_policys(world: World) -> None:
    world.deploy(waiting('{until: "09:00"}'), policies=f"zone: {NEW_YORK}\n")
    for name, profile in (("none", {}), ("odd", {"timezone": "UTC+3"}), ("known", {"timezone": TOKYO})):
        world.event(name, "go_pause", utc("2026-03-07 15:00"), profile=profile)
    world.event("nobody", "go_pause", utc("2026-03-07 15:00"))
    world.tick(utc("2026-03-07 15:00"))
    due = {j.customer_id: text(j.due_at) for j in world.journeys()}
    assert due == {**dict.fromkeys(("none", "odd", "nobody"), "2026-03-08 13:00"), "known": "2026-03-08 00:00"}


def test_what_arrives_is_not_lost_between_two_batches(world: World) -> None:
    """A step that needs a statement for those who arrive: with batches of one, each event and each arrival is a batch of its own."""
    world.worker = type(world.worker)(world.db, batch_size=1)
    world.deploy(
        "workflow: pair\ntriggers: [{event: go}]\nsteps:\n"
        '- {id: first, wait: {until: "10:00"}}\n- {id: second, wait: {for: stop, since: entry, timeout: 1 day}}\n'
    )
    for n in range(6):
        world.event(f"c{n}", "go", at())
        world.event(f"c{n}", "stop", at(minutes=30))
    world.tick(at(3))
    assert {(j.status, j.ended_at) for j in world.journeys()} == {("ended", at(hours=1))}
    assert len(world.rows(t.journey_transitions)) == 18


def utc(said: str) -> datetime:
    return datetime.strptime(said, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
