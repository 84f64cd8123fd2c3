"""Hold, release, pause and resume: what happens is recorded, nobody advances, nothing is sent, and what waits goes on without a burst."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_rows import one, orphans
from engine_world import START, World, at

from journey_pipelines.engine import holds, resume
from journey_pipelines.engine.operator import OperationRefused
from journey_pipelines.engine.statements import fixed
from journey_pipelines.store import tables as t
from journey_pipelines.store.hashes import bucket_of
from journey_pipelines.store.moment_tables import operator_holds, resumptions


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


FLOW = """
workflow: flow
triggers: [{event: signup}]
exit: [{event: left}]
steps:
  - id: first
    do: [{send_email: {template: hello, subject: Hello}}]
  - id: pause
    wait: 1 hour
    do: [{send_sms: {text: Still there?}}]
  - id: listen
    wait: {for: opened_app, timeout: 1 day}
    do: [{create_task: {title: Call}}]
"""


def people(world: World, n: int, when: Any = START) -> None:
    world.events([{"customer_id": f"c{i}", "type": "signup", "occurred_at": when, "received_at": when} for i in range(n)])


def hold(world: World, workflow: str | None = "flow", now: Any = START, **options: Any) -> holds.Hold:
    with world.db.begin() as conn:
        return holds.hold(conn, workflow, why="looks odd", by="ann", now=now, **options)


def release(world: World, now: Any, workflow: str | None = "flow", **options: Any) -> resume.Release:
    with world.db.begin() as conn:
        return resume.release(conn, workflow, by="bob", now=now, **options)


def parked(world: World) -> int:
    return int(one(world.db, "SELECT count(*) FROM journeys.customer_journeys WHERE held_at IS NOT NULL AND status = 'active'"))


def test_a_held_workflow_takes_people_in_and_moves_nobody(world: World) -> None:
    world.deploy(FLOW)
    hold(world)
    people(world, 5)
    world.tick(at())
    world.tick(at(2))
    assert Counter(j.step_key for j in world.journeys()) == {"first": 5}
    assert world.messages() == [] and parked(world) == 5
    assert orphans(world.db) == dict.fromkeys(orphans(world.db), 0)


def test_exits_and_wakes_are_recorded_while_held(world: World) -> None:
    world.deploy(FLOW)
    people(world, 3)
    world.tick(at(hours=2))
    hold(world, now=at(hours=2))
    world.event("c0", "left", at(hours=3))
    world.event("c1", "opened_app", at(hours=4))
    world.tick(at(hours=5))
    assert world.journey("c0").exit_reason == "exit_rule"
    woken = world.journey("c1")
    assert (woken.step_key, woken.arrived_seq is not None, woken.due_at) == ("listen", True, at(hours=4))
    release(world, at(3), spread=timedelta(0))
    world.tick(at(3))
    assert [(row.why, row.at) for row in world.transitions("c1")][-1] == ("completed", at(3))
    # nothing came for c2: its timeout was at 25 hours, and it goes on when released
    assert world.journey("c2").exit_reason == "completed" and world.journey("c2").ended_at == at(3)


def test_an_event_after_the_wait_was_over_comes_too_late_however_long_the_hold(world: World) -> None:
    world.deploy(FLOW)
    people(world, 1)
    world.tick(at(hours=2))
    hold(world, now=at(hours=2))
    world.tick(at(2))
    world.event("c0", "opened_app", at(2, hours=1))
    world.tick(at(2, hours=1))
    release(world, at(2, hours=2), spread=timedelta(0))
    world.tick(at(2, hours=3))
    (last,) = [row for row in world.transitions("c0") if row.to_step is None]
    assert last.detail["arrived"] is None


def test_released_journeys_go_evenly_and_times_ahead_do_not_move(world: World) -> None:
    world.deploy(FLOW)
    people(world, 600)
    world.tick(at())
    hold(world, now=at(minutes=30))
    world.event("late", "signup", at(minutes=90))
    world.tick(at(1))
    assert parked(world) == 601
    done = release(world, at(1), spread=timedelta(hours=1))
    assert [(r.workflow_id, r.parked, r.until_at - r.from_at) for r in done.resumed] == [("flow", 601, timedelta(hours=1))]
    minutes: list[int] = []
    for minute in range(62):
        world.tick(at(1, minutes=minute))
        minutes.append(int(one(world.db, "SELECT count(*) FROM journeys.messages WHERE channel = 'sms'")) - sum(minutes))
    assert sum(minutes) == 600 and max(minutes) < 30 and min(minutes[1:60]) > 0
    assert parked(world) == 0 and world.rows(resumptions, order=("workflow_id",)) == []
    # the instant is that of who it is for, not of the tick
    moved = next(row for row in world.transitions("c7") if row.from_step == "pause")
    assert moved.at == at(1) + timedelta(hours=1) * bucket_of("flow|c7|") / 10_000
    # a newcomer's own hour begins when it was let go
    first = next(row for row in world.transitions("late") if row.from_step == "first")
    assert at(1) <= first.at <= at(1, hours=1) and world.journey("late").due_at == first.at + timedelta(hours=1)


def test_overdue_messages_leave_with_their_journeys(world: World) -> None:
    world.deploy(FLOW)
    people(world, 400)
    world.tick(at())
    hold(world, now=at(minutes=1))
    done = release(world, at(hours=4))
    # 800 of either: a minute for every 1,000
    assert [(r.parked, r.overdue, r.until_at - r.from_at) for r in done.resumed] == [(400, 400, timedelta(minutes=1))]
    seconds = Counter(int((m.send_after - at(hours=4)).total_seconds()) // 10 for m in world.messages())
    assert set(seconds) == set(range(6)) and max(seconds.values()) < 110


def test_a_hold_on_dispatch_lets_journeys_go_on(world: World) -> None:
    world.deploy(FLOW)
    hold(world, what="dispatch")
    people(world, 2)
    world.tick(at(hours=2))
    assert {j.step_key for j in world.journeys()} == {"listen"} and parked(world) == 0
    done = release(world, at(hours=3))
    assert [(r.parked, r.overdue) for r in done.resumed] == [(0, 4)] and world.rows(resumptions, order=("workflow_id",)) == []


def test_no_deploy_clears_a_hold(world: World) -> None:
    world.deploy(FLOW)
    hold(world)
    world.deploy(FLOW.replace("wait: 1 hour", "wait: 2 hours"))
    world.deploy(FLOW.replace("workflow: flow", "workflow: flow\nstatus: paused"))
    world.deploy(FLOW)
    with world.db.connect() as conn:
        assert holds.stopped(conn) == {"flow"}
        assert [(h.workflow_id, h.why, h.held_by) for h in holds.open_holds(conn)] == [("flow", "looks odd", "ann")]


def test_a_hold_on_all_and_a_hold_of_its_own(world: World) -> None:
    world.deploy(FLOW, FLOW.replace("workflow: flow", "workflow: other"))
    hold(world, None)
    hold(world, "flow")
    with world.db.connect() as conn:
        assert holds.stopped(conn) == {"flow", "other"}
    people(world, 1)
    world.tick(at())
    done = release(world, at(hours=1), None)
    assert [r.workflow_id for r in done.resumed] == ["other"] and [h.workflow_id for h in done.still] == ["flow"]
    with world.db.connect() as conn:
        assert holds.stopped(conn) == {"flow"}
        assert [h.workflow_id for h in holds.past_holds(conn)] == [None]


def test_what_cannot_be_is_refused_with_a_reason(world: World) -> None:
    world.deploy(FLOW)
    with pytest.raises(OperationRefused, match=r"no workflow 'flo' is deployed; there are: flow\. Did you mean 'flow'\?"):
        hold(world, "flo")
    with pytest.raises(OperationRefused, match="workflow flow is not held"):
        release(world, at())
    with pytest.raises(OperationRefused, match="there is no hold on all workflows"):
        release(world, at(), None)
    hold(world)
    with pytest.raises(OperationRefused, match="workflow flow is held already, since 2026-03-02 09:00 UTC by ann: looks odd"):
        hold(world)
    with pytest.raises(OperationRefused, match="why must say something"), world.db.begin() as conn:
        holds.hold(conn, None, why="  ", by="ann", now=at())


def test_stopped_again_before_all_had_gone(world: World) -> None:
    world.deploy(FLOW)
    hold(world)
    people(world, 200)
    world.tick(at())
    release(world, at(hours=1), spread=timedelta(hours=1))
    world.tick(at(hours=1, minutes=30))
    gone = 200 - parked(world)
    assert 60 < gone < 140
    hold(world, now=at(hours=1, minutes=30))
    world.tick(at(hours=9))
    assert world.rows(resumptions, order=("workflow_id",)) == []
    assert parked(world) >= 200 - gone
    release(world, at(hours=10), spread=timedelta(0))
    world.tick(at(hours=10))
    assert parked(world) == 0 and {j.step_key for j in world.journeys()} <= {"pause", "listen"}


def test_a_release_without_a_drain_running_meanwhile_is_no_burst(world: World) -> None:
    world.deploy(FLOW)
    people(world, 300)
    world.tick(at())
    hold(world, now=at(minutes=1))
    # three days without any tick: nobody was parked when they came due
    done = release(world, at(3))
    assert [r.parked for r in done.resumed] == [300]
    world.tick(at(3))
    assert int(one(world.db, "SELECT count(*) FROM journeys.messages WHERE channel = 'sms'")) < 30


def test_how_long_a_release_takes_by_itself() -> None:
    assert resume.default_spread(0) == resume.default_spread(1_000) == timedelta(minutes=1)
    assert resume.default_spread(1_001) == timedelta(minutes=2)
    assert resume.default_spread(90_000) == timedelta(minutes=90)
    assert resume.default_spread(10_000_000) == timedelta(hours=6)


def test_the_slices_use_their_index(db: sa.Engine) -> None:
    insert = """
    INSERT INTO journeys.customer_journeys
           (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at,
            entered_seq, held_at)
    SELECT 'flow', 1, 'c' || n, n % 64, 't', 's', 1, :at, 1, :at, 1, :at, 1, :at FROM generate_series(1, 20000) AS n
    """
    with db.begin() as conn:
        conn.execute(sa.text(insert), {"at": START})
        conn.execute(sa.insert(resumptions).values(workflow_id="flow", from_at=START, until_at=at(hours=10), policy="reschedule"))
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE journeys.customer_journeys")
    with db.begin() as conn:
        given = {"shards": list(range(64)), "now": at(minutes=3), "row_limit": 10_000}
        plan = "\n".join(row[0] for row in conn.exec_driver_sql("EXPLAIN (ANALYZE, COSTS OFF) " + fixed("operations/let_go"), given))
    assert "customer_journeys_held" in plan and "Seq Scan on customer_journeys" not in plan
    assert one(db, "SELECT count(*) FROM journeys.customer_journeys WHERE held_at IS NULL") < 200


def test_rows_say_who_and_when(world: World) -> None:
    world.deploy(FLOW)
    hold(world)
    release(world, at(1))
    (row,) = world.rows(operator_holds)
    assert (row.what, row.held_at, row.released_at, row.released_by) == ("workflow", START, at(1), "bob")
    assert world.rows(t.messages) == []


def test_a_pause_takes_nobody_in_and_a_deploy_lets_people_go_on(world: World) -> None:
    world.deploy(FLOW)
    people(world, 120)
    world.tick(at())
    paused = FLOW.replace("workflow: flow", "workflow: flow\nstatus: paused")
    world.deploy(paused, now=at(minutes=10))
    world.event("late", "signup", at(minutes=20))
    world.event("c0", "left", at(minutes=30))
    world.tick(at(hours=5))
    assert world.journeys("late") == [] and world.journey("c0").exit_reason == "exit_rule" and parked(world) == 119
    report = world.deploy(FLOW, now=at(hours=6))
    assert [(r.workflow_id, r.parked) for r in report.resumed] == [("flow", 119)]
    world.tick(at(hours=6))
    assert parked(world) > 100
    world.tick(at(hours=6, minutes=1))
    assert parked(world) == 0 and Counter(j.step_key for j in world.journeys() if j.status == "active") == {"listen": 119}
    # paused again: whoever is parked stays so
    world.deploy(paused, now=at(hours=7))
    with world.db.connect() as conn:
        assert holds.stopped(conn) == {"flow"}


def test_a_due_time_that_lies_ahead_does_not_move(world: World) -> None:
    world.deploy(FLOW)
    people(world, 1)
    world.tick(at())
    hold(world, now=at(minutes=5))
    world.tick(at(minutes=20))
    release(world, at(minutes=30))
    world.tick(at(hours=1))
    assert next(row for row in world.transitions("c0") if row.from_step == "pause").at == at(hours=1)


def test_on_resume_skip_leaves_out_what_was_overdue(world: World) -> None:
    world.deploy(FLOW.replace("workflow: flow", "workflow: flow\non_resume: skip"))
    people(world, 1)
    world.tick(at())
    hold(world, now=at(minutes=5))
    world.event("ahead", "signup", at(hours=4))
    world.tick(at(hours=5))
    release(world, at(hours=5), spread=timedelta(0))
    world.tick(at(hours=7))
    assert [m.channel for m in world.messages("c0")] == ["email"], "the step that came due while held did nothing"
    assert world.journey("c0").step_key == "listen" and world.journey("c0").skip is False
    # of a newcomer the first step was overdue; the next came due after the release
    assert [m.channel for m in world.messages("ahead")] == ["sms"]


def test_what_was_released_waits_as_long_as_anybody(world: World) -> None:
    world.deploy(FLOW)
    people(world, 1)
    world.tick(at())
    hold(world, now=at(minutes=5))
    world.tick(at(3))
    release(world, at(3), spread=timedelta(0))
    world.tick(at(3))
    journey = world.journey("c0")
    assert (journey.step_key, journey.due_at, journey.due_was) == ("listen", at(4), None)
    world.event("c0", "opened_app", at(3, hours=5))
    world.tick(at(5))
    assert world.journey("c0").ended_at == at(3, hours=5)
