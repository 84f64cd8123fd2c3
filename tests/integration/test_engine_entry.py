"""Who enters a workflow: conditions, keys, re-entry, lateness, what happens to those already in it, hold-out, status."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.store import tables as t
from journey_pipelines.store.hashes import bucket_of


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def cart(entry: str = "", *, triggers: str = "- event: cart", more: str = "", steps: str = "") -> str:
    """A workflow `cart` whose first step waits a day and sends; `entry` are the lines under `entry:`."""
    lines = f"entry:\n  {entry}\n" if entry else ""
    steps = steps or "- id: pause\n  wait: 1 day\n- id: remind\n  do: [send_sms: {text: Hello}]"
    return f"workflow: cart\n{more}\ntriggers:\n{triggers}\n{lines}steps:\n{steps}\n"


def test_a_trigger_and_the_entry_condition_both_decide(world: World) -> None:
    world.deploy(
        cart("when: customer.lifetime_value >= 100", triggers="- {event: cart, when: event.items > 0 and customer.country == 'DE'}")
    )
    people = {
        "ann": ("DE", 100, 2), "rich_abroad": ("FR", 900, 2), "poor": ("DE", 99, 2), "empty": ("DE", 500, 0), "text": ("DE", 500, "2"),
    }  # fmt: skip
    for name, (country, value, items) in people.items():
        world.profile(name, country=country, lifetime_value=value)
        world.event(name, "cart", at(), items=items)
    world.event("nobody", "cart", at(), items=2)
    report = world.tick(at(hours=1))
    assert [j.customer_id for j in world.journeys()] == ["ann"]
    assert (report.entered, report.routed, report.quarantined) == (1, 6, 0)
    detail = world.transitions("ann")[0].detail
    assert detail["rule"] == "event.items > 0 and customer.country == 'DE'"
    assert detail["eligibility"] == "customer.lifetime_value >= 100"
    assert detail["values"] == {"event.items": 2, "customer.country": "DE", "customer.lifetime_value": 100}


def test_one_journey_a_key_and_none_without(world: World) -> None:
    world.deploy(cart("key: event.cart_id"))
    for key in ("k1", "k2", "k1", 7, True):
        world.event("ann", "cart", at(), cart_id=key)
    world.event("ann", "cart", at(), cart_id=None)
    world.event("ann", "cart", at(), basket="k1")
    world.event("ann", "cart", at(), cart_id=["k1"])
    report = world.tick(at(hours=1))
    assert [j.entry_key for j in world.journeys("ann")] == ["k1", "k2", "7", "true"]
    assert report.keyless == 3


def test_a_long_key_is_shortened_and_stays_one_key(world: World) -> None:
    world.deploy(cart("key: event.cart_id"))
    for key in ("x" * 300, "x" * 299 + "y", "x" * 300):
        world.event("ann", "cart", at(), cart_id=key)
    world.tick(at())
    keys = [j.entry_key for j in world.journeys("ann")]
    assert len(keys) == 2
    assert keys[0] != keys[1]
    assert all(len(key) <= 200 for key in keys)


# entries at days 0, 0.5 (still in it), 2 and 9; a journey lasts one day
REENTRY: list[tuple[str, list[float]]] = [
    ("never", [0]),
    ("after exit", [0, 2, 9]),
    ("always", [0, 0.5, 2, 9]),
    ("{after: 1 day, of: exit}", [0, 2, 9]),
    ("{after: 25 hours, of: exit}", [0, 9]),
    ("{after: 8 days, of: exit}", [0, 9]),
    ("{after: 2 days, of: entry}", [0, 2, 9]),
    ("{after: 9 days, of: entry}", [0, 9]),
    ("{after: 10 days, of: entry}", [0]),
    ("{after: 1 day, of: exit, max: 2}", [0, 2]),
]


@pytest.mark.parametrize("batches", ["one tick", "a tick an event"])
def test_reentry(world: World, batches: str) -> None:
    """Every policy is a workflow of its own, and all see the same events."""
    world.deploy(*(cart(f"reentry: {policy}").replace("cart", f"cart_{n}", 1) for n, (policy, _) in enumerate(REENTRY)))
    for day in (0, 0.5, 2, 9):
        world.event("ann", "cart", at(day))
        if batches == "a tick an event":
            world.tick(at(day))
    world.tick(at(20))
    journeys = world.journeys("ann")
    assert all(j.ended_at == j.entered_at + timedelta(days=1) for j in journeys)
    entered = {policy: [j.entered_at for j in journeys if j.workflow_id == f"cart_{n}"] for n, (policy, _) in enumerate(REENTRY)}
    assert entered == {policy: [at(day) for day in days] for policy, days in REENTRY}


def test_an_event_received_too_late_is_history(world: World) -> None:
    world.deploy(cart("max_lateness: 2 hours"))
    world.event("ann", "cart", at(), received=at(hours=2))
    world.event("bob", "cart", at(), received=at(hours=2, seconds=1))
    # however late the engine looks, what counts is how late the event was received
    world.tick(at(days=30))
    assert [j.customer_id for j in world.journeys()] == ["ann"]
    assert len(world.rows(t.customer_events, order=("seq",))) == 2


def test_the_first_trigger_in_the_list_is_recorded(world: World) -> None:
    triggers = "- {id: big, event: cart, when: event.total > 100}\n- {id: off, event: cart, active: false}\n- {id: any, event: cart}"
    world.deploy(cart(triggers=triggers))
    world.event("ann", "cart", at(), total=500)
    world.event("bob", "cart", at(), total=5)
    world.tick(at())
    assert {j.customer_id: j.trigger_id for j in world.journeys()} == {"ann": "big", "bob": "any"}
    assert len(world.transitions()) == 2


def in_progress(mode: str) -> str:
    return cart(
        f"while_active: {mode}",
        steps="""
- {id: pause, wait: 1 day}
- {id: remind, do: [{send_sms: {text: Hello}}, {update_profile: {set: {MODE: "{{ event.total }}"}}}]}
- {id: rest, wait: 2 days}
""".replace("MODE", mode),
    ).replace("cart", f"cart_{mode}", 1)


def test_an_event_for_those_already_in_it(world: World) -> None:
    world.deploy(*(in_progress(mode) for mode in ("ignore", "refresh", "restart")))
    world.event("ann", "cart", at(), total=1)
    world.event("ann", "cart", at(0.5), total=2)
    report = world.tick(at(2))
    assert (report.entered, report.refreshed, report.restarted) == (3, 2, 1)
    assert world.attributes("ann") == {"ignore": 1, "refresh": 2, "restart": 2}
    assert {j.workflow_id: (j.visit, j.entered_at) for j in world.journeys()} == {
        "cart_ignore": (1, at()), "cart_refresh": (1, at()), "cart_restart": (2, at()),
    }  # fmt: skip
    assert {m.workflow_id: (m.visit, m.planned_at) for m in world.messages()} == {
        "cart_ignore": (1, at(1)), "cart_refresh": (1, at(1)), "cart_restart": (2, at(1.5)),
    }  # fmt: skip


def test_restart_is_a_refresh_once_a_message_is_planned(world: World) -> None:
    world.deploy(in_progress("restart"))
    world.event("ann", "cart", at(), total=1)
    world.tick(at(1))
    world.event("ann", "cart", at(1.5), total=2)
    report = world.tick(at(1.5))
    assert (report.restarted, report.refreshed, report.entered) == (0, 1, 0)
    assert world.journey("ann").step_key == "rest"
    assert "restarted" not in {row.why for row in world.transitions("ann")}
    context = world.rows(t.journey_context, order=("journey_id",))
    assert [row.event for row in context] == [{"total": 2}]


def test_a_late_event_restarts_nobody_who_is_further_on(world: World) -> None:
    world.deploy(in_progress("restart").replace("{send_sms: {text: Hello}}, ", ""))
    world.event("ann", "cart", at(), total=1)
    world.event("bob", "cart", at(1.5), total=1)
    world.tick(at(2))
    world.event("ann", "cart", at(0.5), received=at(1.25), total=2)
    world.event("bob", "cart", at(1), received=at(1.5), total=2)
    report = world.tick(at(2))
    # before the journey's place: a refresh; before its entry: nothing
    assert (report.restarted, report.refreshed) == (0, 1)
    assert (world.journey("ann").step_key, world.journey("ann").at) == ("rest", at(1))
    assert [row.event["total"] for row in world.rows(t.journey_context, order=("journey_id",))] == [2, 1]


def test_hold_out_is_sticky_about_right_and_goes_the_same_way(world: World) -> None:
    world.deploy(
        cart("reentry: always", more="hold_out: 10%", steps="""
- id: remind
  do:
    - send_sms: {text: Hello}
    - webhook_call: {url: "https://example.org/hook"}
    - create_task: {title: Call}
    - update_profile: {set: {reminded: true}}
    - add_to_segment: reminded
""")
    )  # fmt: skip
    people = [f"c{n}" for n in range(1000)]
    for _ in range(2):
        world.events([{"customer_id": p, "type": "cart", "occurred_at": at(), "received_at": at(), "payload": {}} for p in people])
    world.tick(at(1))
    journeys = world.journeys()
    held_out = {j.customer_id for j in journeys if j.held_out}
    assert len(journeys) == 2000
    assert len([j for j in journeys if j.held_out]) == 2 * len(held_out)
    assert held_out == {p for p in people if bucket_of(f"hold-out|cart|{p}") < 1000}
    assert 70 <= len(held_out) <= 130
    assert all((m.state == "held_out") == (m.customer_id in held_out) for m in world.messages())
    assert len(world.messages()) == 4000
    assert {task.customer_id for task in world.rows(t.tasks)} == set(people) - held_out
    assert {row.state for row in world.log() if row.kind == "create_task" and row.customer_id in held_out} == {"held_out"}
    one = min(held_out)
    assert world.attributes(one) == {"reminded": True}
    assert world.segments(one) == {"reminded"}
    assert {j.exit_reason for j in journeys} == {"completed"}


def test_a_larger_hold_out_keeps_those_in_it(world: World) -> None:
    shares: dict[str, set[str]] = {}
    for share in ("5%", "20%"):
        world.deploy(cart("reentry: always", more=f"hold_out: {share}"))
        for n in range(100):
            world.event(f"c{n}", "cart", at())
        world.tick(at())
        shares[share] = {j.customer_id for j in world.journeys() if j.held_out and j.version == len(shares) + 1}
    assert shares["5%"] < shares["20%"]


@pytest.mark.parametrize(("status", "way"), [("draft", ["pause"]), ("archived", ["pause", "remind", "end"])])
def test_only_an_active_workflow_takes_people_in(world: World, status: str, way: list[str]) -> None:
    """A draft stands still; an archived workflow lets those in it go on."""
    world.deploy(cart())
    world.event("ann", "cart", at())
    world.tick(at())
    world.deploy(cart(more=f"status: {status}"))
    world.event("bob", "cart", at(hours=1))
    world.tick(at(3))
    assert [j.customer_id for j in world.journeys()] == ["ann"]
    assert world.way("ann") == way
    world.deploy(cart(), now=at(3))
    world.event("bob", "cart", at(3))
    world.tick(at(3))
    assert [j.customer_id for j in world.journeys()] == ["ann", "bob"]
