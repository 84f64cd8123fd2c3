"""What is asked at a step before anything is done: `max_age` and exit conditions."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_rows import orphans
from engine_world import World, at

from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


SEQUEL = """
workflow: sequel
triggers:
- event: journey.ended
  when: event.workflow == 'aged'
entry: {key: event.exit_reason}
steps: [{id: rest, wait: 1 hour}]
"""


def ended(world: World, customer: str) -> tuple[str, datetime, str]:
    """Where, when and why the customer's only journey ended."""
    row = world.transitions(customer)[-1]
    journey = world.journey(customer)
    assert (row.to_step, row.why, row.at) == (None, journey.exit_reason, journey.ended_at)
    return row.from_step, row.at, row.why


# -- max_age ---------------------------------------------------------------------------------------------------------

AGED = """
workflow: aged
triggers: [{{event: go}}]
max_age: 3 days
steps:
- id: first
  wait: {first}
  do: [{{send_sms: {{text: First}}}}]
- id: second
  wait: {second}
  do: [{{send_sms: {{text: Second}}}}]
"""


@pytest.mark.parametrize(
    "second",
    [
        "5 days", "1 month", "{after: 4 days, until: '09:00'}", "{on: [sun]}", "{date: customer.far}", "{for: call, timeout: 9 days}",
        "{for: call, timeout: 9 days, since: entry}",
    ],
)  # fmt: skip
def test_a_journey_expires_whatever_it_waits_for(world: World, second: str) -> None:
    """In the middle of the wait, at the instant itself, with nothing done."""
    world.deploy(AGED.format(first="1 day", second=second))
    world.event("ann", "go", at(), profile={"far": "2026-12-01"})
    world.tick(at(2, hours=23, minutes=59))
    assert (world.journey("ann").status, world.journey("ann").due_at) == ("active", at(3))
    world.tick(at(20))
    assert ended(world, "ann") == ("second", at(3), "expired")
    assert world.sent("ann") == [("first", "planned")]
    assert world.transitions("ann")[-1].detail == {"rule": "max_age 3 days"}
    assert set(orphans(world.db).values()) == {0}


def test_the_first_wait_expires_too_and_a_tie_is_too_old(world: World) -> None:
    for name, first in (("long", "4 days"), ("tie", "72 hours"), ("just", "259199 seconds")):
        text = AGED.format(first=first, second="1 second")
        world.deploy(text.replace("aged", name).replace("go}", f"go_{name}}}"))
        world.event(name, f"go_{name}", at())
    world.tick(at(9))
    # `just` goes on a second before, and the next step's second is one too many
    assert {name: ended(world, name) for name in ("long", "tie", "just")} == {
        "long": ("first", at(3), "expired"), "tie": ("first", at(3), "expired"), "just": ("second", at(3), "expired"),
    }  # fmt: skip
    assert [world.sent(name) for name in ("long", "tie", "just")] == [[], [], [("first", "planned")]]


def test_an_event_before_the_end_still_counts_and_a_restart_does_not_make_anybody_younger(world: World) -> None:
    world.deploy(
        AGED.format(first="{for: call, timeout: 30 days}", second="1 hour").replace("max_age", "entry: {while_active: restart}\nmax_age")
    )
    world.event("called", "go", at())
    world.event("called", "call", at(2))
    world.event("again", "go", at())
    world.event("again", "go", at(2))
    world.event("late", "go", at())
    world.event("late", "call", at(4))
    world.tick(at(9))
    assert ended(world, "called") == ("second", at(2, hours=1), "completed")
    assert ended(world, "again") == ("first", at(3), "expired")
    assert ended(world, "late") == ("first", at(3), "expired")
    assert world.way("again") == ["first", "first", "end"]


def test_versions_keep_their_own_age(world: World) -> None:
    text = AGED.format(first="1 day", second="30 days").replace("max_age", "entry: {while_active: restart}\nmax_age")
    world.deploy(text)
    world.event("old", "go", at())
    world.event("old_again", "go", at())
    world.tick(at(hours=1))
    world.deploy(text.replace("3 days", "1 hour"))
    world.event("old_again", "go", at(hours=2))
    world.event("new", "go", at(hours=2))
    world.tick(at(9))
    assert {name: ended(world, name)[1:] for name in ("old", "old_again", "new")} == {
        "old": (at(3), "expired"), "old_again": (at(3), "expired"), "new": (at(hours=3), "expired"),
    }  # fmt: skip


def test_a_date_that_moves_beyond_the_age_is_not_reached(world: World) -> None:
    world.deploy(AGED.format(first="1 hour", second="{date: customer.day}"))
    world.event("ann", "go", at(), profile={"day": "2026-03-04"})
    world.tick(at(1))
    world.profile("ann", at(1), day="2026-04-01")
    world.tick(at(1))
    assert world.journey("ann").due_at == at(3)
    world.tick(at(60))
    assert ended(world, "ann") == ("second", at(3), "expired")


def test_the_end_is_told_with_its_reason(world: World) -> None:
    world.deploy(
        AGED.format(first="1 hour", second="9 days").replace("max_age", "exit: [{when: customer.plan == 'none'}]\nmax_age"),
        SEQUEL,
    )
    world.event("old", "go", at())
    world.event("gone", "go", at(), profile={"plan": "some"})
    world.tick(at())
    patch(world, "gone", attributes={"plan": "none"})
    world.tick(at(9))
    assert {(j.customer_id, j.entry_key, j.entered_at.replace(microsecond=0)) for j in world.journeys() if j.workflow_id == "sequel"} == {
        ("old", "expired", at(3)),
        ("gone", "exit_rule", at(hours=1)),
    }


# -- exit conditions -------------------------------------------------------------------------------------------------


def test_an_exit_condition_is_asked_before_anything_is_done(world: World) -> None:
    """Behind the engine's back, so that only the step can see it: in waits of every kind, and in a step without one."""
    world.deploy("""
workflow: leave
triggers: [{event: go}]
exit:
- when: customer.subscription_status == 'cancelled'
- when: customer.lifetime_value > 1000
steps:
- id: first
  wait: 1 hour
  do:
  - send_sms: {text: First}
  - update_profile: {set: {touched: true}}
- id: second
  wait: {for: call, timeout: 1 day}
  do: [{create_task: {title: Call}}]
  next: {split: {third: 50, end: 50}}
- {id: third, wait: {until: "09:00"}}
""")
    for name in ("stays", "cancelled", "rich"):
        world.event(name, "go", at(), profile={"subscription_status": "active", "lifetime_value": 10})
    world.tick(at())
    patch(world, "cancelled", subscription_status="cancelled")
    world.tick(at(hours=2))
    assert ended(world, "cancelled") == ("first", at(hours=1), "exit_rule")
    assert (world.messages("cancelled"), world.log("cancelled"), world.attributes("cancelled")) == ([], [], {})
    assert world.transitions("cancelled")[-1].detail == {
        "rule": "when customer.subscription_status == 'cancelled'",
        "values": {"customer.subscription_status": "cancelled", "customer.lifetime_value": 10},
    }
    patch(world, "rich", lifetime_value=1001)
    world.event("rich", "call", at(hours=3))
    world.tick(at(9))
    assert ended(world, "rich") == ("second", at(hours=3), "exit_rule")
    assert world.transitions("rich")[-1].detail["rule"] == "when customer.lifetime_value > 1000"
    # who leaves is not assigned an arm, and no task is made for them
    assert {row.customer_id for row in world.rows(t.split_assignments, order=("customer_id",))} == {"stays"}
    assert {row.customer_id for row in world.rows(t.tasks)} == {"stays"}
    assert world.journey("stays").exit_reason == "completed"
    assert set(orphans(world.db).values()) == {0}


def test_conditions_count_from_the_steps_own_time(world: World) -> None:
    """days_since at the journey's logical time, however late the engine is: it leaves at the very instant, between two steps."""
    world.deploy("""
workflow: leave
triggers: [{event: go}]
exit: [{when: days_since(customer.created_at) >= 2}]
steps:
- {id: first, wait: 1 day}
- {id: second, wait: 12 hours}
- {id: third, wait: 1 day}
""")
    world.event("ann", "go", at(), profile={"created_at": "2026-03-02T09:00:00Z"})
    world.tick(at(30))
    assert ended(world, "ann") == ("third", at(2), "exit_rule")


def patch(world: World, customer: str, **columns: object) -> None:
    p = t.customer_profiles
    with world.db.begin() as conn:
        conn.execute(sa.update(p).where(p.c.customer_id == customer).values(**columns))
