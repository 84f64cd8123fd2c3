"""What a deploy leaves to be computed for everybody, and what is told of it; schedules that come and go."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_flows import MAIL, entries, flow, segment
from engine_rows import execute
from engine_world import World, at

from journey_pipelines.engine.doorbells import moments_waiting
from journey_pipelines.intake.load import Line, loading
from journey_pipelines.intake.mapping import Event
from journey_pipelines.intake.readers import Row
from journey_pipelines.intake.table_segments import refresh_segments
from journey_pipelines.store import moment_tables as m


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def test_a_build_comes_before_what_comes_after_it_in_every_shard(world: World) -> None:
    """Everybody was in when the segment was deployed; an event of each waits in the inbox: nobody has entered."""
    people = [f"c{n:03}" for n in range(200)]
    for name in people:
        world.profile(name, at(), lifetime_value=500)
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(flow("hi", "segment: rich"))
    world.events(
        [
            {
                "customer_id": c,
                "type": "x",
                "occurred_at": at(hours=1),
                "received_at": at(hours=1),
                "payload": {},
                "profile": {"lifetime_value": 600},
            }
            for c in people
        ]
    )
    world.tick(at(hours=2))
    assert len(world.journeys()) == 0


def test_a_profile_that_changes_between_deploy_and_the_first_batch_is_a_transition(world: World) -> None:
    """Ann was in when the segment was deployed; the others are since, one of them new; and what it does not read changes nothing."""
    world.profile("ann", at(-1), lifetime_value=500)
    world.profile("bob", at(-1), lifetime_value=5)
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(flow("hi", "segment: rich"), flow("ho", "condition: customer.lifetime_value > 100"))
    world.profile("ann", at(hours=1), first_name="Ann")
    for name in ("bob", "cid"):
        world.profile(name, at(hours=1), lifetime_value=200)
    world.tick(at(hours=2))
    entered = [("hi", at(hours=1)), ("ho", at(hours=1))]
    assert [sorted(entries(world, name)) for name in ("ann", "bob", "cid")] == [[], entered, entered]
    assert [world.segments(name) >= {"rich"} for name in ("ann", "bob", "cid")] == [True] * 3


@pytest.mark.parametrize("ticks", [[at(), at(1)], [at(1)]], ids=["soon", "late"])
def test_what_comes_true_between_deploy_and_the_first_batch(world: World, ticks: list[datetime]) -> None:
    world.profile("ann", at(-1), created_at=at(-2.5).isoformat(), trial_ends=at(hours=20).isoformat())
    segment(world, "grown", "when: days_since(customer.created_at) > 3")
    world.deploy(flow("hi", "segment: grown"), flow("trial", "date: customer.trial_ends"))
    for now in ticks:
        world.tick(now)
    assert sorted(entries(world, "ann")) == [("hi", at(hours=12) + timedelta(microseconds=1)), ("trial", at(hours=20))]


def test_a_table_that_was_not_looked_at_yet_has_members_to_ask_in(world: World) -> None:
    execute(world.db, "CREATE SCHEMA analytics", "CREATE TABLE analytics.vips (customer text)", "INSERT INTO analytics.vips VALUES ('ann')")
    segment(world, "vip", "from: {table: analytics.vips, column: customer, every: 15 minutes}")
    world.deploy(flow("hi", "segment: vip", MAIL, "entry: {existing: enter}\n"))
    world.tick(at())
    refresh_segments(world.db, at(minutes=1))
    world.tick(at(minutes=1))
    assert world.segments("ann") == {"vip"}
    assert [name for name, _ in entries(world, "ann")] == ["hi"]


def test_profiles_of_imported_history_have_dates_and_segments(world: World) -> None:
    """History tells nobody, but who it is about is in the segments that the profile says, and has the dates to come."""
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(flow("trial", "date: customer.ends"))
    world.tick(at())
    happened = Event("ann", "order", at(-30), "{}", json.dumps({"lifetime_value": 500, "ends": at(5).isoformat()}))
    with loading(world.db) as loader:
        loader.load([Line(Row(1, b"0123456789abcdef", {}), "import:order", happened, history=True)], at(hours=1))
    world.tick(at(6))
    assert world.segments("ann") == {"rich"}
    assert [name for name, _ in entries(world, "ann")] == ["trial"]


@pytest.mark.parametrize("batch_size", [10_000, 16])
def test_the_doorbell_falls_silent_whatever_the_batches(world: World, batch_size: int) -> None:
    world.deploy(flow("digest", '{schedule: "0 12 * * *", timezone: UTC}'))
    world.begin_worker(batch_size=batch_size)
    world.tick(at(minutes=1))
    with world.db.connect() as conn:
        assert not moments_waiting(conn, at(minutes=2))


def test_a_schedule_added_to_an_active_workflow_has_no_ticks_before(world: World) -> None:
    world.profile("ann", at())
    world.deploy(flow("digest", "event: go"))
    world.tick(at())
    world.tick(at(10))
    # half past nine: the tick of nine o'clock lies before the deploy
    world.deploy(flow("digest", 'event: go\n  - {schedule: "0 9 * * *", timezone: UTC}'), now=at(10, minutes=30))
    world.tick(at(10, minutes=31))
    assert entries(world, "ann") == []


def test_an_audience_holds_customers_of_whom_only_events_are_known(world: World) -> None:
    world.deploy(flow("digest", "{schedule: \"0 12 * * *\", timezone: UTC, audience: \"has_event('order', within='7 days')\"}"))
    world.event("ann", "order", at(hours=1))
    world.tick(at(hours=4))
    assert [name for name, _ in entries(world, "ann")] == ["digest"]


def test_a_journey_that_ends_with_an_error_is_told(world: World) -> None:
    world.deploy(flow("broken", "event: go"), flow("hear", "event: journey.ended\n    when: event.workflow == 'broken'"))
    execute(world.db, "ALTER TABLE journeys.messages ADD CONSTRAINT no_ann CHECK (customer_id <> 'ann' OR workflow_id <> 'broken')")
    world.event("ann", "go", at())
    world.tick(at(hours=1))
    assert [(j.workflow_id, j.exit_reason) for j in world.journeys("ann")] == [("broken", "error"), ("hear", "completed")]


def test_transitions_of_segments_that_nobody_declared(world: World) -> None:
    """Without a folder of segments any id is a static segment, and `segment.entered` may be used wherever an event type may."""
    world.deploy(
        flow("adds", "event: go", "  - id: a\n    do: [{add_to_segment: vip}]\n"),
        flow("hear", "event: segment.entered\n    when: event.segment == 'vip'"),
    )
    world.event("ann", "go", at())
    world.tick(at(hours=1))
    assert [j.workflow_id for j in world.journeys("ann")] == ["adds", "hear"]


def test_a_table_segment_that_was_away_comes_back_quietly(world: World) -> None:
    execute(world.db, "CREATE SCHEMA analytics", "CREATE TABLE analytics.vips (customer text)", "INSERT INTO analytics.vips VALUES ('ann')")
    text = "from: {table: analytics.vips, column: customer, every: 15 minutes}"
    segment(world, "vip", text)
    world.deploy(flow("hi", "segment: vip"))
    refresh_segments(world.db, at())
    world.tick(at())
    (world.root / "segments" / "vip.yaml").unlink()
    (world.root / "hi" / "workflow.yaml").write_text(flow("hi", "event: go"), encoding="utf-8")
    world.deploy(now=at(1))
    execute(world.db, "INSERT INTO analytics.vips VALUES ('bob')")
    segment(world, "vip", text)
    world.deploy(flow("hi", "segment: vip"), now=at(2))
    refresh_segments(world.db, at(2))
    world.tick(at(2))
    assert world.segments("bob") == {"vip"}
    assert entries(world, "bob") == []


def test_moments_of_a_workflow_that_is_gone(world: World) -> None:
    world.deploy(flow("trial", "date: customer.ends"), flow("other", "event: go"))
    world.tick(at())
    world.profile("ann", at(hours=1), ends=at(2).isoformat())
    world.tick(at(hours=2))
    shutil.rmtree(world.root / "trial")
    world.deploy(now=at(1))
    world.tick(at(3))
    assert entries(world, "ann") == []
    assert [row.at for row in world.rows(m.customer_moments, order=("customer_id",))] == []
