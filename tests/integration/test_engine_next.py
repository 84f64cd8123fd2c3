"""Where a step goes on: branches, else, splits; and what the transition says about the way taken."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.store import tables as t
from journey_pipelines.store.hashes import bucket_of


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def ends(*steps: str) -> str:
    return "".join(f"- {{id: {step}, wait: 1 second, next: end}}\n" for step in steps)


BRANCHES = """
workflow: offer
triggers: [{event: go}]
steps:
- id: choose
  wait: 1 hour
  next:
    - when: customer.country in ['DE', 'AT'] and event.total > 100
      to: big
    - when: event.total > 100
      to: abroad
    - when: customer.lifetime_value / event.orders >= 50
      to: loyal
    - else: rest
"""


def test_the_first_branch_that_holds_is_taken_and_written_down(world: World) -> None:
    world.deploy(BRANCHES + ends("big", "abroad", "loyal", "rest"))
    people: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "ann": ({"country": "DE", "lifetime_value": 900}, {"total": 101, "orders": 2}),
        "bob": ({"country": "FR"}, {"total": 101}),
        "cid": ({"country": "DE", "lifetime_value": 100}, {"total": 100, "orders": 2}),
        "dan": ({"country": "DE", "lifetime_value": 99}, {"total": 100, "orders": 2}),
        "eve": ({"country": "DE", "lifetime_value": 99}, {"total": "101", "orders": 0}),
    }
    for name, (profile, event) in people.items():
        world.event(name, "go", at(), profile=profile, **event)
    # nobody known, and nothing in the event
    world.event("fay", "go", at())
    world.tick(at(1))
    detail = {row.customer_id: row.detail for row in world.transitions() if row.from_step == "choose"}
    assert {name: found["to"] for name, found in detail.items()} == {
        "ann": "big", "bob": "abroad", "cid": "loyal", "dan": "rest", "eve": "rest", "fay": "rest",
    }  # fmt: skip
    assert detail["ann"] == {
        "rule": "customer.country in ['DE', 'AT'] and event.total > 100",
        "to": "big",
        "values": {"customer.country": "DE", "event.total": 101, "customer.lifetime_value": 900, "event.orders": 2},
    }
    assert detail["cid"]["rule"] == "customer.lifetime_value / event.orders >= 50"
    assert detail["fay"] == {
        "rule": "else",
        "to": "rest",
        "values": {"customer.country": None, "event.total": None, "customer.lifetime_value": None, "event.orders": None},
    }


def test_a_journey_runs_through_steps_without_waits_at_once(world: World) -> None:
    world.deploy("""
workflow: offer
triggers: [{event: go}]
steps:
- id: first
  next:
    - when: event.plan == 'gold'
      to: gold
    - else: end
- id: gold
  do: [{send_sms: {text: Hello}}]
  next: last
- id: last
  do: [{update_profile: {set: {seen: "{{ journey.entered_at }}"}}}]
""")
    world.event("ann", "go", at(), plan="gold")
    world.event("bob", "go", at(), plan="free")
    world.tick(at(hours=3))
    assert world.way("ann") == ["first", "gold", "last", "end"]
    assert world.way("bob") == ["first", "end"]
    assert {row.at for row in world.transitions()} == {at()}
    assert world.attributes("ann") == {"seen": "2026-03-02T09:00:00Z"}
    assert [(m.customer_id, m.planned_at) for m in world.messages()] == [("ann", at())]


def test_arrived_alone_asks_whether_something_came(world: World) -> None:
    world.deploy(
        """
workflow: offer
triggers: [{event: go}]
steps:
- id: settle
  wait: {for: [purchase, call], timeout: 1 hour}
  next:
    - when: arrived.type == 'call' and arrived.minutes > 3
      to: talked
    - when: arrived
      to: came
    - else: end
"""
        + ends("talked", "came")
    )
    world.event("ann", "go", at())
    world.event("ann", "purchase", at(minutes=1))
    world.event("bob", "go", at())
    world.event("cid", "go", at())
    world.event("cid", "call", at(minutes=5), minutes=4)
    world.tick(at(1))
    assert [world.way(name)[1] for name in ("ann", "bob", "cid")] == ["came", "end", "talked"]


SPLIT = """
workflow: offer
triggers: [{event: go}]
entry: {reentry: after exit}
steps:
- id: choose
  next: {split: {%s}}
"""


def arms(world: World) -> dict[str, list[str]]:
    """The arms each customer took, in the order of their journeys."""
    taken: dict[str, list[str]] = {}
    for row in world.transitions():
        if row.from_step == "choose":
            taken.setdefault(row.customer_id, []).append(row.to_step or "end")
    return taken


def go(world: World, people: list[str], day: float) -> None:
    world.events([{"customer_id": p, "type": "go", "occurred_at": at(day), "received_at": at(day), "payload": {}} for p in people])
    world.tick(at(day, hours=1))


def test_a_split_is_sticky_and_about_right(world: World) -> None:
    people = [f"c{n}" for n in range(1000)]
    world.deploy(SPLIT % "a: 20, b: 30, end: 50" + ends("a", "b"))
    go(world, people, 0)
    first = {name: arm for name, (arm,) in arms(world).items()}
    count = Counter(first.values())
    assert 160 <= count["a"] <= 240
    assert 250 <= count["b"] <= 350
    assert first == {p: arm_of(bucket_of(f"split|offer|choose|{p}"), {"a": 2000, "b": 5000, "end": 10_000}) for p in people}

    # other weights are for newcomers; those who were assigned keep their arm
    world.deploy(SPLIT % "a: 80, b: 10, end: 10" + ends("a", "b"))
    newcomers = [f"new{n}" for n in range(200)]
    go(world, [*people, *newcomers], 1)
    second = arms(world)
    assert all(second[p] == [first[p]] * 2 for p in people)
    assert 140 <= sum(second[p] == ["a"] for p in newcomers) <= 180

    # an arm that is gone is assigned anew, once
    world.deploy(SPLIT % "b: 50, end: 50" + ends("b"))
    go(world, people, 2)
    go(world, people, 3)
    third = arms(world)
    assert all(third[p][2:] == [first[p]] * 2 for p in people if first[p] != "a")
    assert all(third[p][2] == third[p][3] in ("b", "end") for p in people)
    assert len(world.rows(t.split_assignments, order=("customer_id",))) == 1200


def arm_of(bucket: int, limits: dict[str, int]) -> str:
    assert 0 <= bucket < 10_000
    return next(arm for arm, limit in limits.items() if bucket < limit)


def test_two_journeys_of_one_customer_take_one_arm(world: World) -> None:
    world.deploy((SPLIT % "a: 50, b: 50" + ends("a", "b")).replace("reentry: after exit", "key: event.cart_id"))
    for name in ("ann", "bob", "cid", "dan", "eve", "fay"):
        for cart in ("k1", "k2", "k3"):
            world.event(name, "go", at(), cart_id=cart)
    world.tick(at(1))
    taken = arms(world)
    assert {len(ways) for ways in taken.values()} == {3}
    assert {len(set(ways)) for ways in taken.values()} == {1}
    assert {row.detail["rule"] for row in world.transitions() if row.from_step == "choose"} == {"split"}


def test_the_order_in_which_arms_are_written_decides_nothing(world: World) -> None:
    """jsonb sorts keys by their length first."""
    people = [f"c{n}" for n in range(40)]
    expected = {"a": 3000, "end": 7000, "longer": 10_000}
    for written in ("longer: 30, a: 30, end: 40", "end: 40, a: 30, longer: 30"):
        world.deploy(SPLIT % written + ends("a", "longer"))
        world.begin_again()
        go(world, people, 0)
        assert arms(world) == {p: [arm_of(bucket_of(f"split|offer|choose|{p}"), expected)] for p in people}


def test_splits_and_hold_outs_are_drawn_apart(world: World) -> None:
    """A tenth held out and a tenth to an arm: were it one draw, all of the arm would be the held out."""
    world.deploy((SPLIT % "a: 10, b: 90" + ends("a", "b")).replace("triggers:", "hold_out: 10%\ntriggers:"))
    go(world, [f"c{n}" for n in range(1000)], 0)
    taken = arms(world)
    both = [j for j in world.journeys() if j.held_out and taken[j.customer_id] == ["a"]]
    assert 2 <= len(both) <= 25
