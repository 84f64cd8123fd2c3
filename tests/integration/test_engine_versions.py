"""Deploying while people are in flight: journeys keep their version, newcomers take the newest, nobody is stuck."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


FIRST = """
workflow: cart
triggers: [{event: cart}]
entry: {while_active: restart}
goal: {event: purchase, match: cart_id, value: arrived.total}
exit:
  - {event: emptied, match: cart_id}
steps:
  - id: pause
    wait: {for: opened_app, timeout: 1 day}
  - id: remind
    do: [{send_sms: {text: "{{ event.total }}"}}]
  - id: rest
    wait: 1 day
    do: [{create_task: {title: "Call about {{ event.total }}"}}]
"""
SECOND = """
workflow: cart
triggers: [{event: cart}]
entry: {while_active: restart}
goal: {event: order, match: order_id}
exit:
  - {event: cancelled}
steps:
  - id: welcome
    wait: 3 hours
    do: [{send_push: {title: Hello, text: "{{ event.order_id }}"}}]
  - id: last
    wait: {for: clicked_ad, timeout: 5 days}
"""


def test_journeys_keep_their_version_and_newcomers_take_the_new_one(world: World) -> None:
    assert [c.version for c in world.deploy(FIRST).changes] == [1]
    for name in ("ann", "bob", "cid"):
        world.event(name, "cart", at(), cart_id=name, total=7)
    world.tick(at())
    assert [c.version for c in world.deploy(SECOND, now=at(hours=1)).changes] == [2]
    world.event("dan", "cart", at(hours=2), order_id="o1")
    # an old wait wakes, an old exit ends, an old goal counts; the new rules are not theirs
    world.event("ann", "opened_app", at(hours=3))
    world.event("bob", "cancelled", at(hours=3))
    world.event("bob", "emptied", at(hours=4), cart_id="bob")
    world.event("cid", "purchase", at(hours=5), cart_id="cid", total=70)
    world.event("dan", "opened_app", at(hours=5, minutes=30))
    world.event("dan", "emptied", at(hours=6))
    world.event("dan", "clicked_ad", at(hours=7))
    world.tick(at(10))
    assert {j.customer_id: (j.version, j.exit_reason, j.ended_at) for j in world.journeys()} == {
        "ann": (1, "completed", at(1, hours=3)),
        "bob": (1, "exit_rule", at(hours=4)),
        "cid": (1, "completed", at(2)),
        "dan": (2, "completed", at(hours=7)),
    }
    assert [(m.customer_id, m.channel, m.workflow_version) for m in world.rows(t.messages, order=("customer_id",))] == [
        ("ann", "sms", 1), ("cid", "sms", 1), ("dan", "push", 2),
    ]  # fmt: skip
    assert [(c.customer_id, c.version, c.value) for c in world.rows(t.conversions, order=("at",))] == [("cid", 1, 70)]
    assert {task.title for task in world.rows(t.tasks)} == {"Call about 7"}


def test_reentry_takes_the_newest_version(world: World) -> None:
    world.deploy(FIRST)
    world.event("ann", "cart", at(), cart_id="k")
    world.tick(at(5))
    world.deploy(SECOND)
    world.event("ann", "cart", at(5), order_id="o")
    world.tick(at(20))
    assert [(j.version, j.exit_reason) for j in world.journeys("ann")] == [(1, "completed"), (2, "completed")]


def test_an_event_for_an_old_journey_refreshes_what_its_own_version_reads(world: World) -> None:
    """The newest version names other keys and begins with another step; the old journey restarts by its own."""
    world.deploy(FIRST)
    world.event("ann", "cart", at(), cart_id="k", total=7)
    world.tick(at())
    world.deploy(SECOND)
    world.event("ann", "cart", at(hours=2), cart_id="k2", total=8)
    world.event("ann", "emptied", at(hours=3), cart_id="k")
    report = world.tick(at(10))
    assert (report.refreshed, report.restarted, report.entered) == (1, 1, 0)
    journey = world.journey("ann")
    assert (journey.version, journey.visit, journey.exit_reason, journey.ended_at) == (1, 2, "completed", at(2, hours=2))
    assert {task.title for task in world.rows(t.tasks)} == {"Call about 8"}


def test_what_did_not_change_is_not_a_new_version(world: World) -> None:
    world.deploy(FIRST)
    generation = world.deploy(FIRST).generation
    assert world.deploy(FIRST, now=at(1)).generation == generation
    changes = world.deploy(FIRST.replace("workflow: cart", "workflow: cart\nname: Cart recovery\ndescription: Bring them back.")).changes
    assert [(c.change, c.version) for c in changes] == [("status", 1)]


def test_versions_share_the_statements_of_steps_that_did_not_change(world: World) -> None:
    world.deploy(FIRST)
    world.deploy(FIRST.replace("{{ event.total }}", "{{ event.total }} EUR", 1))
    steps = world.rows(t.workflow_steps, order=("version", "position"))
    first, second = ({row.step_key: row.step_uid for row in steps if row.version == version} for version in (1, 2))
    assert {key for key in first if first[key] == second[key]} == {"pause", "rest"}
    world.event("ann", "cart", at(), total=1)
    world.tick(at(5))
    assert world.way("ann") == ["pause", "remind", "rest", "end"]


def test_a_workflow_that_left_the_folder_lets_its_people_go_on(world: World) -> None:
    world.deploy(FIRST)
    world.event("ann", "cart", at(), total=7)
    world.tick(at())
    for file in (world.root / "cart").iterdir():
        file.unlink()
    (world.root / "cart").rmdir()
    assert [(c.change, c.status) for c in world.deploy(now=at(hours=1)).changes] == [("archived", "archived")]
    world.event("bob", "cart", at(hours=2))
    world.tick(at(10))
    assert world.way("ann") == ["pause", "remind", "rest", "end"]
    assert world.journeys("bob") == []
