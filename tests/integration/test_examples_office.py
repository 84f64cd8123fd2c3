"""The example `office_nurture`: a partner scores, sales call, and workflows start and end one another; what others answer are events."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from examples_world import ExampleWorld, Story, plays, shown, wall

from journey_pipelines.audience.tasks import close_task, list_tasks
from journey_pipelines.delivery.answers import tell_answers
from journey_pipelines.delivery.channel import Answer
from journey_pipelines.delivery.settle import Settled
from journey_pipelines.store import tables as t

#: a Monday
START, END = wall("2026-03-02 00:00"), wall("2026-04-20 00:00")
PEOPLE = ("ann", "bob", "cid", "dee", "eve", "fay", "gus", "hil", "ian", "joe")


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> ExampleWorld:
    return ExampleWorld(db, tmp_path, now=START)


def lead(story: Story, customer: str, when: str = "03-02 09:30", seats: int = 50, grade: str | None = "B", status: int = 200) -> None:
    """Registers at nine; the CRM writes the office's size, and a minute later the partner has answered, if at all."""
    moment, answered = wall(f"2026-{when}"), wall(f"2026-{when}") + timedelta(minutes=1)
    known = {"subscription_status": "active", "timezone": "Europe/Berlin", "first_name": customer.title()}
    story.event(wall("2026-03-02 09:00"), customer, "user_registered", profile=known, referrer="fair")
    story.then(moment, lambda world: world.profile(customer, moment, company=f"{customer.title()} Ltd", seats=seats))
    if grade is not None:
        body = {"grade": grade, "points": 71.5}
        story.then(answered, lambda world: answers(world, customer, answered, status, json.dumps(body)))


def answers(world: ExampleWorld, customer: str, when: datetime, status: int, body: str) -> None:
    """Delivery's part: the partner took the call and said something."""
    (call,) = [m for m in world.messages(customer) if m.channel == "webhook"]
    assert call.state == "planned"
    world.accept(customer, when)
    with world.db.begin() as conn:
        tell_answers(conn, when, [Settled(call.id, 1, "accepted", None, answer=Answer(status, body.encode()))])


def closes(story: Story, customer: str, when: str, outcome: str, note: str | None = None) -> None:
    """Sales close the latest open task about a customer."""
    moment = wall(f"2026-{when}")

    def act(world: ExampleWorld) -> None:
        with world.db.begin() as conn:
            task = [task for task in list_tasks(conn) if task.customer_id == customer][-1]
            close_task(conn, task.id, by="sam", now=moment, outcome=outcome, note=note)

    story.then(moment, act)


def the_story() -> Story:
    story = Story()
    lead(story, "ann", grade="A")
    closes(story, "ann", "03-02 14:00", "trial", "Sam")
    lead(story, "bob")
    story.click(wall("2026-03-06 11:00"), "bob", "guide")
    lead(story, "cid", grade="A")
    for when in ("03-03 10:00", "03-04 10:00", "03-05 10:00"):
        closes(story, "cid", when, "no_answer")
    # the partner is down, but with so many seats one calls; she had begun a trial of her own
    lead(story, "dee", seats=250, grade=None)
    story.event(wall("2026-03-02 09:10"), "dee", "trial_started", profile={"trial_end": "2026-03-20"}, plan="subscription")
    closes(story, "dee", "03-04 10:00", "won")
    lead(story, "eve", grade=None)
    lead(story, "fay", grade="D")
    # too small at first
    lead(story, "gus", seats=5, grade=None)
    story.then(wall("2026-03-09 12:00"), lambda world: world.profile("gus", wall("2026-03-09 12:00"), seats=12))
    # one subscribes by herself, one is lost to another roaster
    lead(story, "hil")
    story.event(wall("2026-03-03 16:00"), "hil", "subscription_started", profile={"plan": "paid"}, plan="office", price=190)
    lead(story, "ian")
    story.then(wall("2026-03-06 16:00"), lambda world: world.profile("ian", wall("2026-03-06 16:00"), office_stage="lost"))
    # clicks in every mail and cannot be reached: three calls, whatever led to them
    lead(story, "joe")
    for when in ("03-06 11:00", "03-18 11:00", "03-27 11:00"):
        story.click(wall(f"2026-{when}"), "joe", "guide")
    for when in ("03-19 10:00", "03-20 10:00"):
        closes(story, "joe", when, "no_answer")
    return story


def test_what_each_one_gets_and_when(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=7))
    office = {name: world.ledger(name, "office_nurture") for name in PEOPLE}
    assert {tuple(lines[:1]) for name, lines in office.items() if name != "gus"} == {("Mon 03-02 09:30 score webhook",)}
    guide = "Thu 03-05 09:30 guide email"
    # who said later, or nothing, is asked again on the first Monday of the quarter, and the partner answers nothing then
    again = ["Mon 04-06 08:00 score webhook", "Thu 04-09 09:30 guide email"]
    assert {name: lines[1:] for name, lines in office.items()} == {
        "ann": [],
        "bob": [guide, "Tue 03-17 09:30 guide email", *again],
        "cid": ["Tue 03-10 09:30 guide email", *again],
        "dee": [],
        "eve": [guide, *again],
        "fay": [],
        "gus": ["Tue 03-17 09:30 guide email", *again],
        "hil": [],
        "ian": [f"{guide} suppressed"],
        "joe": [guide, "Tue 03-17 09:30 guide email", "Tue 03-24 09:30 guide email", *again],
    }
    assert office["gus"][0] == "Mon 03-09 12:00 score webhook"
    # a trial that was agreed on the telephone: 30 days from then
    assert world.attributes("ann")["trial_end"] == "2026-04-01"
    assert world.ledger("ann", "trial_expiry") == [
        "Wed 03-25 10:00 week_before email", "Sun 03-29 10:00 three_days email", "Tue 03-31 10:00 last_day email",
        "Fri 04-03 10:00 ended email",
    ]  # fmt: skip
    assert world.ledger("dee", "trial_expiry") == []


def test_how_it_ends_and_what_counts(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=14))
    assert {name: world.ends(name, "office_nurture")[0] for name in PEOPLE} == {
        "ann": "completed Mon 03-02 14:00",
        "bob": "completed Tue 03-24 09:30",
        "cid": "completed Tue 03-17 09:30",
        "dee": "completed Wed 03-04 10:00",
        "eve": "completed Thu 03-12 09:30",
        "fay": "completed Mon 03-02 09:31",
        "gus": "completed Tue 03-24 09:30",
        "hil": "exit_rule Tue 03-03 16:00",
        "ian": "exit_rule Fri 03-06 16:00",
        "joe": "completed Fri 03-27 11:00",
    }
    # an office is no private customer: the welcome ends where the office's journey begins
    welcomes = {name: world.ends(name, "welcome") for name in PEOPLE}
    assert welcomes.pop("gus") == ["exit_rule Mon 03-09 12:00"]
    assert set(map(tuple, welcomes.values())) == {("exit_rule Mon 03-02 09:30",)}
    assert world.ends("dee", "trial_expiry") == ["exit_rule Wed 03-04 10:00"]
    # her journey says itself that she was won: 250 seats
    found = [(c.customer_id, c.workflow_id, float(c.value)) for c in world.rows(t.conversions, order=("at",))]
    assert found == [("dee", "office_nurture", 3000)]
    stages = {name: world.attributes(name).get("office_stage") for name in PEOPLE}
    assert stages == {
        "ann": "trial", "bob": "later", "cid": "later", "dee": "won", "eve": "later", "fay": None, "gus": "later", "hil": None,
        "ian": "lost", "joe": "later",
    }  # fmt: skip
    assert {name: world.attributes(name).get("grade") for name in ("ann", "bob", "dee", "fay")} == {
        "ann": "A", "bob": "B", "dee": None, "fay": "D",
    }  # fmt: skip


def test_tasks_are_for_people_and_three_calls_are_enough(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=10))
    calls = {name: [row for row in world.rows(t.tasks, name) if row.step_key == "call"] for name in PEOPLE}
    assert {name: len(rows) for name, rows in calls.items() if rows} == {"ann": 1, "bob": 1, "cid": 3, "dee": 1, "joe": 3}
    assert [(row.title, row.body) for row in (*calls["ann"], *calls["dee"])] == [
        ("Call Ann at Ann Ltd", "50 seats, graded A"), ("Call Dee at Dee Ltd", "250 seats, graded by nobody"),
    ]  # fmt: skip
    assert [shown(row.due_at) for row in calls["cid"]] == ["Wed 03-04 09:31", "Thu 03-05 10:00", "Fri 03-06 10:00"]
    assert [row.outcome for row in calls["joe"]] == [None, "no_answer", "no_answer"]
    # the third call led on whatever had led to it, and a click after that asks nobody to call
    assert world.steps("joe", "office_nurture")[:15] == [
        "score", "graded", "guide", "reaction", "call", "called", "guide", "reaction", "call", "called", "call", "called", "guide",
        "reaction", "later",
    ]  # fmt: skip


def test_who_started_whom(world: ExampleWorld) -> None:
    world.play(the_story(), wall("2026-03-05 00:00"), timedelta(days=1))
    (trial,) = [j for j in world.journeys("ann") if j.workflow_id == "trial_expiry"]
    assert (trial.trigger_id, shown(trial.entered_at)) == ("start_workflow", "Mon 03-02 14:00")
    events = {e.type: e for e in world.rows(t.customer_events, "ann", order=("seq",))}
    assert events["enter.trial_expiry"].payload == {"agreed_by": "Sam", "trigger": "start_workflow"}
    # the step that hands over waited for nothing itself, so the cause is what her office's journey began with
    assert events["enter.trial_expiry"].causation_id == events["segment.entered"].seq
    (won,) = [e for e in world.rows(t.customer_events, "dee", order=("seq",)) if e.type == "office_won"]
    assert won.payload == {"company": "Dee Ltd", "seats": 250, "value": 3000}


def test_the_same_with_every_tick(world: ExampleWorld) -> None:
    sizes = [timedelta(days=6), timedelta(days=90)]
    traces = dict(plays(world, the_story(), START, END, sizes))
    assert len(traces[sizes[0]]["messages"]) == 44
    assert all(trace == traces[sizes[0]] for trace in traces.values())
