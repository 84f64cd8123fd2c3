"""Waits for an answer to what a journey did: messages, webhooks and tasks count only for the journey they belong to, unless `any`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import World, at
from sqlalchemy.dialects.postgresql import JSONB

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
