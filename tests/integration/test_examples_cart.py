"""The example `cart_recovery`: a journey per cart, restarted while nobody was reminded, refreshed afterwards; two days of a shop."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from examples_world import ExampleWorld, Story, plays, wall

from journey_pipelines.store import tables as t

#: a Monday
START, END = wall("2026-03-02 00:00"), wall("2026-03-22 00:00")


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> ExampleWorld:
    return ExampleWorld(db, tmp_path, now=START)


def shopper(story: Story, customer: str, **profile: object) -> None:
    known = {"subscription_status": "active", "first_name": customer.title(), "timezone": "Europe/Berlin", **profile}
    story.event(START, customer, "visit", profile=known)


def cart(story: Story, customer: str, when: str, cart_id: str | None = None, items: int = 2, total: float = 40, **more: object) -> None:
    payload = {"cart_id": cart_id or f"{customer}-1", "item_count": items, "total": total, "cart_url": "https://larkspur.example/cart"}
    story.event(wall(f"2026-03-{when}"), customer, "cart_updated", **payload, **more)


def the_story() -> Story:
    story = Story()
    shopper(story, "ann", phone_number="+491701234567")
    cart(story, "ann", "02 09:00")
    cart(story, "ann", "02 09:30", items=3, total=80)
    story.click(wall("2026-03-02 11:00"), "ann", "remind")
    story.sends(wall("2026-03-02 13:01"))
    story.event(wall("2026-03-02 15:00"), "ann", "purchase", cart_id="ann-1", total=80)

    # two carts in the evening: one is emptied, and bought after all a day later
    shopper(story, "ben")
    cart(story, "ben", "02 20:30", "ben-1")
    cart(story, "ben", "02 21:00", "ben-2", total=15)
    story.event(wall("2026-03-02 21:40"), "ben", "cart_emptied", cart_id="ben-2")
    story.click(wall("2026-03-02 22:00"), "ben", "remind")
    story.event(wall("2026-03-03 22:00"), "ben", "purchase", cart_id="ben-2", total=15)

    # goes on shopping after each reminder
    shopper(story, "cat")
    for when in ("09:00", "10:20", "11:50", "13:10"):
        cart(story, "cat", f"02 {when}")

    # says nothing; comes again with the same cart after three days, nine, and twenty
    shopper(story, "dan")
    for day in ("02", "05", "11", "20"):
        cart(story, "dan", f"{day} 09:00")

    shopper(story, "eva", lifetime_value=800)
    cart(story, "eva", "02 09:00", total=300)

    # buys half a minute after the reminder was due: nobody sent it yet
    shopper(story, "flo")
    cart(story, "flo", "02 09:00")
    story.event(wall("2026-03-02 10:00:30"), "flo", "purchase", cart_id="flo-1", total=40)

    shopper(story, "gus")
    story.event(wall("2026-03-02 09:00"), "gus", "cart_updated", item_count=1, total=10)
    shopper(story, "hugo")
    cart(story, "hugo", "02 09:00", received=wall("2026-03-02 15:00:01"))
    shopper(story, "ida", subscription_status="unsubscribed")
    cart(story, "ida", "02 09:00")
    return story


def arm(world: ExampleWorld, customer: str) -> str:
    """The last call that a customer was assigned."""
    (row,) = world.rows(t.split_assignments, customer, order=("assigned_at",))
    found: str = row.arm
    return found


def test_what_each_one_gets_and_when(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(hours=6))
    assert not any(j.held_out for j in world.journeys())
    # restarted at 09:30, so the hour counts from there; two hours after the click by text message
    assert world.ledger("ann", "cart_recovery") == ["Mon 03-02 10:30 remind email", "Mon 03-02 13:00 offer sms"]
    assert world.ledger("ben", "cart_recovery") == ["Mon 03-02 21:30 remind email", "Tue 03-03 09:00 offer push"]
    assert world.ledger("cat", "cart_recovery") == [
        "Mon 03-02 10:00 remind email", "Mon 03-02 11:20 remind email", "Mon 03-02 12:50 remind email",
        f"Mon 03-02 13:10 {arm(world, 'cat')} email",
    ]  # fmt: skip
    # the second time is the last
    assert world.ledger("dan", "cart_recovery") == [
        "Mon 03-02 10:00 remind email", f"Tue 03-03 10:00 {arm(world, 'dan')} email",
        "Wed 03-11 10:00 remind email", f"Thu 03-12 10:00 {arm(world, 'dan')} email",
    ]  # fmt: skip
    assert world.ledger("eva", "cart_recovery") == ["Mon 03-02 10:00 remind email", "Tue 03-03 12:00 offer push"]
    assert world.ledger("flo", "cart_recovery") == ["Mon 03-02 10:00 remind email suppressed"]
    assert [world.steps(name, "cart_recovery") for name in ("gus", "hugo", "ida")] == [[], [], []]
    (task,) = world.rows(t.tasks)
    assert (task.title, task.assignee, task.due_at) == ("Call Eva about cart eva-1", "sales", wall("2026-03-05 12:00"))


def test_how_it_ends_and_what_counts(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=1))
    assert {name: world.ends(name, "cart_recovery") for name in ("ann", "ben", "cat", "dan", "flo")} == {
        "ann": ["completed Mon 03-02 13:00"],
        "ben": ["completed Tue 03-03 09:00", "exit_rule Mon 03-02 21:40"],
        "cat": ["completed Mon 03-02 13:10"],
        "dan": ["completed Tue 03-03 10:00", "completed Thu 03-12 10:00"],
        "flo": ["goal Mon 03-02 10:00:30"],
    }
    carts = {j.id: j.entry_key for j in world.journeys()}
    found = [(carts[c.journey_id], float(c.value), c.exposed) for c in world.rows(t.conversions, order=("at",))]
    assert found == [("flo-1", 40, False), ("ann-1", 80, True), ("ben-2", 15, False)]


def test_a_cart_is_restarted_until_somebody_was_reminded_and_refreshed_afterwards(world: ExampleWorld) -> None:
    story = Story()
    shopper(story, "ann")
    cart(story, "ann", "02 09:00", total=40)
    cart(story, "ann", "02 09:59", total=50)
    world.play(story, wall("2026-03-02 10:58"), timedelta(hours=2))
    journey = world.journey("ann")
    assert (journey.visit, journey.due_at, journey.entered_at) == (2, wall("2026-03-02 10:59"), wall("2026-03-02 09:00"))
    assert world.messages("ann") == []
    world.tick(wall("2026-03-02 10:59"))
    world.event("ann", "cart_updated", wall("2026-03-02 11:30"), cart_id="ann-1", item_count=5, total=250, cart_url="https://new.example")
    world.tick(wall("2026-03-02 11:30"))
    (context,) = world.rows(t.journey_context, order=("journey_id",))
    assert (context.event["total"], world.journey("ann").step_key, len(world.messages("ann"))) == (250, "remind", 1)
    assert world.journey("ann").due_at == wall("2026-03-02 12:30")


def test_one_in_ten_goes_the_same_way_and_gets_nothing(world: ExampleWorld) -> None:
    story = Story()
    people = [f"p{n}" for n in range(60)]
    for name in people:
        shopper(story, name, lifetime_value=900)
        cart(story, name, "02 09:00", total=300)
    world.play(story, wall("2026-03-04 00:00"), timedelta(days=1))
    aside = {j.customer_id for j in world.journeys() if j.held_out}
    assert 1 <= len(aside) <= 15
    assert {tuple(world.steps(name, "cart_recovery")) for name in people} == {("remind", "settle", "offer", "end")}
    assert {m.state for m in world.messages() if m.customer_id in aside} == {"held_out"}
    assert {m.state for m in world.messages() if m.customer_id not in aside} == {"planned"}
    assert {row.customer_id for row in world.rows(t.tasks)} == set(people) - aside


def test_the_same_with_every_tick(world: ExampleWorld) -> None:
    sizes = [timedelta(hours=7), timedelta(days=1), timedelta(days=20)]
    traces = dict(plays(world, the_story(), START, END, sizes))
    assert len(traces[sizes[0]]["messages"]) == 15
    assert all(trace == traces[sizes[0]] for trace in traces.values())
