"""Order, lateness and boundaries where several mechanisms meet: late events and segments, builds, bands of moments, effects."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_rows import execute
from engine_world import World, at
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.engine.doorbells import moments_waiting
from journey_pipelines.intake.load import Line, loading
from journey_pipelines.intake.mapping import Event
from journey_pipelines.intake.readers import Row
from journey_pipelines.intake.table_segments import refresh_segments
from journey_pipelines.store import moment_tables as m
from journey_pipelines.store import tables as t

MAIL = "  - id: mail\n    do: [{send_email: {template: hello, subject: Hello}}]\n"


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def flow(name: str, trigger: str, steps: str = MAIL, more: str = "") -> str:
    return f"workflow: {name}\ntriggers:\n  - {trigger}\n{more}steps:\n{steps}"


def segment(world: World, name: str, text: str) -> None:
    folder = world.root / "segments"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(f"segment: {name}\n{text}\n", encoding="utf-8")


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """A batch that never ends must not hang the run."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def sync(world: World, customer: str, changed: datetime, synced: datetime, **fields: str) -> None:
    """A table of the app's is copied at `synced`, each row with the time of its own last change."""
    with world.db.begin() as conn:
        conn.execute(sa.text("UPDATE journeys.engine_clock SET wall_at = clock_timestamp(), engine_at = :at, rate = 1e-9"), {"at": synced})
        conn.execute(sa.select(sa.func.journeys.upsert_profile(customer, sa.literal(fields, JSONB), changed)))


def entries(world: World, customer: str) -> list[tuple[str, datetime]]:
    return [(j.workflow_id, j.entered_at) for j in world.journeys(customer)]


# ---- late events and segments


def test_a_late_event_does_not_take_a_member_out_and_in(world: World) -> None:
    """Two visits make a regular; a third that arrives late lies before both and changes nothing about now."""
    segment(world, "regular", "when: event_count('visit', within='7 days') >= 2")
    world.deploy(flow("hi", "segment: regular"), flow("bye", "{segment: regular, on: leave}"))
    world.tick(at())
    world.event("ann", "visit", at(hours=1))
    world.event("ann", "visit", at(hours=2))
    world.tick(at(hours=3))
    assert entries(world, "ann") == [("hi", at(hours=2))]
    world.event("ann", "visit", at(minutes=50), received=at(hours=4))
    world.tick(at(hours=4))
    assert entries(world, "ann") == [("hi", at(hours=2))]


def test_an_old_profile_row_does_not_take_a_member_out_and_in(world: World) -> None:
    segment(world, "grown", "when: days_since(customer.created_at) > 3")
    world.deploy(flow("hi", "segment: grown"), flow("bye", "{segment: grown, on: leave}"))
    world.tick(at())
    world.profile("ann", at(hours=1), created_at=at().isoformat())
    world.tick(at(10))
    first = entries(world, "ann")
    assert [name for name, _ in first] == ["hi"]
    # a nightly sync writes the row again, with the row's own time
    sync(world, "ann", at(1), at(10), created_at=at().isoformat())
    world.tick(at(11))
    assert entries(world, "ann") == first


# ---- dates that move


@pytest.mark.parametrize(
    "ticks", [[at(hours=h) for h in range(12)], [at(hours=1), at(hours=12)], [at(hours=12)]], ids=["hours", "two", "one"]
)
def test_a_date_that_moved_before_it_came_does_not_fire(world: World, ticks: list[datetime]) -> None:
    """Planned for five o'clock, and at two moved to nine: whatever the ticks are, it fires at nine alone."""
    world.deploy(flow("renewal", "date: customer.renews"))
    world.tick(at())
    for hour, renews in ((1, 5), (2, 9)):
        world.event("ann", "x", at(hours=hour), profile={"renews": at(hours=renews).isoformat()})
    for now in ticks:
        world.tick(now)
    assert entries(world, "ann") == [("renewal", at(hours=9))]


# ---- lateness of what an old row brings


def test_a_condition_that_came_true_long_ago_enters_nobody(world: World) -> None:
    """What is known ten days late is history (max_lateness is a day), whatever brought it."""
    segment(world, "grown", "when: days_since(customer.created_at) > 30")
    world.deploy(flow("hi", "segment: grown"))
    world.tick(at())
    sync(world, "ann", at(-50), at(1), created_at=at(-60).isoformat())
    world.tick(at(2))
    assert entries(world, "ann") == []


def test_a_date_that_passed_before_it_was_known_enters_nobody(world: World) -> None:
    world.deploy(flow("birthday", 'date: customer.born\n    yearly: true\n    at: "09:00"'))
    world.tick(at())
    # born on 12 January; the row was last changed in December and is synced in March
    sync(world, "ann", at(-80), at(1), born="1990-01-12")
    world.tick(at(2))
    assert entries(world, "ann") == []


# ---- effects of moments


def test_an_effect_of_a_schedules_tick_is_after_it(world: World) -> None:
    """As `test_waiting_for_the_end_of_the_workflow_that_was_started`, but entered by a schedule."""
    world.deploy(
        flow("outer", '{schedule: "0 12 * * *", timezone: UTC}', """  - id: begin
    do: [{start_workflow: inner}]
    next: done
  - id: done
    wait: {for: journey.ended, when: "arrived.workflow == 'inner'", timeout: 2 days}
    next:
      - when: arrived
        to: thanks
      - else: end
  - id: thanks
    do: [{send_email: {template: hello, subject: Thanks}}]
"""),
        flow("inner", "manual: true", MAIL),
    )  # fmt: skip
    world.profile("ann", at())
    world.tick(at(hours=4))
    assert world.sent("ann") == [("mail", "planned"), ("thanks", "planned")]


def test_a_segments_journey_hears_what_it_emits(world: World) -> None:
    """A goal and an exit on an event that the journey itself writes, with no wait between."""
    segment(world, "rich", "when: customer.lifetime_value > 100")
    steps = """  - id: tell
    do: [{emit_event: {type: greeted, payload: {}}}]
  - id: later
    wait: 1 day
    do: [{send_email: {template: hello, subject: Hello}}]
"""
    world.deploy(
        flow("by_segment", "segment: rich", steps, "goal: {event: greeted}\nexit: [goal]\n"),
        flow("by_event", "event: go", steps, "goal: {event: greeted}\nexit: [goal]\n"),
    )
    world.tick(at())
    world.profile("ann", at(hours=1), lifetime_value=500)
    world.event("bob", "go", at(hours=1))
    world.tick(at(hours=2))
    assert [j.exit_reason for j in world.journeys("bob")] == ["goal"]
    assert [j.exit_reason for j in world.journeys("ann")] == ["goal"]


# ---- effects that never end


def test_a_restart_that_sets_itself_off_is_stopped(world: World) -> None:
    steps = """  - id: tell
    do: [{emit_event: {type: go, payload: {}}}]
  - id: later
    wait: 1 day
    do: [{send_email: {template: hello, subject: Hello}}]
"""
    world.deploy(flow("echo", "event: go", steps, "entry: {while_active: restart}\n"))
    world.event("ann", "go", at())
    with at_most(20):
        world.tick(at(hours=1))
    assert world.rows(t.event_quarantine, "ann")


# ---- builds


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


# ---- schedules


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


# ---- many journeys of one person


def test_a_thousand_timers_of_one_person_come_before_the_event(world: World) -> None:
    """1,100 journeys of one customer end by themselves after an hour, one write of its row each; what comes an hour later finds none."""
    many = 1_100
    steps = "  - id: rest\n    wait: 1 hour\n    do: [{update_profile: {increment: {n: 1}}}]\n"
    world.deploy(flow("orders", "event: order", steps, "entry: {key: event.id}\nexit: [{event: stop}]\n"))
    world.events(
        [{"customer_id": "ann", "type": "order", "occurred_at": at(), "received_at": at(), "payload": {"id": n}} for n in range(many)]
    )
    world.tick(at())
    world.event("ann", "stop", at(hours=2))
    world.tick(at(hours=3))
    assert {j.exit_reason for j in world.journeys("ann")} == {"completed"}


# ---- one bad row


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


# ---- what is told


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
