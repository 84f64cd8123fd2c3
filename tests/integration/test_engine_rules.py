"""Goals and exits: what counts, what ends, what is taken back, and in which order one event does all of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def cart(*lines: str, steps: str = "- {id: rest, wait: 10 days}") -> str:
    return "workflow: cart\ntriggers: [{event: cart}]\nentry: {key: event.cart_id}\n" + "\n".join(lines) + f"\nsteps:\n{steps}\n"


def conversions(world: World) -> list[tuple[str, Any, Decimal | None, bool]]:
    """(entry key, when, value, exposed)"""
    keys = {j.id: j.entry_key for j in world.journeys()}
    return [(keys[c.journey_id], c.at, c.value, c.exposed) for c in world.rows(t.conversions, order=("at", "journey_id"))]


def ended(world: World) -> dict[str, Any]:
    """entry key -> (exit_reason, ended_at)"""
    return {j.entry_key: (j.exit_reason, j.ended_at) for j in world.journeys()}


def test_a_goal_counts_within_its_time_and_after_the_journey_ended(world: World) -> None:
    world.deploy(
        cart(
            "goal: {event: purchase, match: cart_id, when: arrived.total > 0, value: arrived.total * 2, within: 7 days}",
            steps="- {id: rest, wait: 2 days}",
        )
    )
    world.event("ann", "purchase", at(), cart_id="k1", total=1)
    world.event("ann", "cart", at(), cart_id="k1")
    world.event("ann", "cart", at(hours=1), cart_id="k2")
    for when, key, total in (
        (at(1), "k1", 10), (at(1, hours=1), "k1", 0), (at(3), "k1", 20.5), (at(3), "k3", 20), (at(7), "k1", 30),
        (at(7, seconds=1), "k1", 40), (at(7, seconds=1), "k2", 50),
    ):  # fmt: skip
        world.event("ann", "purchase", when, cart_id=key, total=total)
    report = world.tick(at(20))
    assert report.conversions == 4
    assert conversions(world) == [
        ("k1", at(1), 20, False), ("k1", at(3), 41, False), ("k1", at(7), 60, False), ("k2", at(7, seconds=1), 100, False),
    ]  # fmt: skip
    assert ended(world) == {"k1": ("completed", at(2)), "k2": ("completed", at(2, hours=1))}


def test_a_goal_without_match_counts_for_every_journey_and_knows_who_was_exposed(world: World) -> None:
    world.deploy(cart("goal: {event: purchase}", steps="- {id: pause, wait: 1 hour}\n- {id: remind, do: [{send_sms: {text: Hello}}]}"))
    world.event("ann", "cart", at(), cart_id="k1")
    world.event("ann", "purchase", at(minutes=30))
    world.tick(at(hours=1))
    world.event("ann", "cart", at(hours=2), cart_id="k2")
    world.accept("ann", at(hours=1))
    world.event("ann", "purchase", at(hours=2, minutes=30))
    world.tick(at(hours=5))
    half, later = at(minutes=30), at(hours=2, minutes=30)
    assert conversions(world) == [("k1", half, None, False), ("k1", later, None, True), ("k2", later, None, False)]


def test_an_exit_ends_only_the_journeys_it_matches(world: World) -> None:
    world.deploy(cart("exit:", "  - {event: emptied, match: cart_id}", "  - {event: closed, when: arrived.hard and event.total > 5}"))
    for key, total in (("k1", 9), ("k2", 9), ("k3", 1), (4, 1)):
        world.event("ann", "cart", at(), cart_id=key, total=total)
    world.event("ann", "emptied", at(minutes=-1), received=at(), cart_id="k2")
    seq = world.event("ann", "emptied", at(hours=1), cart_id="k1")
    world.event("ann", "emptied", at(hours=1), cart_id="4")
    world.event("ann", "emptied", at(hours=1))
    world.event("ann", "closed", at(hours=2))
    world.event("ann", "closed", at(hours=3), hard=True)
    world.event("bob", "emptied", at(hours=1), cart_id="k3")
    world.tick(at(hours=5))
    assert ended(world) == {"k1": ("exit_rule", at(hours=1)), "k2": ("exit_rule", at(hours=3)), "k3": (None, None), "4": (None, None)}
    rows = {row.at: row for row in world.transitions() if row.to_step is None}
    assert rows[at(hours=1)].detail["rule"] == "emptied, match cart_id"
    assert rows[at(hours=1)].detail["event"] == seq
    assert rows[at(hours=3)].detail["values"]["arrived.hard"] is True


def test_one_event_that_is_goal_and_exit_ends_with_reason_goal(world: World) -> None:
    world.deploy(
        cart(
            "goal: {event: purchase, match: cart_id, within: 1 day}",
            "exit:", "  - {event: purchase, when: arrived.total > 100}", "  - goal",
        )
    )  # fmt: skip
    for key in ("k1", "k2", "k3"):
        world.event("ann", "cart", at(), cart_id=key)
    world.event("ann", "purchase", at(hours=1), cart_id="k1", total=500)
    world.event("ann", "purchase", at(2), cart_id="k3", total=1)
    world.tick(at(3))
    assert ended(world) == {"k1": ("goal", at(hours=1)), "k2": ("exit_rule", at(hours=1)), "k3": ("exit_rule", at(hours=1))}
    assert [key for key, *_ in conversions(world)] == ["k1"]


def test_exits_take_back_what_was_not_sent_also_of_completed_journeys(world: World) -> None:
    world.deploy(
        cart(
            "goal: {event: purchase, match: cart_id}",
            "exit: [goal, {event: emptied, match: cart_id}]",
            steps="- {id: remind, do: [{send_sms: {text: Hello}}, {webhook_call: {url: 'https://example.org/x'}}]}",
        )
    )
    for key in ("k0", "k1", "k2", "k3", "k4"):
        world.event("ann", "cart", at(), cart_id=key)
        if key == "k0":
            world.tick(at())
            world.accept("ann", at())
    world.tick(at(minutes=1))
    m = t.messages
    with world.db.begin() as conn:  # delivery's part: one put off, one to be tried again
        conn.execute(sa.update(m).where(m.c.entry_key == "k4", m.c.channel == "sms").values(state="deferred"))
        conn.execute(sa.update(m).where(m.c.entry_key == "k4", m.c.channel == "webhook").values(state="retry", reason="500"))
    for key in ("k0", "k1", "k4"):
        world.event("ann", "purchase", at(hours=1), cart_id=key)
    world.event("ann", "emptied", at(hours=1), cart_id="k2")
    # received late: it happened before the cart was filled
    world.event("ann", "emptied", at(hours=-1), received=at(hours=1), cart_id="k3")
    report = world.tick(at(hours=2))
    assert {reason for reason, _ in ended(world).values()} == {"completed"}
    assert report.taken_back == 6
    states = {(m.entry_key, m.channel): (m.state, m.reason) for m in world.messages()}
    for channel in ("sms", "webhook"):
        assert [states[f"k{n}", channel] for n in range(5)] == [
            ("accepted", None), ("suppressed", "goal"), ("suppressed", "exit"), ("planned", None), ("suppressed", "goal"),
        ]  # fmt: skip


def test_an_exit_before_an_overdue_timer_in_the_same_tick(world: World) -> None:
    """The timer at two hours is overdue when the exit at three comes in: it ran before, and its message is taken back."""
    remind = "- {id: remind, do: [{send_sms: {text: Hello}}], next: rest}"
    world.deploy(cart("exit: [{event: emptied}]", steps="- {id: pause, wait: 2 hours}\n" + remind + "\n- {id: rest, wait: 1 day}"))
    for name, hours in (("early", 1), ("same", 2), ("late", 3)):
        world.event(name, "cart", at(), cart_id="k")
        world.event(name, "emptied", at(hours=hours))
    world.tick(at(hours=9))
    assert world.way("early") == world.way("same") == ["pause", "end"]
    assert world.way("late") == ["pause", "remind", "rest", "end"]
    assert [(m.customer_id, m.state, m.reason) for m in world.messages()] == [("late", "suppressed", "exit")]


def test_a_late_exit_ends_a_journey_where_it_is(world: World) -> None:
    world.deploy(cart("exit: [{event: emptied}]", steps="- {id: pause, wait: 2 hours}\n- {id: rest, wait: 1 day}"))
    world.event("ann", "cart", at(), cart_id="k")
    world.tick(at(hours=3))
    world.event("ann", "emptied", at(hours=1), received=at(hours=3))
    world.tick(at(hours=3))
    assert ended(world) == {"k": ("exit_rule", at(hours=2))}


ORDER = """
workflow: cart
triggers: [{event: purchase}]
entry: {reentry: after exit}
goal: {event: purchase, value: arrived.total}
%s
steps:
- id: settle
  wait: {for: %s, timeout: 30 days}
- id: thank
  do: [{update_profile: {increment: {thanked: 1}}}]
"""


def test_an_event_that_completes_a_journey_may_start_the_next(world: World) -> None:
    """Goal, exit, wake, enter: the purchase counts for the journey, wakes and completes it, and enters the next one."""
    world.deploy(ORDER % ("", "purchase"))
    for day in (0, 1, 2):
        world.event("ann", "purchase", at(day), total=day)
    world.tick(at(3))
    assert [(j.entered_at, j.ended_at, j.exit_reason) for j in world.journeys("ann")] == [
        (at(0), at(1), "completed"), (at(1), at(2), "completed"), (at(2), None, None),
    ]  # fmt: skip
    assert [(c.at, c.value) for c in world.rows(t.conversions, order=("at", "journey_id"))] == [(at(1), 1), (at(2), 2), (at(2), 2)]
    assert world.attributes("ann") == {"thanked": 2}


def test_an_exit_comes_before_the_wake_and_the_entry(world: World) -> None:
    exit_rule = "exit: [{event: purchase, when: arrived.total > 10}]"
    world.deploy(ORDER % (exit_rule, "purchase"))
    for day, total in ((0, 1), (1, 99), (2, 5)):
        world.event("ann", "purchase", at(day), total=total)
    world.tick(at(3))
    assert [(j.entered_at, j.ended_at, j.exit_reason) for j in world.journeys("ann")] == [
        (at(0), at(1), "exit_rule"), (at(1), at(2), "completed"), (at(2), None, None),
    ]  # fmt: skip
    assert world.attributes("ann") == {"thanked": 1}
    admission = world.rows(t.journey_admissions, order=("customer_id",))
    assert [(a.entries, a.active, a.last_entered_at, a.last_ended_at) for a in admission] == [(3, 1, at(2), at(2))]
