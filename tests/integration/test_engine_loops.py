"""Ways back: how often a journey takes them, and what it does again each time."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import World, at


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


LOOP = """
workflow: nag
triggers: [{event: go}]
entry: {while_active: restart}
steps:
- id: ask
  wait: {for: answer, timeout: 1 day}
  next:
    - when: arrived
      to: thank
    - else: remind
- id: remind
  do: [{send_sms: {text: Please answer}}]
  next: {to: ask, max_visits: 3, then: give_up}
- {id: thank, wait: 1 second, next: end}
- {id: give_up, wait: 1 second, next: end}
"""


def test_a_way_back_is_taken_until_its_target_was_reached_so_often(world: World) -> None:
    """Three times at `ask`, and each reminder is a row of its own in the ledger."""
    world.deploy(LOOP)
    world.event("ann", "go", at())
    world.event("bob", "go", at())
    world.event("bob", "answer", at(1.5))
    world.tick(at(30))
    assert world.way("ann") == ["ask", "remind", "ask", "remind", "ask", "remind", "give_up", "end"]
    assert world.way("bob") == ["ask", "remind", "ask", "thank", "end"]
    assert [(m.step_key, m.visit, m.planned_at) for m in world.messages("ann")] == [
        ("remind", 1, at(1)), ("remind", 2, at(2)), ("remind", 3, at(3)),
    ]  # fmt: skip
    assert len({m.message_key for m in world.messages()}) == 4
    assert [row.visit for row in world.transitions("ann")] == [1, 1, 2, 2, 3, 3, 3, 3]
    back = [row.detail for row in world.transitions("ann") if row.from_step == "remind"]
    assert back == [{"to": to, "visits": {"ask": n}} for n, to in ((1, "ask"), (2, "ask"), (3, "give_up"))]


def test_the_same_in_one_tick_and_in_many(world: World) -> None:
    world.deploy(LOOP)
    ways = []
    for ticks in ([30.0], [day / 3 for day in range(100)]):
        world.event("ann", "go", at())
        for day in ticks:
            world.tick(at(day))
        ways.append([(row.from_step, row.to_step, row.visit, row.at) for row in world.transitions("ann")])
        world.begin_again()
    assert ways[0] == ways[1]


def test_a_split_is_not_drawn_again_in_a_loop_at_re_entry_or_in_a_replay(world: World) -> None:
    """Seen elsewhere: a cohort re-rolled whenever somebody came by."""
    world.deploy("""
workflow: offer
triggers: [{event: go}]
steps:
- id: choose
  wait: 1 hour
  next: {split: {a: 50, b: 50}}
- {id: a, next: {to: choose, max_visits: 3, then: end}}
- {id: b, next: {to: choose, max_visits: 3, then: end}}
""")
    seen = []
    for _ in range(2):
        for day in (0, 1):
            for n in range(40):
                world.event(f"c{n}", "go", at(day))
            world.tick(at(day, hours=12))
        taken = {f"c{n}": [step for step in world.way(f"c{n}") if step in ("a", "b")] for n in range(40)}
        assert all(len(ways) == 6 and len(set(ways)) == 1 for ways in taken.values())
        seen.append(taken)
        world.begin_again()
    assert seen[0] == seen[1]
    assert {ways[0] for ways in seen[0].values()} == {"a", "b"}


def test_a_restart_counts_anew(world: World) -> None:
    """As long as nothing was sent: the visits before it do not count, and a visit number is never used twice."""
    world.deploy(LOOP.replace("  do: [{send_sms: {text: Please answer}}]\n", "  wait: 1 hour\n"))
    world.event("ann", "go", at())
    world.event("ann", "go", at(2.5))
    world.tick(at(30))
    rows = world.transitions("ann")
    restarted = next(n for n, row in enumerate(rows) if row.why == "restarted")
    assert [row.to_step for row in rows[restarted:]].count("ask") == 3
    reached = [(row.to_step, row.visit) for row in rows if row.to_step]
    assert len(set(reached)) == len(reached)


def test_a_branch_that_is_full_goes_elsewhere_and_the_others_are_free(world: World) -> None:
    world.deploy("""
workflow: game
triggers: [{event: go}]
steps:
- id: play
  wait: {for: [won, lost], timeout: 1 day}
  next:
    - when: arrived.type == 'won'
      to: end
    - when: arrived.type == 'lost'
      to: play
      max_visits: 3
      then: comfort
    - else: miss
- id: miss
  wait: 1 hour
  next: {to: play, max_visits: 2, then: end}
- {id: comfort, wait: 1 second, next: end}
""")
    stories: dict[str, list[tuple[str, float]]] = {
        "winner": [("lost", 0.1), ("won", 0.2)],
        "loser": [("lost", 0.1), ("lost", 0.2), ("lost", 0.3), ("lost", 0.4)],
        "silent": [],
        "mixed": [("lost", 1.5), ("lost", 1.6)],
    }
    for name, events in stories.items():
        world.event(name, "go", at())
        for type_, day in events:
            world.event(name, type_, at(day))
    world.tick(at(30))
    assert {name: world.way(name) for name in stories} == {
        "winner": ["play", "play", "end"],
        "loser": ["play", "play", "play", "comfort", "end"],
        "silent": ["play", "miss", "play", "miss", "end"],
        # two ways lead back to the same step; each counts how often it was reached, not how it was reached
        "mixed": ["play", "miss", "play", "play", "comfort", "end"],
    }


def test_a_loop_through_a_window_or_a_split_makes_progress(world: World) -> None:
    world.deploy("""
workflow: weekly
triggers: [{event: go}]
steps:
- id: monday
  wait: {after: 1 day, until: "09:00", on: [mon]}
  do: [{send_sms: {text: A new week}}]
  next: {to: monday, max_visits: 4, then: choose}
- id: choose
  next: {split: {left: 50, right: 50}}
- {id: left, wait: 1 second, next: end}
- {id: right, wait: 1 second, next: end}
""")
    world.event("ann", "go", at())
    world.tick(at(60))
    assert [(m.visit, m.planned_at) for m in world.messages("ann")] == [(n, at(7 * n)) for n in (1, 2, 3, 4)]
    assert world.way("ann")[:5] == ["monday"] * 4 + ["choose"]
