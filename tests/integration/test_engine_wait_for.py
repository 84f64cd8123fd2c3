"""Waits for an event: which events count, where they stand in time against the timeout, and the look into history."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import World, at


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def waiting(wait: str, *, before: str = "", more: str = "") -> str:
    """A workflow for carts, one journey a cart, that goes to `came` or to `missing`."""
    return f"""
workflow: cart
triggers: [{{event: cart}}]
entry: {{key: event.cart_id}}
{more}
steps:
{before}
- id: settle
  wait: {wait}
  next:
    - when: arrived
      to: came
    - else: missing
- {{id: came, wait: 1 second, next: end}}
- {{id: missing, wait: 1 second, next: end}}
"""


def outcome(world: World, customer: str) -> tuple[str, object]:
    """Where the customer's only journey went from the wait, and when."""
    (row,) = [row for row in world.transitions(customer) if row.from_step == "settle"]
    return row.to_step, row.at


def test_the_earlier_of_event_and_timeout_wins(world: World) -> None:
    """All of it in one batch; an event at the timeout's instant counts."""
    world.deploy(waiting("{for: purchase, timeout: 2 hours}"))
    for name, minutes in {"early": 5 / 60, "before": 119, "same": 120, "after": 120 + 1 / 60, "never": None}.items():
        world.event(name, "cart", at(), cart_id="k")
        if minutes is not None:
            world.event(name, "purchase", at(minutes=minutes))
    world.tick(at(hours=5))
    assert {name: outcome(world, name) for name in ("early", "before", "same", "after", "never")} == {
        "early": ("came", at(seconds=5)),
        "before": ("came", at(minutes=119)),
        "same": ("came", at(hours=2)),
        "after": ("missing", at(hours=2)),
        "never": ("missing", at(hours=2)),
    }


def test_events_of_one_instant_count_by_arrival(world: World) -> None:
    world.deploy(waiting("{for: purchase, timeout: 2 hours}"))
    world.event("first", "purchase", at())
    for name in ("first", "second"):
        world.event(name, "cart", at(), cart_id="k")
    world.event("second", "purchase", at())
    world.tick(at(hours=5))
    assert outcome(world, "first") == ("missing", at(hours=2))
    assert outcome(world, "second") == ("came", at())


@pytest.mark.parametrize("since", ["step", "entry"])
def test_the_event_that_entered_never_ends_its_own_wait(world: World, since: str) -> None:
    world.deploy(waiting(f"{{for: cart, timeout: 2 hours, since: {since}}}"))
    world.event("ann", "cart", at(), cart_id="k")
    world.event("bob", "cart", at(), cart_id="k")
    world.event("bob", "cart", at(minutes=10), cart_id="k")
    world.tick(at(hours=5))
    assert outcome(world, "ann") == ("missing", at(hours=2))
    assert outcome(world, "bob") == ("came", at(minutes=10))


def test_one_event_ends_one_wait_of_a_journey(world: World) -> None:
    world.deploy(waiting("{for: purchase, timeout: 2 hours}", before="- {id: first, wait: {for: purchase, timeout: 1 hour}}"))
    world.event("ann", "cart", at(), cart_id="k")
    world.event("ann", "purchase", at(minutes=10))
    world.event("bob", "cart", at(), cart_id="k")
    world.event("bob", "purchase", at(minutes=10))
    world.event("bob", "purchase", at(minutes=10))
    world.tick(at(hours=5))
    assert outcome(world, "ann") == ("missing", at(hours=2, minutes=10))
    assert outcome(world, "bob") == ("came", at(minutes=10))


def test_match_and_when_pick_the_event(world: World) -> None:
    world.deploy(waiting("{for: [purchase, order], match: cart_id, when: arrived.total > event.total, timeout: 2 hours}"))
    for key, total in (("k1", 10), ("k2", 10), (3, 10), (None, 10)):
        world.event("ann", "cart", at(), cart_id=key, total=total)
    world.event("ann", "purchase", at(minutes=1), cart_id="k1", total=10)
    world.event("ann", "purchase", at(minutes=2), cart_id="k2")
    world.event("ann", "purchase", at(minutes=3), cart_id="3", total=99)
    world.event("ann", "purchase", at(minutes=4), total=99)
    world.event("ann", "order", at(minutes=5), cart_id="k1", total=11)
    world.event("ann", "order", at(minutes=6), cart_id=3.0, total=11)
    world.tick(at(hours=5))
    keys = {j.id: j.entry_key for j in world.journeys()}
    assert {keys[row.journey_id]: (row.to_step, row.at) for row in world.transitions() if row.from_step == "settle"} == {
        "k1": ("came", at(minutes=5)), "k2": ("missing", at(hours=2)), "3": ("came", at(minutes=6)),
    }  # fmt: skip


@pytest.mark.parametrize("since", ["step", "entry"])
def test_since_step_and_since_entry(world: World, since: str) -> None:
    world.deploy(waiting(f"{{for: purchase, match: cart_id, timeout: 2 hours, since: {since}}}", before="- {id: pause, wait: 1 hour}"))
    for name in ("early", "late", "both", "other"):
        world.event(name, "cart", at(), cart_id=name)
    world.event("early", "purchase", at(minutes=30), cart_id="early")
    world.event("late", "purchase", at(minutes=90), cart_id="late")
    world.event("both", "purchase", at(minutes=30), cart_id="both")
    world.event("both", "purchase", at(minutes=90), cart_id="both")
    world.event("other", "purchase", at(minutes=30), cart_id="early")
    world.tick(at(hours=5))
    early = since == "entry"
    assert outcome(world, "early") == (("came", at(hours=1)) if early else ("missing", at(hours=3)))
    assert outcome(world, "late") == ("came", at(minutes=90))
    assert outcome(world, "both") == ("came", at(hours=1) if early else at(minutes=90))
    assert outcome(world, "other") == ("missing", at(hours=3))


def test_since_entry_looks_at_nothing_that_comes_later(world: World) -> None:
    """Events of one instant: the wait is reached with the first, the second ends the journey, the third would have ended the wait."""
    world.deploy(waiting("{for: purchase, timeout: 2 hours, since: entry}", more="exit: [{event: closed}]"))
    for type_ in ("cart", "closed", "purchase"):
        world.event("ann", type_, at(), cart_id="k")
    world.tick(at(hours=5))
    assert world.journey("ann").exit_reason == "exit_rule"
    assert world.way("ann") == ["settle", "end"]


def test_a_late_event_does_not_turn_a_journeys_clock_back(world: World) -> None:
    world.deploy(waiting("{for: purchase, timeout: 2 hours, since: entry}", before="- {id: pause, wait: 1 hour}"))
    world.event("ann", "cart", at(), cart_id="k")
    world.tick(at(hours=2))
    world.event("ann", "purchase", at(minutes=30), received=at(hours=2))
    world.tick(at(hours=2))
    assert outcome(world, "ann") == ("came", at(hours=1))


def test_an_event_after_the_wait_was_left_changes_nothing(world: World) -> None:
    world.deploy(waiting("{for: purchase, timeout: 2 hours}"))
    world.event("ann", "cart", at(), cart_id="k")
    world.tick(at(hours=3))
    world.event("ann", "purchase", at(hours=1), received=at(hours=3))
    world.tick(at(hours=3))
    assert outcome(world, "ann") == ("missing", at(hours=2))


def test_a_timeout_looks_once_more_before_it_says_that_nothing_came(world: World) -> None:
    """The purchase was routed before the cart event came in, late: nobody waited for it then, and still it arrived in time."""
    world.deploy(waiting("{for: purchase, match: cart_id, timeout: 2 hours}"))
    world.event("ann", "purchase", at(minutes=20), cart_id="other")
    world.event("ann", "purchase", at(minutes=30), cart_id="k")
    world.event("ann", "purchase", at(minutes=40), cart_id="k")
    world.event("bob", "purchase", at(minutes=-1), cart_id="k")
    world.event("bob", "purchase", at(hours=2, seconds=1), cart_id="k")
    world.tick(at(hours=4))
    for name in ("ann", "bob"):
        world.event(name, "cart", at(), received=at(hours=4), cart_id="k")
    world.tick(at(hours=4))
    assert outcome(world, "ann") == ("came", at(minutes=30))
    assert outcome(world, "bob") == ("missing", at(hours=2))


@pytest.mark.parametrize("anybody", [False, True])
def test_a_message_event_belongs_to_the_journey_that_sent_the_message(world: World, anybody: bool) -> None:
    wait = "{for: [message.clicked, purchase], timeout: 2 days" + (", any: true}" if anybody else "}")
    world.deploy(waiting(wait, before="- {id: remind, do: [{send_sms: {text: Hello}}]}"))
    for name in ("k1", "k2"):
        world.event("ann", "cart", at(), cart_id=name)
    world.tick(at())
    world.accept("ann", at(minutes=1))
    # the second journey's message is clicked; a click on something that we did not send is nobody's
    world.react("ann", "message.clicked", at(hours=1), step="remind")
    world.event("ann", "message.clicked", at(minutes=30), message_key="0" * 32)
    world.tick(at(5))
    (first, second) = world.journeys("ann")
    went = {row.journey_id: (row.to_step, row.at) for row in world.transitions("ann") if row.from_step == "settle"}
    assert went[second.id] == ("came", at(minutes=30) if anybody else at(hours=1))
    assert went[first.id] == (("came", at(minutes=30)) if anybody else ("missing", at(2)))


def test_what_arrived_is_known_to_the_step_and_to_the_ledger(world: World) -> None:
    world.deploy("""
workflow: cart
triggers: [{event: cart}]
steps:
  - id: settle
    wait: {for: [purchase, call], timeout: 1 day}
    do:
      - update_profile: {set: {came: "{{ arrived.type }}", total: "{{ arrived.total }}", since: "{{ arrived.occurred_at }}"}}
      - send_sms: {text: "{{ arrived.total | default('nothing') }}"}
""")
    for name in ("ann", "bob"):
        world.event(name, "cart", at(), total=5)
    seq = world.event("ann", "call", at(hours=1), total=7.5)
    world.tick(at(5))
    assert world.attributes("ann") == {"came": "call", "total": 7.5, "since": "2026-03-02T10:00:00Z"}
    assert world.attributes("bob") == {}
    assert [(m.customer_id, m.arrived_seq, m.planned_at - at()) for m in world.messages()] == [
        ("ann", seq, timedelta(hours=1)), ("bob", None, timedelta(days=1)),
    ]  # fmt: skip
    why = {row.customer_id: (row.why, row.detail) for row in world.transitions() if row.from_step}
    assert why["ann"][1] == {"arrived": "call", "event": seq}
    assert why["bob"][1] == {"arrived": None, "event": None}
