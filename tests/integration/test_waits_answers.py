"""Waits for an answer to what a journey did: messages, webhooks and tasks count only for the journey they belong to, unless `any`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import World, at
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.audience.tasks import close_task
from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


ANSWERED = """
workflow: score
triggers: [{{event: go}}]
entry: {{key: event.deal}}
steps:
- id: settle
  wait: {{for: {type}, timeout: 1 day{more}}}
  next:
  - when: arrived
    to: came
  - else: missing
- {{id: came, wait: 1 second, next: end}}
- {{id: missing, wait: 1 second, next: end}}
"""


def answer(world: World, customer: str, type_: str, when: Any, journey_id: int | None, **payload: Any) -> None:
    """As the engine itself writes it, of a journey."""
    row = {"source": "engine", "customer_id": customer, "type": type_, "occurred_at": when, "received_at": when, "journey_id": journey_id}
    with world.db.begin() as conn:
        conn.execute(sa.insert(t.event_inbox).values(**row, payload=sa.literal(payload, JSONB)))


def outcomes(world: World) -> dict[str, str]:
    keys = {j.id: j.entry_key for j in world.journeys()}
    return {keys[row.journey_id]: row.to_step for row in world.transitions() if row.from_step == "settle"}


@pytest.mark.parametrize("type_", ["webhook.answered", "task.done", "message.clicked"])
@pytest.mark.parametrize("since", ["", ", since: entry"])
def test_an_answer_wakes_the_journey_it_belongs_to(world: World, type_: str, since: str) -> None:
    world.deploy(ANSWERED.format(type=type_, more=since))
    for deal in ("k1", "k2"):
        world.event("ann", "go", at(), deal=deal)
    world.tick(at())
    first = next(j.id for j in world.journeys() if j.entry_key == "k1")
    answer(world, "ann", type_, at(hours=1), first, status=200)
    # of nobody's journey
    answer(world, "ann", type_, at(hours=2), None)
    world.tick(at(9))
    assert outcomes(world) == {"k1": "came", "k2": "missing"}


def test_any_takes_all_of_them(world: World) -> None:
    world.deploy(ANSWERED.format(type="[webhook.answered, task.done]", more=", any: true"))
    for deal in ("k1", "k2"):
        world.event("ann", "go", at(), deal=deal)
    world.tick(at())
    answer(world, "ann", "task.done", at(hours=1), world.journeys()[0].id)
    world.tick(at(9))
    assert outcomes(world) == {"k1": "came", "k2": "came"}


def test_segments_and_journeys_are_the_customers(world: World) -> None:
    """They need no belonging: whoever told them, they are about the customer."""
    world.deploy(ANSWERED.format(type="[segment.entered, journey.ended]", more=""))
    world.event("ann", "go", at(), deal="k1")
    world.event("bob", "go", at(), deal="k2")
    world.tick(at())
    answer(world, "ann", "segment.entered", at(hours=1), None, segment="vip")
    answer(world, "bob", "journey.ended", at(hours=1), 999, workflow="other")
    world.tick(at(9))
    assert outcomes(world) == {"k1": "came", "k2": "came"}


TASKS = """
workflow: sales
triggers: [{{event: signup}}]
steps:
- id: call
  do: [create_task: {{title: Call}}]
  next: called
- id: called
  wait: {{for: {first}, timeout: 2 days}}
  next:
  - {{when: arrived.type == 'task.done', to: both}}
  - {{else: call, max_visits: 2, then: visit}}
- id: visit
  do: [create_task: {{title: Visit}}]
  next: both
- id: both
  wait: {{for: task.done, timeout: 9 days{more}}}
  do: [send_sms: {{text: "{{{{ arrived.step }}}} {{{{ arrived.visit }}}}"}}]
"""


def close(world: World, step: str, visit: int, now: Any) -> None:
    (task,) = [task for task in world.rows(t.tasks) if (task.step_key, task.visit) == (step, visit)]
    with world.db.begin() as conn:
        close_task(conn, task.id, by="eve", now=now)


@pytest.mark.parametrize("ticks", [[at(30)], [at(hours=5 * n) for n in range(1, 60)]], ids=["one tick", "hours"])
@pytest.mark.parametrize("first", ["task.done", "[task.done, noted]"])
def test_a_task_that_was_given_up_ends_no_later_wait(world: World, ticks: list[Any], first: str) -> None:
    """Two calls that nobody made in time, then a visit: only the visit is waited for."""
    world.deploy(TASKS.format(first=first, more=""))
    world.event("ann", "signup", at())
    world.event("ann", "noted", at(1))
    over = at(4) if first == "task.done" else at(3)
    world.tick(over)
    assert [(task.step_key, task.visit, task.created_at) for task in world.rows(t.tasks)][-1] == ("visit", 2, over)
    for n, (step, visit) in enumerate([("call", 1), ("call", 2), ("visit", 2)]):
        close(world, step, visit, at(5 + n))
    for now in ticks:
        world.tick(now)
    assert world.journey("ann").ended_at == at(7)
    closed = [e for e in world.rows(t.customer_events, "ann", order=("occurred_at",)) if e.type == "task.done"]
    assert [e.payload["step"] for e in closed] == ["call", "call", "visit"], "it is known all the same"


def test_any_takes_a_task_that_was_given_up(world: World) -> None:
    world.deploy(TASKS.format(first="task.done", more=", any: true"))
    world.event("ann", "signup", at())
    world.tick(at(4))
    close(world, "call", 1, at(5))
    world.tick(at(6))
    assert world.journey("ann").ended_at == at(5)


def test_of_two_tasks_each_ends_a_wait(world: World) -> None:
    """The second was there when the first ended its wait, which is no time-out."""
    two = TASKS.format(first="task.done", more="").replace(
        "[create_task: {title: Call}]", "[create_task: {title: Call}, create_task: {id: x, title: Write}]"
    )
    world.deploy(two)
    world.event("ann", "signup", at())
    world.tick(at())
    for n, task in enumerate(world.rows(t.tasks)):
        with world.db.begin() as conn:
            close_task(conn, task.id, by="eve", now=at(1 + n))
    world.tick(at(9))
    assert (world.journey("ann").ended_at, world.way("ann")) == (at(2), ["call", "called", "both", "end"])
