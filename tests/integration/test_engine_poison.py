"""One bad row never stops the others: effects, dates, audiences, builds and conditions (engine.md, 11)."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_flows import at_most, flow, segment
from engine_rows import execute
from engine_world import World, at

from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def poison(world: World, table: str, when: str) -> None:
    execute(
        world.db,
        f"""CREATE FUNCTION public.poison_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'this row is poisoned' USING ERRCODE = '22012'; END $$""",
        f"CREATE TRIGGER poison BEFORE INSERT ON journeys.{table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION public.poison_{table}()",
    )


def test_a_poisoned_effect_stops_nobody_else(world: World) -> None:
    world.deploy(flow("tell", "event: go", "  - id: a\n    do: [{emit_event: {type: told, payload: {}}}]\n"), flow("hear", "event: told"))
    poison(world, "customer_events", "NEW.customer_id = 'bad' AND NEW.type = 'told'")
    for name in ("ann", "bad", "bob"):
        world.event(name, "go", at())
        # a second row of the batch: the effect is absorbed, not taken by the next batch
        world.event(name, "go", at(minutes=1))
    world.tick(at(hours=1))
    assert [j.workflow_id for j in world.journeys("bob")] == ["tell", "hear", "tell", "hear"]


def test_a_poisoned_date_stops_nobody_else(world: World) -> None:
    world.deploy(flow("trial", "date: customer.ends"))
    world.tick(at())
    poison(world, "customer_events", "NEW.customer_id = 'bad' AND NEW.type = 'enter.trial'")
    for name in ("ann", "bad", "bob"):
        world.profile(name, at(hours=1), ends=at(hours=5).isoformat())
    with at_most(30):
        world.tick(at(1))
    assert world.journeys("ann") and world.journeys("bob")


def test_a_poisoned_member_of_an_audience_stops_nobody_else(world: World) -> None:
    world.deploy(flow("digest", '{schedule: "0 12 * * *", timezone: UTC}'))
    poison(world, "event_inbox", "NEW.customer_id = 'bad'")
    for name in ("ann", "bad", "bob"):
        world.profile(name, at())
    world.tick(at(hours=4))
    assert world.journeys("ann") and world.journeys("bob")


def test_a_poisoned_member_of_a_build_stops_nobody_else(world: World) -> None:
    for name in ("ann", "bad", "bob"):
        world.profile(name, at(), lifetime_value=500)
    segment(world, "rich", "when: customer.lifetime_value > 100")
    poison(world, "segment_memberships", "NEW.customer_id = 'bad'")
    world.deploy(flow("hi", "segment: rich"))
    world.tick(at())
    assert world.segments("ann") == {"rich"} == world.segments("bob")


def test_a_condition_that_fails_for_one_row_says_so(world: World) -> None:
    """A change of a profile is not in the history, and what it could not do has to be said all the same."""
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(flow("hi", "segment: rich"))
    world.tick(at())
    poison(world, "segment_memberships", "NEW.customer_id = 'bad'")
    for name in ("ann", "bad"):
        world.profile(name, at(hours=1), lifetime_value=500)
    world.tick(at(hours=2))
    assert world.segments("ann") == {"rich"}
    assert [row.customer_id for row in world.rows(t.event_quarantine)] == ["bad"]
