"""What journeys tell one another: events, starts, exits, changes, in the customer's order whatever the tick; and rules on conditions."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_flows import MAIL, entries, flow, mail_after, waiting_for_inner
from engine_world import World, at

from journey_pipelines.delivery.claim import Ledger
from journey_pipelines.engine.leaving import exit_predicates
from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: Any, tmp_path: Path) -> World:
    return World(db, tmp_path)


def after(moment: datetime) -> datetime:
    """An effect of a timer, whose place is the last of its instant."""
    return moment + timedelta(microseconds=1)


def test_start_workflow_and_emit_event(world: World) -> None:
    world.deploy(
        flow("first", "event: go", """  - id: tell
    wait: 1 hour
    do:
      - start_workflow: {workflow: second, payload: {gift: "{{ event.gift }}", n: "{{ event.n }}"}}
      - emit_event: {type: told, payload: {who: "{{ customer.first_name | default('you') }}"}}
"""),
        flow("second", "manual: true", mail_after("2 hours")),
        flow("third", "{event: told, when: event.who == 'you'}", MAIL),
    )  # fmt: skip
    world.event("ann", "go", at(), gift="book", n=3)
    world.tick(at(1))
    assert entries(world) == [("first", at()), ("second", after(at(hours=1))), ("third", after(at(hours=1)))]
    assert [j.trigger_id for j in world.journeys()] == ["go", "start_workflow", "told"]
    (asked,) = [e for e in world.rows(t.customer_events, "ann", order=("seq",)) if e.type == "enter.second"]
    assert (asked.payload, asked.causation_id, asked.depth) == ({"gift": "book", "n": 3, "trigger": "start_workflow"}, 1, 1)


TICKS = [[at(9)], [at(day) for day in range(1, 10)], [at(hours=7 * n) for n in range(1, 31)]]


@pytest.mark.parametrize("ticks", TICKS)
def test_an_effect_comes_before_what_is_due_behind_it(world: World, ticks: list[datetime]) -> None:
    """`boss` lets `worker` go on the second day; worker's mail of the third day must not be planned, whatever the tick."""
    world.deploy(
        flow("boss", "event: go", "  - id: let_go\n    wait: 2 days\n    do: [{exit_workflow: worker}]\n"),
        flow("worker", "event: go", mail_after("3 days")),
    )
    world.event("ann", "go", at())
    world.event("ann", "other", at(8))
    for now in ticks:
        world.tick(now)
    boss, worker = world.journeys("ann")
    assert (boss.exit_reason, worker.exit_reason, worker.ended_at) == ("completed", "exit_rule", after(at(2)))
    assert world.messages() == []


@pytest.mark.parametrize("ticks", TICKS)
def test_a_chain_through_ends_of_journeys(world: World, ticks: list[datetime]) -> None:
    world.deploy(
        flow("a", "event: go", "  - id: rest\n    wait: 1 day\n    next: end\n"),
        flow("b", "{event: journey.ended, when: event.workflow == 'a' and event.exit_reason == 'completed'}",
             "  - id: rest\n    wait: 1 day\n    next: end\n"),
        flow("c", "{event: journey.ended, when: event.workflow == 'b'}", MAIL),
        flow("d", "{event: journey.entered, when: event.workflow == 'c'}", MAIL),
    )  # fmt: skip
    world.event("ann", "go", at())
    for now in ticks:
        world.tick(now)
    micro = timedelta(microseconds=1)
    assert entries(world) == [("a", at()), ("b", at(1) + micro), ("c", at(2) + 2 * micro), ("d", at(2) + 2 * micro)]


def test_workflows_that_set_one_another_off_are_stopped(world: World) -> None:
    world.deploy(
        flow("ping", "event: go", "  - id: next\n    do: [{start_workflow: pong}]\n", "entry: {reentry: always}"),
        flow("pong", "manual: true", "  - id: next\n    do: [{start_workflow: ping}]\n", "entry: {reentry: always}"),
    )
    world.event("ann", "go", at())
    world.tick(at(hours=1))
    (refused,) = world.rows(t.event_quarantine, "ann")
    assert "effects in a row at one instant" in refused.reason
    assert len(world.journeys("ann")) == 17


def test_waiting_for_the_end_of_the_workflow_that_was_started(world: World) -> None:
    world.deploy(
        flow("outer", "event: go", waiting_for_inner("    wait: 1 hour\n")),
        flow("inner", "manual: true", MAIL),
    )  # fmt: skip
    world.event("ann", "go", at())
    world.tick(at(hours=2))
    assert world.sent("ann") == [("mail", "planned"), ("thanks", "planned")]


@pytest.mark.parametrize("ticks", TICKS)
def test_an_exit_on_a_condition(world: World, ticks: list[datetime]) -> None:
    world.deploy(
        flow("nurture", "event: go", mail_after("5 days"), "exit:\n  - when: customer.plan == 'paid'"),
        flow("upgrade", "event: go", "  - id: up\n    wait: 2 days\n    do: [{update_profile: {set: {plan: paid}}}]\n",
             "entry: {when: event.up}"),
    )  # fmt: skip
    for name, up in (("ann", True), ("bob", False), ("eve", False)):
        world.event(name, "go", at(), up=up)
    world.event("eve", "other", at(1), profile={"plan": "paid"})
    for now in ticks:
        world.tick(now)
    reasons = {j.customer_id: (j.exit_reason, j.ended_at) for j in world.journeys() if j.workflow_id == "nurture"}
    assert reasons == {"ann": ("exit_rule", after(at(2))), "bob": ("completed", at(5)), "eve": ("exit_rule", at(1))}


def test_a_condition_that_holds_already_exits_at_the_next_step(world: World) -> None:
    world.deploy(flow("nurture", "event: go", mail_after("1 day"), "exit:\n  - when: customer.plan == 'paid'"))
    world.profile("ann", at(-1), plan="paid")
    world.event("ann", "go", at())
    world.tick(at(2))
    assert (world.journey("ann").exit_reason, world.messages()) == ("exit_rule", [])


def test_goals_on_conditions_and_segments(world: World) -> None:
    (world.root / "segments").mkdir()
    (world.root / "segments" / "vip.yaml").write_text("segment: vip\nwhen: customer.lifetime_value > 100\n")
    steps = mail_after("5 days")
    world.deploy(
        flow("one", "event: go", steps, "goal: {when: customer.plan == 'paid', value: customer.lifetime_value}\nexit: [goal]"),
        flow("two", "event: go", steps, "goal: {segment: vip}\nexit: [{segment: vip}]"),
    )
    world.tick(at())
    world.profile("ann", at(), first_name="Ann")
    world.event("ann", "go", at())
    world.tick(at(hours=1))
    world.profile("ann", at(1), plan="paid", lifetime_value=50)
    world.tick(at(1))
    world.profile("ann", at(2), plan="paid", lifetime_value=500)
    world.tick(at(2))
    found = [(c.workflow_id, c.event_type, c.at, c.value) for c in world.rows(t.conversions, "ann", order=("at",))]
    assert found == [("one", "condition", at(1), 50), ("two", "segment.entered", at(2), None)]
    assert [(j.workflow_id, j.exit_reason) for j in world.journeys("ann")] == [("one", "goal"), ("two", "exit_rule")]


def test_unsubscribed_is_a_reason_of_its_own(world: World) -> None:
    world.deploy(flow("news", "event: go", """  - id: mail
    do: [{send_email: {template: hello, subject: Hello}}]
    next: rest
  - id: rest
    wait: 3 days
    next: end
""", "exit: [{event: message.unsubscribed}]"))  # fmt: skip
    world.event("ann", "go", at())
    world.tick(at(hours=1))
    world.accept("ann", at(hours=1))
    world.react("ann", "message.unsubscribed", at(hours=2), step="mail")
    world.tick(at(hours=2))
    assert world.journey("ann").exit_reason == "unsubscribed"


def test_runs_and_max_age(world: World) -> None:
    world.deploy(
        flow("spring", "event: go", "  - id: rest\n    wait: 9 days\n    next: end\n",
             "runs: {from: 2026-03-03, until: 2026-03-04}\nmax_age: 3 days")
    )  # fmt: skip
    for name, day in (("ann", 0), ("bob", 1), ("cid", 2.5), ("eve", 4)):
        world.event(name, "go", at(day))
    world.tick(at(20))
    reasons = {j.customer_id: (j.exit_reason, j.ended_at) for j in world.journeys()}
    assert reasons == {"bob": ("expired", at(4)), "cid": ("expired", at(5.5))}
    world.tick(at(21))
    assert [w.status for w in world.rows(t.automation_workflows, order=("id", "version"))] == ["completed"]


def test_limits(world: World) -> None:
    world.deploy(
        flow("few", "event: go", "  - id: rest\n    wait: 9 days\n    next: end\n", "limits: {in_flight: 5}"),
        flow("slow", "event: go", "  - id: rest\n    wait: 9 days\n    next: end\n", "limits: {entries: 3/hour}"),
    )
    for n in range(20):
        world.event(f"c{n}", "go", at(minutes=10 * n))
    report = world.tick(at(1))
    inside = [j.workflow_id for j in world.journeys()]
    assert (inside.count("few"), report.limited) == (5, 20 - 5 + 20 - inside.count("slow"))
    times = sorted(j.entered_at for j in world.journeys() if j.workflow_id == "slow")
    assert all(sum(0 <= (b - a).total_seconds() < 3600 for b in times) <= 3 for a in times) and len(times) >= 9


def test_an_exit_on_a_condition_holds_at_the_claim(world: World) -> None:
    """The profile changed after the message was planned, and the engine has not looked yet."""
    world.deploy(flow("nurture", "event: go", MAIL, "exit:\n  - when: customer.plan == event.plan"))
    for name in ("ann", "bob"):
        world.profile(name, at(), email_address=f"{name}@example.org", plan="free")
        world.event(name, "go", at(), plan="paid")
    world.tick(at())
    world.profile("ann", at(minutes=1), plan="paid")
    with world.db.begin() as conn:
        ledger = Ledger("email", {"email": lambda profile, now: sa.true()}, "test", leaving=exit_predicates(conn))
        due, suppressed = ledger.due(conn, at(minutes=1), range(64))
    assert (len(due), suppressed) == (1, {"exit": 1})
    assert {m.customer_id: (m.state, m.reason) for m in world.messages()} == {"ann": ("suppressed", "exit"), "bob": ("planned", None)}
