"""Journeys that were held and let go again: an overdue step goes on from its release, with or without its actions; events of meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


WAITING = """
workflow: waiting
triggers: [{{event: go}}]
steps:
- id: first
  wait: {wait}
  do: [{{send_sms: {{text: First}}}}]
  next:
  - when: arrived
    to: came
  - else: missing
- {{id: came, wait: 1 hour, next: end}}
- {{id: missing, wait: 1 hour, next: end}}
"""


def release(world: World, when: datetime, *, skip: bool = False) -> None:
    """What letting a held workflow's journeys go writes, see engine/sql/let_go.sql."""
    j = t.customer_journeys
    overdue = j.c.due_at < when
    with world.db.begin() as conn:
        conn.execute(
            sa.update(j)
            .where(j.c.status == "active", overdue)
            .values(skip=skip, due_was=j.c.due_at, due_at=when, due_seq=2**63 - 1, held_at=None)
        )


@pytest.mark.parametrize("skip", [False, True])
def test_a_released_step_goes_on_from_its_release_with_or_without_its_actions(world: World, skip: bool) -> None:
    world.deploy(WAITING.format(wait="1 day"))
    world.event("ann", "go", at())
    world.tick(at())
    release(world, at(5), skip=skip)
    world.tick(at(9))
    assert world.sent("ann") == ([] if skip else [("first", "planned")])
    assert [(row.to_step, row.at) for row in world.transitions("ann")][1:] == [("missing", at(5)), (None, at(5, hours=1))]
    journey = world.journey("ann")
    assert (journey.skip, journey.due_was) == (False, None)


def test_an_event_after_the_timeout_came_too_late_also_for_a_held_journey(world: World) -> None:
    """In the wake, and in the belt: history is asked up to the time the wait would have ended."""
    world.deploy(WAITING.format(wait="{for: call, timeout: 1 day}"))
    for name in ("in_time", "too_late", "missed", "missed_late"):
        world.event(name, "go", at())
    world.tick(at())
    release(world, at(5))
    for name, days in (("in_time", 0.5), ("too_late", 1.5)):
        world.event(name, "call", at(days), received=at(4))
    # what the wake did not see is in the history when the time has come
    with world.db.begin() as conn:
        for n, (name, days) in enumerate((("missed", 0.5), ("missed_late", 1.5))):
            values = {"seq": -1 - n, "customer_id": name, "shard": 0, "type": "call", "occurred_at": at(days), "received_at": at(days)}
            conn.execute(sa.insert(t.customer_events).values(**values, source="app", payload={}))
    world.tick(at(9))
    assert {name: world.way(name)[1] for name in ("in_time", "too_late", "missed", "missed_late")} == {
        "in_time": "came", "too_late": "missing", "missed": "came", "missed_late": "missing",
    }  # fmt: skip
    # found late: it goes on from the release, not in the past
    assert world.transitions("missed")[1].at == at(5)


@pytest.mark.parametrize("skip", [False, True])
def test_who_was_held_on_arriving_waits_or_goes_on_from_the_release(world: World, skip: bool) -> None:
    """A window is computed from when the journey came; where that is over, the release is its time."""
    world.deploy("""
workflow: waiting
triggers: [{event: go}]
steps:
- id: first
  wait: {after: 1 day, until: "09:00"}
  do: [{send_sms: {text: First}}]
""")
    for name, days in (("overdue", 0.0), ("ahead", 4.5)):
        world.event(name, "go", at(days))
        hold(world, at(days))
    release(world, at(5), skip=skip)
    world.tick(at(5))
    journey = world.journey("ahead")
    assert (journey.status, journey.due_at, journey.skip, journey.due_was) == ("active", at(6), False, None)
    assert world.journey("overdue").ended_at == at(5)
    world.tick(at(9))
    assert world.journey("ahead").ended_at == at(6)
    assert world.sent("ahead") == [("first", "planned")]
    assert world.sent("overdue") == ([] if skip else [("first", "planned")])


def test_what_came_while_a_journey_was_held_at_the_door_is_seen_on_arriving(world: World) -> None:
    world.deploy(WAITING.format(wait="{for: call, timeout: 3 days, since: entry}"))
    for name in ("called", "too_late", "silent"):
        world.event(name, "go", at())
    hold(world, at())
    world.event("called", "call", at(1))
    world.event("too_late", "call", at(4))
    world.tick(at(4))
    release(world, at(5))
    world.tick(at(5))
    assert {name: (row.to_step, row.at) for name in ("called", "too_late", "silent") for row in world.transitions(name)[1:2]} == {
        "called": ("came", at(5)), "too_late": ("missing", at(5)), "silent": ("missing", at(5)),
    }  # fmt: skip


def hold(world: World, when: datetime) -> None:
    """The entry is made, and the journey stays at its first step's door."""
    world.tick(when)
    j, s = t.customer_journeys, t.workflow_steps
    with world.db.begin() as conn:
        door = sa.select(s.c.entry_uid).where(s.c.step_key == "first").scalar_subquery()
        mine = sa.and_(j.c.status == "active", j.c.at == when)
        conn.execute(sa.update(j).where(mine).values(step_uid=door, due_at=j.c.at, due_seq=j.c.at_seq))
        conn.execute(sa.update(j).where(j.c.status == "active").values(held_at=when + timedelta(seconds=1)))


def test_a_released_date_is_the_date_it_was_planned_for(world: World) -> None:
    """Overdue because of the hold is not gone by: `past` is for dates that were over when they became known."""
    world.deploy("""
workflow: waiting
triggers: [{event: go}]
steps:
- id: first
  wait: {date: customer.day, past: end}
  do: [{send_sms: {text: First}}]
  next: more
- {id: more, wait: 1 hour}
""")
    for name, day in (("held", "2026-03-04"), ("moved_on", "2026-03-04"), ("over", "2026-03-04")):
        world.event(name, "go", at(), profile={"day": day})
    world.tick(at())
    with world.db.begin() as conn:
        conn.execute(sa.update(t.customer_journeys).values(held_at=at(3)))
    # held journeys follow, too
    world.profile("moved_on", at(3), day="2026-03-20")
    world.profile("over", at(3), day="2026-03-03")
    world.tick(at(3))
    release(world, at(5))
    with world.db.begin() as conn:
        conn.execute(sa.update(t.customer_journeys).values(held_at=None))
    world.tick(at(30))
    assert {name: world.way(name) for name in ("held", "moved_on", "over")} == {
        "held": ["first", "more", "end"], "moved_on": ["first", "more", "end"], "over": ["first", "end"],
    }  # fmt: skip
    assert (world.transitions("held")[1].at, world.transitions("moved_on")[1].at.day) == (at(5), 20)
