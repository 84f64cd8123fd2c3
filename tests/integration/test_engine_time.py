"""Time as the engine sees it: an event's own time and place decide, whenever it comes in and whenever the engine looks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


SIMPLE = """
workflow: simple
triggers: [{event: go}]
entry: {reentry: always}
steps:
- {id: pause, wait: 1 hour}
- {id: remind, do: [{send_sms: {text: Hello}}]}
"""


def left(world: World) -> int:
    return len(world.rows(t.event_inbox))


def test_a_late_event_enters_in_its_own_time(world: World) -> None:
    world.deploy(SIMPLE)
    world.tick(at(hours=20))
    world.event("ann", "go", at(), received=at(hours=20))
    world.tick(at(hours=20))
    assert [(row.to_step, row.at, row.recorded_at) for row in world.transitions("ann")] == [
        ("pause", at(), at(hours=20)), ("remind", at(hours=1), at(hours=20)), (None, at(hours=1), at(hours=20)),
    ]  # fmt: skip
    (message,) = world.messages()
    assert (message.planned_at, message.expires_at) == (at(hours=1), at(1, hours=1))


def test_an_event_from_2099_is_pulled_back(world: World) -> None:
    world.deploy(SIMPLE)
    far = datetime(2099, 1, 1, tzinfo=UTC)
    world.event("ann", "go", far, received=at())
    world.tick(at(minutes=4, seconds=59))
    assert (left(world), world.journeys()) == (1, [])
    world.tick(at(hours=2))
    assert world.journey("ann").ended_at == at(hours=1, minutes=5)
    (event,) = world.rows(t.customer_events, order=("seq",))
    assert (event.occurred_at, event.original_occurred_at) == (at(minutes=5), far)


def test_rows_of_the_future_stay_in_the_inbox(world: World) -> None:
    world.deploy(SIMPLE)
    for hours in (1, 2, 3):
        world.event("ann", "go", at(hours=hours))
    report = world.tick(at(hours=2))
    assert (report.rows_in, left(world)) == (2, 1)
    # strictly before: how a replay ends its ticks
    assert world.worker.tick(at(hours=3), exclusive=True).entered == 0
    assert [row.planned_at for row in world.messages()] == [at(hours=2)]
    world.tick(at(hours=3))
    assert left(world) == 0
    assert [row.planned_at for row in world.messages()] == [at(hours=2), at(hours=3)]


def test_events_of_one_customer_are_taken_in_order(world: World) -> None:
    """By time, then by arrival; whatever the order of the inbox."""
    world.deploy(SIMPLE.replace("[{event: go}]", "\n- event: go\n  when: customer.last != event.n"))
    for n, minute in enumerate((30, 10, 20, 10, 10)):
        world.event("ann", "go", at(minutes=minute), n=n, profile={"last": n})
    world.tick(at(hours=1))
    history = world.rows(t.customer_events, order=("occurred_at", "seq"))
    assert [e.payload["n"] for e in history] == [1, 3, 4, 2, 0]
    assert world.attributes("ann") == {"last": 0}
    # the patch beside an event is applied before its triggers are asked
    assert world.journeys() == []


def test_at_most_eight_rounds_a_batch(world: World) -> None:
    """Fifty events of one instant: in order of arrival, over seven batches, and nobody else waits for them."""
    world.deploy(SIMPLE)
    seqs = [world.event("ann", "go", at()) for _ in range(50)]
    for _ in range(50):
        world.event("cid", "noise", at())
    world.event("bob", "go", at())
    first = world.worker.batch(at(hours=5))
    # types that no workflow names make no rounds
    assert first.rows_in == 8 + 50 + 1
    assert world.journey("bob").step_key == "remind"
    # timers of hers wait for her events
    assert [(j.entered_seq, j.status) for j in world.journeys("ann")] == [(seq, "active") for seq in seqs[:8]]
    batches = [world.worker.batch(at(hours=5)).rows_in for _ in range(7)]
    assert batches == [8, 8, 8, 8, 8, 2, 0]
    assert [j.entered_seq for j in world.journeys("ann")] == seqs
    assert len(world.messages("ann")) == 50


def test_timers_run_before_the_events_that_come_after_them(world: World) -> None:
    """The patch at 30 minutes is before the timer at an hour, that at 90 is not; the one at the timer's instant is."""
    world.deploy("""
workflow: simple
triggers: [{event: go}]
steps:
- id: pause
  wait: 1 hour
  do: [{update_profile: {set: {saw: "{{ customer.plan }}", own: journey}}}]
""")
    for name, minutes in (("before", 30), ("same", 60), ("after", 90)):
        world.event(name, "go", at(), profile={"plan": "free"})
        world.event(name, "noise", at(minutes=minutes), profile={"plan": "gold", "own": "app"})
    world.tick(at(5))
    assert {name: world.attributes(name) for name in ("before", "same", "after")} == {
        "before": {"plan": "gold", "saw": "gold", "own": "journey"},
        "same": {"plan": "gold", "saw": "gold", "own": "journey"},
        "after": {"plan": "gold", "saw": "free", "own": "app"},
    }


# each visit says what the history looks like from its place
HISTORY = """
workflow: seen
triggers:
- event: visit
  when: >-
    event_count('visit') == event.visits and event_count('visit', within='2 days') == event.recent
    and last_event('visit') == event.occurred_at and has_event('purchase') == event.bought
    and has_event('purchase', within='1 day') == event.bought_recently and event_count('purchase') == event.purchases
    and event_sum('purchase', 'total') == event.spent
entry: {reentry: always}
steps: [{id: rest, wait: 1 second}]
"""


@pytest.mark.parametrize("batches", ["one tick", "a tick an event"])
def test_history_never_sees_the_future(world: World, batches: str) -> None:
    world.deploy(HISTORY)
    visits, purchases = [0, 1, 1, 4, 4.5], [(1, 5), (4, 7), (4.5, 9)]
    story: list[tuple[float, int, str]] = [(day, 0, "visit") for day in visits] + [(day, total, "purchase") for day, total in purchases]
    # stable: at one instant the visits were first
    story.sort(key=lambda row: row[0])
    for n, (day, total, type_) in enumerate(story):
        past = story[: n + 1]
        bought = [(d, spent) for d, spent, other in past if other == "purchase"]
        seen = [d for d, _, other in past if other == "visit"]
        expected: dict[str, Any] = {
            "visits": len(seen), "recent": len([d for d in seen if d >= day - 2]), "bought": bool(bought), "purchases": len(bought),
            "bought_recently": any(d >= day - 1 for d, _ in bought), "spent": sum(spent for _, spent in bought),
        }  # fmt: skip
        world.event("ann", type_, at(day), total=total, **expected)
        if batches == "a tick an event":
            world.tick(at(day))
    world.tick(at(9))
    assert [j.entered_at for j in world.journeys("ann")] == [at(day) for day in visits]


def test_a_late_event_sees_what_came_before_it_and_no_more(world: World) -> None:
    world.deploy(HISTORY)
    nothing: dict[str, Any] = {"bought": False, "bought_recently": False, "purchases": 0, "spent": 0}
    for day, visits in ((0, 1), (0.5, 2)):
        world.event("ann", "visit", at(day), visits=visits, recent=visits, **nothing)
    world.event("ann", "purchase", at(0.5), total=5)
    world.tick(at(0.6))
    world.event("ann", "visit", at(0.25), received=at(0.6), visits=2, recent=2, **nothing)
    world.tick(at(0.6))
    assert [j.entered_at for j in world.journeys("ann")] == [at(0), at(0.5), at(0.25)]
    (stats,) = [row for row in world.rows(t.customer_event_stats, order=("type",)) if row.type == "visit"]
    assert (stats.n, stats.first_at, stats.last_at) == (3, at(0), at(0.5))


def test_a_step_counts_from_its_own_place(world: World) -> None:
    """At the timer's instant its event is seen, later ones are not; of the entry's instant counts what came in after the entry."""
    world.deploy("""
workflow: counting
triggers: [{event: go}]
steps:
- {id: pause, wait: 1 hour}
- id: count
  wait: 1 hour
  do:
  - update_profile:
      set:
        ever: "{{ event_count('visit') }}"
        since_entry: "{{ event_count('visit', since='entry') }}"
        since_step: "{{ event_count('visit', since='step') }}"
        last: "{{ last_event('visit') }}"
""")
    world.event("ann", "visit", at())
    world.event("ann", "go", at())
    for minutes in (0, 30, 60, 90, 120, 121):
        world.event("ann", "visit", at(minutes=minutes))
    world.tick(at(1))
    assert world.attributes("ann") == {"ever": 6, "since_entry": 5, "since_step": 2, "last": "2026-03-02T11:00:00Z"}
