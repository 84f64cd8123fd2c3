"""Schedules: each tick asks its audience in once, at its own instant among the events, whatever is retried or slept through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.engine.calendar import AHEAD, Calendar, Scheduled, instants
from journey_pipelines.engine.tick import Worker
from journey_pipelines.store import moment_tables as m
from journey_pipelines.workflows.model import ScheduleTrigger

DIGEST = """
workflow: digest
triggers:
  - {trigger}
entry: {{reentry: always}}
steps:
  - id: hello
    do:
      - send_email: {{template: hello, subject: Hello}}
"""


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def digest(trigger: str) -> str:
    return DIGEST.format(trigger=trigger)


def entered(world: World, customer: str) -> list[datetime]:
    return [j.entered_at for j in world.journeys(customer)]


def test_a_tick_enters_its_audience_once(world: World) -> None:
    """START is a Monday, nine o'clock in UTC."""
    for name, plan in (("ann", "gold"), ("bob", "silver")):
        world.profile(name, at(), plan=plan)
    world.deploy(digest('{schedule: "0 8 * * tue", timezone: UTC, audience: "customer.plan == \'gold\'"}'))
    for now in (at(), at(hours=22), at(hours=23), at(hours=23), at(hours=24), at(7)):
        world.tick(now)
    assert (entered(world, "ann"), entered(world, "bob")) == ([at(hours=23)], [])
    assert {(row.tick_at, row.audience) for row in world.rows(m.schedule_ticks, order=("shard",)) if row.audience} == {(at(hours=23), 1)}


def test_the_audience_is_as_it_is_at_the_tick(world: World) -> None:
    """An order before the tick counts and one behind it does not, though both are there when the engine comes to run."""
    world.deploy(digest('{schedule: "0 12 * * *", timezone: UTC, audience: "event_count(\'order\') == 1"}'))
    world.profile("ann", at())
    world.profile("bob", at())
    world.event("ann", "order", at(hours=1))
    world.event("ann", "order", at(hours=3, minutes=2))
    world.event("bob", "order", at(hours=3, minutes=1))
    world.tick(at(hours=3, minutes=5))
    assert (entered(world, "ann"), entered(world, "bob")) == ([at(hours=3)], [])


def test_a_zone_of_the_customers_own(world: World) -> None:
    for name, zone in (("ann", "Europe/Berlin"), ("bob", "America/New_York"), ("cid", None)):
        world.profile(name, at(-1), timezone=zone)
    world.deploy(digest('{schedule: "0 9 * * *", timezone: customer}'), now=at(-1))
    for half_hour in range(96):
        world.tick(at(-1, minutes=30 * half_hour))
    assert [e.astimezone(ZoneInfo("Europe/Berlin")).hour for e in entered(world, "ann")] == [9, 9]
    assert [e.astimezone(ZoneInfo("America/New_York")).hour for e in entered(world, "bob")] == [9, 9]
    assert entered(world, "cid") == [at()], "the default zone is UTC; the tick at the instant of the deploy is none"


@pytest.mark.parametrize(("catchup", "expected"), [("none", [at(3, hours=3)]), ("last", [at(2, hours=3), at(3, hours=3)])])
def test_ticks_that_were_slept_through(world: World, catchup: str, expected: list[datetime]) -> None:
    world.profile("ann", at())
    world.deploy(digest(f'{{schedule: "0 12 * * *", timezone: UTC, catchup: {catchup}}}'))
    world.tick(at())
    world.tick(at(2, hours=6))
    world.tick(at(3, hours=3))
    assert entered(world, "ann") == expected


def test_a_replay_misses_nothing(world: World) -> None:
    world.profile("ann", at())
    world.deploy(digest('{schedule: "0 12 * * *", timezone: UTC}'))
    world.worker.tick(at(5), exclusive=True)
    assert entered(world, "ann") == [at(day, hours=3) for day in range(5)]


def test_one_off(world: World) -> None:
    world.profile("ann", at())
    world.deploy(digest('{at: "2026-03-03 10:00", timezone: Europe/Berlin}'))
    for day in (0, 1, 2, 3):
        world.tick(at(day))
    assert entered(world, "ann") == [at(1)]


def test_two_workers_and_a_tick_that_is_retried(world: World) -> None:
    for n in range(40):
        world.profile(f"c{n}", at())
    world.deploy(digest('{schedule: "0 12 * * *", timezone: UTC}'))
    halves = [Worker(world.db, shards=range(32)), Worker(world.db, shards=range(32, 64))]
    for worker in (*halves, *halves):
        worker.tick(at(hours=3, minutes=1))
    with world.db.begin() as conn:
        conn.exec_driver_sql("UPDATE journeys.engine_shards SET planned_until = NULL")
    world.begin_worker()
    world.tick(at(hours=3, minutes=2))
    assert [entered(world, f"c{n}") for n in range(40)] == [[at(hours=3)]] * 40


def test_a_workflow_that_is_not_active_does_not_tick(world: World) -> None:
    world.profile("ann", at())
    text = digest('{schedule: "0 12 * * *", timezone: UTC}')
    world.deploy("status: paused\n" + text)
    world.tick(at(1))
    world.deploy("status: active\n" + text, now=at(1, hours=1))
    world.tick(at(1, hours=3, minutes=30))
    assert entered(world, "ann") == [at(1, hours=3)]


def test_one_tick_a_local_day_on_every_night_that_clocks_change() -> None:
    """02:30 of every day, in each zone with such nights: never twice, never not at all."""
    trigger = ScheduleTrigger(id="s", cron="30 2 * * *")
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago", "Asia/Tehran"):
        start, end = datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2030, 12, 31, 12, tzinfo=UTC)
        found = list(instants(trigger, zone, start, end))
        days = [at.astimezone(ZoneInfo(zone)).date() for at in found]
        assert len(days) == len(set(days)) and all(b - a == timedelta(days=1) for a, b in pairwise(days)), zone


def test_a_calendar_answers_the_same_in_whatever_order_it_is_asked() -> None:
    """Shards that are behind ask for what has passed, the doorbell for what is ahead; then the engine stood still for a month."""
    since = datetime(2026, 3, 1, tzinfo=UTC)
    schedules = (
        Scheduled("daily", ScheduleTrigger(id="s", cron="30 2 * * *", timezone="customer"), since),
        Scheduled("often", ScheduleTrigger(id="s", cron="*/20 * * * *", timezone="Europe/Berlin"), since),
        Scheduled("once", ScheduleTrigger(id="s", at="2026-03-29 02:30", timezone="customer"), since),
    )
    calendar, now, later = Calendar(schedules), datetime(2026, 3, 28, 20, 5, tzinfo=UTC), (0.25, 1, 6, 30, 24 * 30, 0.25)
    for hours in later:
        now += timedelta(hours=hours)
        for behind in (0.2, 3, 30, 0.2, 24 * 5):
            asked = (now - timedelta(hours=behind), now)
            assert calendar.between(*asked) == Calendar(schedules).between(*asked), asked
            ahead = (now, now + AHEAD)
            assert calendar.between(*ahead) == Calendar(schedules).between(*ahead), ahead
