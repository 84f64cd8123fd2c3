"""What a step does: ledger rows, profile and segment writes, tasks, and the log that says so."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.store import tables as t
from journey_pipelines.store.hashes import message_key, shard_of


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def doing(actions: str, *, more: str = "", then: str = "") -> str:
    """A workflow `act` whose first step does this after an hour."""
    return f"workflow: act\ntriggers: [{{event: go}}]\n{more}\nsteps:\n- id: work\n  wait: 1 hour\n  do:\n{actions}\n{then}"


def test_every_kind_of_message_is_a_row_of_the_ledger(world: World) -> None:
    actions = """
    - send_email: {template: hello, subject: Hi}
    - send_email: {id: second, template: hello, subject: Again, expires: 2 hours}
    - send_sms: {text: "{{ event.total }}", when: event.total > 5}
    - send_push: {title: Hi, text: There}
    - webhook_call: {url: "https://example.org/hook", body: {total: "{{ event.total }}"}}
"""
    policies = "expires: {marketing: 12 hours, transactional: 3 days}\n"
    world.deploy(doing(actions, more="topic: offers\npriority: 7\nentry: {key: event.cart}"), policies=policies)
    world.event("ann", "go", at(), cart="k1", total=9)
    world.event("bob", "go", at(), cart="k2", total=5)
    report = world.tick(at(hours=3))
    assert (report.planned, report.conflicts, report.ended) == (9, 0, 2)
    assert [(m.action_id, m.channel) for m in world.messages("bob")] == [
        ("send_email", "email"), ("second", "email"), ("send_push", "push"), ("webhook_call", "webhook"),
    ]  # fmt: skip
    (journey,) = world.journeys("ann")
    salt = world.rows(t.engine_identity, order=("one",))[0].message_salt
    assert {m.action_id for m in world.messages("ann")} == {"send_email", "second", "send_sms", "send_push", "webhook_call"}
    for m in world.messages("ann"):
        assert m.message_key == message_key(salt, journey.id, "work", m.action_id, 1, m.channel)
        assert (m.journey_id, m.step_key, m.visit, m.slot, m.entry_key) == (journey.id, "work", 1, m.channel, "k1")
        assert (m.workflow_id, m.workflow_version, m.shard, m.category) == ("act", 1, shard_of("ann"), "marketing")
        assert (m.topic, m.priority, m.state, m.attempts) == ("offers", 7, "planned", 0)
        assert (m.planned_at, m.send_after, m.created_at) == (at(hours=1), at(hours=1), at(hours=3))
        assert m.expires_at - m.planned_at == timedelta(hours=2 if m.action_id == "second" else 12)


def test_a_transactional_message_lives_longer(world: World) -> None:
    world.deploy(doing("    - send_sms: {text: Hi}", more="category: transactional"))
    world.event("ann", "go", at())
    world.tick(at(hours=1))
    (message,) = world.messages()
    assert (message.category, message.expires_at) == ("transactional", at(3, hours=1))


def test_update_profile_keeps_types(world: World) -> None:
    actions = """
    - update_profile:
        set:
          plan: gold
          level: 3
          vip: true
          tags: [a, 1, "{{ event.total }}"]
          address: {city: "{{ event.city }}", floor: 2}
          total: "{{ event.total }}"
          text: "{{ event.total }} EUR"
          paid: "{{ event.paid }}"
          items: "{{ event.items }}"
          at: "{{ event.occurred_at }}"
          double: "{{ event.total * 2 }}"
          nothing: "{{ event.nothing }}"
          fallback: "{{ event.nothing | default('none') }}"
          first_name: "{{ event.name }}"
        unset: [old, last_name]
        increment: {visits: 1, points: "{{ event.total }}", lifetime_value: 2.5, unknown: "{{ event.nothing }}"}
"""
    world.deploy(doing(actions))
    world.profile("ann", old=1, last_name="Lee", visits=4, points="many", nothing="something", kept=[1])
    world.event("ann", "go", at(), total=9.5, city="Bern", paid=False, items=[{"sku": "x"}], name="  Ann ")
    world.tick(at(hours=1))
    assert world.attributes("ann") == {
        "plan": "gold", "level": 3, "vip": True, "tags": ["a", 1, 9.5], "address": {"city": "Bern", "floor": 2}, "total": 9.5,
        "text": "9.5 EUR", "paid": False, "items": [{"sku": "x"}], "at": "2026-03-02T09:00:00Z", "double": 19, "fallback": "none",
        "visits": 5, "points": 9.5, "kept": [1],
    }  # fmt: skip
    (profile,) = world.rows(t.customer_profiles, order=("customer_id",))
    assert (profile.first_name, profile.last_name, profile.lifetime_value) == ("Ann", None, 2.5)
    (row,) = world.log()
    assert (row.kind, row.state, row.detail["plan"], row.detail["visits"]) == ("update_profile", "done", "gold", 1)


def test_a_customer_without_a_profile_gets_one(world: World) -> None:
    world.deploy(doing("    - update_profile: {set: {plan: gold}, increment: {visits: 2}}"))
    world.event("ann", "go", at())
    world.tick(at(hours=1))
    assert world.attributes("ann") == {"plan": "gold", "visits": 2}


def test_two_of_one_kind_are_done_in_order(world: World) -> None:
    actions = """
    - update_profile: {id: first, set: {plan: gold, a: 1}, increment: {visits: 1, points: 5}}
    - update_profile: {id: second, set: {plan: silver}, unset: [a], increment: {visits: 2}, when: event.second}
    - update_profile: {id: third, set: {points: 100}}
    - add_to_segment: {id: in, segment: vip}
    - remove_from_segment: {id: out, segment: vip, when: event.second}
    - create_task: {id: call, title: Call}
    - create_task: {id: write, title: Write, when: event.second}
"""
    world.deploy(doing(actions))
    world.event("ann", "go", at(), second=True)
    world.event("bob", "go", at(), second=False)
    world.tick(at(hours=1))
    assert world.attributes("ann") == {"plan": "silver", "visits": 3, "points": 100}
    assert world.attributes("bob") == {"plan": "gold", "a": 1, "visits": 1, "points": 100}
    assert (world.segments("ann"), world.segments("bob")) == (set(), {"vip"})
    assert [(task.customer_id, task.action_id) for task in world.rows(t.tasks, order=("customer_id", "action_id"))] == [
        ("ann", "call"), ("ann", "write"), ("bob", "call"),
    ]  # fmt: skip
    assert {row.action_id for row in world.log("bob")} == {"first", "third", "in", "call"}


def test_a_task_that_lacks_a_value_is_logged_and_the_journey_goes_on(world: World) -> None:
    actions = """
    - create_task:
        title: "Call {{ customer.first_name }} about {{ event.cart }}"
        body: "{{ event.note }}"
        assignee: "{{ event.owner | default('sales') }}"
        due: 2 days
    - send_sms: {text: Hi}
"""
    world.deploy(doing(actions, then="- id: rest\n  wait: 1 hour\n  do: [{create_task: {title: Later}}]"))
    world.event("ann", "go", at(), profile={"first_name": "Ann"}, cart="k1", note="red", owner="eve")
    world.event("bob", "go", at(), cart="k1", profile={"first_name": " "})
    world.event("cid", "go", at(), cart="k1", profile={"first_name": "Cid"})
    world.tick(at(1))
    tasks = {task.customer_id: task for task in world.rows(t.tasks) if task.step_key == "work"}
    assert {name: (task.title, task.body, task.assignee) for name, task in tasks.items()} == {
        "ann": ("Call Ann about k1", "red", "eve"), "cid": ("Call Cid about k1", None, "sales"),
    }  # fmt: skip
    assert {(task.due_at, task.created_at, task.status) for task in tasks.values()} == {(at(2, hours=1), at(0, hours=1), "open")}
    states = {row.customer_id: (row.state, row.reason) for row in world.log() if row.step_key == "work"}
    assert states["ann"] == ("done", None)
    assert states["bob"] == ("failed", "the title names something that is missing")
    assert all(world.way(name) == ["work", "rest", "end"] for name in ("ann", "bob", "cid"))
    assert len(world.messages()) == 3


def right_after(**length: float) -> datetime:
    """An effect of a timer comes right behind it: the timer's place is the last of its instant."""
    return at(**length) + timedelta(microseconds=1)


def test_segments_are_joined_left_and_asked_for(world: World) -> None:
    then = """
- id: ask
  wait: 1 hour
  next:
    - when: in_segment('lapsed') and not in_segment('vip')
      to: leave
    - else: end
- id: leave
  do: [{remove_from_segment: lapsed}]
"""
    world.deploy(doing("    - add_to_segment: lapsed", more="entry: {when: not in_segment('blocked')}", then=then))
    with world.db.begin() as conn:
        for customer, segment in (("bob", "vip"), ("eve", "blocked")):
            row = {"segment_id": segment, "customer_id": customer, "change": "enter", "occurred_at": at(minutes=-1)}
            conn.execute(sa.insert(t.segment_changes).values(row))
    for name in ("ann", "bob", "eve"):
        world.event(name, "go", at())
    world.tick(at(hours=1))
    assert world.segments("ann") == {"lapsed"}
    world.tick(at(1))
    assert (world.segments("ann"), world.segments("bob"), world.segments("eve")) == (set(), {"vip", "lapsed"}, {"blocked"})
    assert world.way("eve") == []
    (member,) = world.rows(t.segment_memberships, "ann", order=("entered_at",))
    assert (member.entered_at, member.left_at, member.source) == (right_after(hours=1), right_after(hours=2), "workflow act")


def test_two_journeys_of_a_customer_both_write(world: World) -> None:
    """Due at one instant, at one step: neither write is lost."""
    world.deploy(doing("    - update_profile: {increment: {visits: 1}}", more="entry: {key: event.cart}"))
    for cart in ("k1", "k2", "k3"):
        world.event("ann", "go", at(), cart=cart)
    world.tick(at(hours=2))
    assert world.attributes("ann") == {"visits": 3}
    assert [j.exit_reason for j in world.journeys()] == ["completed"] * 3


def test_ids_may_have_63_letters(world: World) -> None:
    """PostgreSQL cuts names at 63 bytes: two columns of ids that differ in the last letter must stay two."""
    a, b = "x" * 62 + "a", "x" * 62 + "b"
    actions = f"""
    - update_profile: {{id: {a}, set: {{a: 1}}, increment: {{n: 1}}}}
    - update_profile: {{id: {b}, set: {{b: 1}}, when: event.both}}
    - create_task: {{id: {"t" + a[1:]}, title: A, body: A, assignee: A}}
    - create_task: {{id: {"t" + b[1:]}, title: B, body: B, assignee: B, when: event.both}}
    - send_sms: {{id: {"s" + a[1:]}, text: A}}
    - send_sms: {{id: {"s" + b[1:]}, text: B, when: event.both}}
    - add_to_segment: {{id: {"g" + a[1:]}, segment: {a}}}
    - add_to_segment: {{id: {"g" + b[1:]}, segment: {b}, when: event.both}}
"""
    step = f"- id: {a}\n  wait: 1 hour\n  do:\n{actions}\n"
    world.deploy(doing(actions, then=step).replace("workflow: act", f"workflow: {b}"))
    world.event("ann", "go", at(), both=True)
    world.event("bob", "go", at(), both=False)
    world.tick(at(1))
    assert world.attributes("ann") == {"a": 1, "b": 1, "n": 2}
    assert world.attributes("bob") == {"a": 1, "n": 2}
    assert {task.title for task in world.rows(t.tasks, "bob")} == {"A"}
    assert (len(world.messages("ann")), len(world.messages("bob"))) == (4, 2)
    assert (world.segments("ann"), world.segments("bob")) == ({a, b}, {a})
    assert world.way("ann") == ["work", a, "end"]
