"""Moments beside the events: late rows, dates that move, lateness, and effects behind their cause."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_flows import MAIL, at_most, entries, flow, segment, waiting_for_inner
from engine_world import World, at
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def sync(world: World, customer: str, changed: datetime, synced: datetime, **fields: str) -> None:
    """A table of the app's is copied at `synced`, each row with the time of its own last change."""
    with world.db.begin() as conn:
        conn.execute(sa.text("UPDATE journeys.engine_clock SET wall_at = clock_timestamp(), engine_at = :at, rate = 1e-9"), {"at": synced})
        conn.execute(sa.select(sa.func.journeys.upsert_profile(customer, sa.literal(fields, JSONB), changed)))


def test_a_late_event_does_not_take_a_member_out_and_in(world: World) -> None:
    """Two visits make a regular; a third that arrives late lies before both and changes nothing about now."""
    segment(world, "regular", "when: event_count('visit', within='7 days') >= 2")
    world.deploy(flow("hi", "segment: regular"), flow("bye", "{segment: regular, on: leave}"))
    world.tick(at())
    world.event("ann", "visit", at(hours=1))
    world.event("ann", "visit", at(hours=2))
    world.tick(at(hours=3))
    assert entries(world, "ann") == [("hi", at(hours=2))]
    world.event("ann", "visit", at(minutes=50), received=at(hours=4))
    world.tick(at(hours=4))
    assert entries(world, "ann") == [("hi", at(hours=2))]


def test_an_old_profile_row_does_not_take_a_member_out_and_in(world: World) -> None:
    segment(world, "grown", "when: days_since(customer.created_at) > 3")
    world.deploy(flow("hi", "segment: grown"), flow("bye", "{segment: grown, on: leave}"))
    world.tick(at())
    world.profile("ann", at(hours=1), created_at=at().isoformat())
    world.tick(at(10))
    first = entries(world, "ann")
    assert [name for name, _ in first] == ["hi"]
    # a nightly sync writes the row again, with the row's own time
    sync(world, "ann", at(1), at(10), created_at=at().isoformat())
    world.tick(at(11))
    assert entries(world, "ann") == first


@pytest.mark.parametrize(
    "ticks", [[at(hours=h) for h in range(12)], [at(hours=1), at(hours=12)], [at(hours=12)]], ids=["hours", "two", "one"]
)
def test_a_date_that_moved_before_it_came_does_not_fire(world: World, ticks: list[datetime]) -> None:
    """Planned for five o'clock, and at two moved to nine: whatever the ticks are, it fires at nine alone."""
    world.deploy(flow("renewal", "date: customer.renews"))
    world.tick(at())
    for hour, renews in ((1, 5), (2, 9)):
        world.event("ann", "x", at(hours=hour), profile={"renews": at(hours=renews).isoformat()})
    for now in ticks:
        world.tick(now)
    assert entries(world, "ann") == [("renewal", at(hours=9))]


def test_a_condition_that_came_true_long_ago_enters_nobody(world: World) -> None:
    """What is known ten days late is history (max_lateness is a day), whatever brought it."""
    segment(world, "grown", "when: days_since(customer.created_at) > 30")
    world.deploy(flow("hi", "segment: grown"))
    world.tick(at())
    sync(world, "ann", at(-50), at(1), created_at=at(-60).isoformat())
    world.tick(at(2))
    assert entries(world, "ann") == []


def test_a_date_that_passed_before_it_was_known_enters_nobody(world: World) -> None:
    world.deploy(flow("birthday", 'date: customer.born\n    yearly: true\n    at: "09:00"'))
    world.tick(at())
    # born on 12 January; the row was last changed in December and is synced in March
    sync(world, "ann", at(-80), at(1), born="1990-01-12")
    world.tick(at(2))
    assert entries(world, "ann") == []


def test_an_effect_of_a_schedules_tick_is_after_it(world: World) -> None:
    """As `test_waiting_for_the_end_of_the_workflow_that_was_started`, but entered by a schedule."""
    world.deploy(
        flow("outer", '{schedule: "0 12 * * *", timezone: UTC}', waiting_for_inner()),
        flow("inner", "manual: true", MAIL),
    )  # fmt: skip
    world.profile("ann", at())
    world.tick(at(hours=4))
    assert world.sent("ann") == [("mail", "planned"), ("thanks", "planned")]


def test_a_segments_journey_hears_what_it_emits(world: World) -> None:
    """A goal and an exit on an event that the journey itself writes, with no wait between."""
    segment(world, "rich", "when: customer.lifetime_value > 100")
    steps = """  - id: tell
    do: [{emit_event: {type: greeted, payload: {}}}]
  - id: later
    wait: 1 day
    do: [{send_email: {template: hello, subject: Hello}}]
"""
    world.deploy(
        flow("by_segment", "segment: rich", steps, "goal: {event: greeted}\nexit: [goal]\n"),
        flow("by_event", "event: go", steps, "goal: {event: greeted}\nexit: [goal]\n"),
    )
    world.tick(at())
    world.profile("ann", at(hours=1), lifetime_value=500)
    world.event("bob", "go", at(hours=1))
    world.tick(at(hours=2))
    assert [j.exit_reason for j in world.journeys("bob")] == ["goal"]
    assert [j.exit_reason for j in world.journeys("ann")] == ["goal"]


def test_a_restart_that_sets_itself_off_is_stopped(world: World) -> None:
    steps = """  - id: tell
    do: [{emit_event: {type: go, payload: {}}}]
  - id: later
    wait: 1 day
    do: [{send_email: {template: hello, subject: Hello}}]
"""
    world.deploy(flow("echo", "event: go", steps, "entry: {while_active: restart}\n"))
    world.event("ann", "go", at())
    with at_most(20):
        world.tick(at(hours=1))
    assert world.rows(t.event_quarantine, "ann")


def test_a_thousand_timers_of_one_person_come_before_the_event(world: World) -> None:
    """1,100 journeys of one customer end by themselves after an hour, one write of its row each; what comes an hour later finds none."""
    many = 1_100
    steps = "  - id: rest\n    wait: 1 hour\n    do: [{update_profile: {increment: {n: 1}}}]\n"
    world.deploy(flow("orders", "event: order", steps, "entry: {key: event.id}\nexit: [{event: stop}]\n"))
    world.events(
        [{"customer_id": "ann", "type": "order", "occurred_at": at(), "received_at": at(), "payload": {"id": n}} for n in range(many)]
    )
    world.tick(at())
    world.event("ann", "stop", at(hours=2))
    world.tick(at(hours=3))
    assert {j.exit_reason for j in world.journeys("ann")} == {"completed"}
