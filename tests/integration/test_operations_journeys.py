"""Errors and retries, tasks, retirement by a new version, completion."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_rows import execute, one, orphans
from engine_world import START, World, at

from journey_pipelines.audience.tasks import close_task, count_open, list_tasks
from journey_pipelines.engine.failures import failed_ids, failure_groups, failures, parse_ids, retry
from journey_pipelines.engine.operator import OperationRefused
from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def sound(world: World) -> None:
    assert {name: n for name, n in orphans(world.db).items() if n} == {}


FAILING = """
workflow: flow
triggers: [{event: signup}]
steps:
  - id: first
    wait: 1 hour
    do: [{create_task: {title: "Call"}}]
  - id: last
    wait: 1 day
"""
BREAK = """
CREATE FUNCTION journeys.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.customer_id LIKE 'bad%%' THEN RAISE EXCEPTION 'too large' USING ERRCODE = '22003'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON journeys.tasks FOR EACH ROW EXECUTE FUNCTION journeys.refuse();
"""
MEND = "DROP TRIGGER refuse ON journeys.tasks"


@pytest.fixture
def failed(world: World) -> World:
    """bad1, bad2 ended with an error at `first`, ann went on."""
    world.deploy(FAILING)
    execute(world.db, BREAK)
    for name in ("bad1", "bad2", "ann"):
        world.event(name, "signup", START)
    world.tick(at(hours=2))
    return world


def test_errors_say_where_and_what(failed: World) -> None:
    with failed.db.connect() as conn:
        (group,) = failure_groups(conn)
        assert (group.workflow_id, group.step_key, group.sqlstate, group.error, group.journeys) == (
            "flow",
            "first",
            "22003",
            "too large",
            2,
        )
        assert {(f.customer_id, f.error) for f in failures(conn, "flow")} == {("bad1", "too large"), ("bad2", "too large")}
        assert failures(conn, "other") == [] and len(failures(conn, most=1)) == 1


def test_a_retry_goes_on_where_it_failed(failed: World) -> None:
    with failed.db.connect() as conn:
        ids = failed_ids(conn, "flow")
    assert retry(failed.db, ids, by="ann", now=at(hours=5)).retried == 2
    failed.tick(at(hours=5))
    # nothing was mended: they fail again, and can be tried again
    assert [j.exit_reason for j in failed.journeys("bad1")] == ["error"]
    execute(failed.db, MEND)
    assert retry(failed.db, ids, by="ann", now=at(hours=6)).retried == 2
    failed.tick(at(hours=6))
    assert failed.journey("bad1").step_key == "last" and failed.journey("bad1").due_at == at(1, hours=6)
    assert [row.why for row in failed.transitions("bad1")] == ["entered", "error", "retried", "error", "retried", "timer"]
    failed.tick(at(3))
    assert {j.exit_reason for j in failed.journeys()} == {"completed"}
    assert Counter(task.customer_id for task in failed.rows(t.tasks)) == {"ann": 1, "bad1": 1, "bad2": 1}
    sound(failed)


def test_retries_that_cannot_be_say_why(failed: World) -> None:
    execute(failed.db, MEND)
    failed.event("bad1", "signup", at(hours=3))
    failed.tick(at(hours=3))
    first, second = failed.journeys("bad1")[0], failed.journey("bad2")
    ann = failed.journey("ann")
    done = retry(failed.db, [first.id, second.id, ann.id, 999], by="ann", now=at(hours=4))
    assert done.retried == 1 and done.refused == {
        first.id: "its customer is in the workflow again, with the same key", ann.id: "it is active", 999: "there is no such journey",
    }  # fmt: skip
    failed.tick(at(9))
    assert retry(failed.db, [ann.id], by="ann", now=at(10)).refused[ann.id].startswith("it ended as completed")
    sound(failed)


def test_of_several_failed_ones_of_a_customer_the_last_goes_on(failed: World) -> None:
    failed.event("bad1", "signup", at(hours=3))
    failed.tick(at(hours=5))
    ids = [j.id for j in failed.journeys("bad1")]
    assert len(ids) == 2
    done = retry(failed.db, ids, by="ann", now=at(hours=6))
    assert done.retried == 1 and done.refused == {ids[0]: "a later journey of its customer and key is retried in its place"}
    alone = retry(failed.db, [ids[0]], by="ann", now=at(hours=6), batch=1)
    assert alone.refused == {ids[0]: "its customer is in the workflow again, with the same key"}
    sound(failed)


def test_ids_as_typed() -> None:
    assert parse_ids(["12", "7"]) == [12, 7]
    with pytest.raises(OperationRefused, match="expected ids of journeys"):
        parse_ids(["12", "flow"])


TASK = """
workflow: sales
triggers: [{event: signup}]
steps:
  - id: call
    do: [{create_task: {title: "Call {{ customer.first_name | default('them') }}", assignee: sales, due: 2 days}}]
  - id: called
    wait: {for: task.done, timeout: 7 days}
    next:
      - when: arrived.outcome == 'won'
        to: thanks
      - else: end
  - id: thanks
    do: [{send_sms: {text: Thanks}}]
"""


def close(world: World, task_id: int, now: object, **words: str) -> bool:
    with world.db.begin() as conn:
        return close_task(conn, task_id, by="eve", now=now, **words)[1]  # type: ignore[arg-type]


def test_closing_a_task_tells_its_journey_once(world: World) -> None:
    world.deploy(TASK)
    for name in ("ann", "bob"):
        world.event(name, "signup", START)
    world.tick(at())
    with world.db.connect() as conn:
        tasks = list_tasks(conn, workflow_id="sales", assignee="sales")
        assert [(task.customer_id, task.title, task.due_at) for task in tasks] == [("ann", "Call them", at(2)), ("bob", "Call them", at(2))]
        assert count_open(conn) == {"sales": 2} and list_tasks(conn, assignee="other") == []
    assert close(world, tasks[0].id, at(1), outcome="won", note="eager  to\nbuy")
    assert not close(world, tasks[0].id, at(1, hours=1), outcome="lost")
    assert close(world, tasks[1].id, at(2))
    world.tick(at(2))
    assert world.journey("ann").exit_reason == "completed" and [m.step_key for m in world.messages("ann")] == ["thanks"]
    assert world.journey("bob").exit_reason == "completed" and world.messages("bob") == []
    event = world.rows(t.customer_events, "ann", order=("seq",))[-1]
    assert (event.source, event.type, event.journey_id, event.occurred_at) == ("tasks", "task.done", world.journey("ann").id, at(1))
    assert event.payload == {
        "step": "call", "action": "create_task", "workflow": "sales", "task_id": tasks[0].id, "outcome": "won", "note": "eager to buy",
        "visit": 1, "created_at": "2026-03-02T09:00:00+00:00",
    }  # fmt: skip
    with world.db.connect() as conn:
        closed = list_tasks(conn, status="closed")
    assert [(task.outcome, task.note, task.closed_by) for task in closed] == [("done", None, "eve"), ("won", "eager to buy", "eve")]


def test_tasks_that_cannot_be_closed(world: World) -> None:
    with pytest.raises(OperationRefused, match="there is no task 7"):
        close(world, 7, at())
    with pytest.raises(OperationRefused, match="outcome must say something"):
        close(world, 7, at(), outcome="  ")


OLD = """
workflow: flow
triggers: [{event: signup}]
entry: {reentry: always}
steps:
  - id: kept
    wait: 1 day
    do: [{send_sms: {text: Hello}}]
  - id: gone
    wait: 5 days
"""
NEW = OLD.replace("workflow: flow", "workflow: flow\nin_flight: exit").replace("id: gone", "id: other")


def test_a_new_version_can_end_the_journeys_of_those_before(world: World) -> None:
    world.deploy(OLD)
    for n in range(5):
        world.event(f"c{n}", "signup", START)
    world.tick(at(1))
    world.event("late", "signup", at(1))
    world.tick(at(1))
    report = world.deploy(NEW, now=at(2))
    assert report.retired["flow"].step_removed == 5 and report.retired["flow"].version_retired == 1
    reasons = {j.customer_id: (j.status, j.exit_reason, j.ended_at) for j in world.journeys()}
    assert reasons["c1"] == ("ended", "step_removed", at(2)) and reasons["late"] == ("ended", "version_retired", at(2))
    assert {(m.state, m.reason) for m in world.messages()} == {("suppressed", "exit")}
    last = world.transitions("late")[-1]
    assert (last.why, last.detail) == ("version_retired", {"rule": "in_flight: exit", "version": 2})
    world.event("late", "signup", at(3))
    world.tick(at(20))
    assert [j.version for j in world.journeys("late")] == [1, 2]
    sound(world)


def test_parked_journeys_are_retired_too(world: World) -> None:
    from journey_pipelines.engine.holds import hold

    world.deploy(OLD)
    world.event("ann", "signup", START)
    with world.db.begin() as conn:
        hold(conn, "flow", why="odd", by="ann", now=START)
    world.tick(at(2))
    assert world.journey("ann").held_at is not None
    world.deploy(NEW, now=at(3))
    assert world.journey("ann").exit_reason == "version_retired"
    sound(world)


RUNS = """
workflow: season
runs: {until: "2026-03-05"}
triggers: [{event: signup}]
steps:
  - id: wait
    wait: 2 days
"""


def status_of(world: World) -> str:
    return str(one(world.db, "SELECT status FROM journeys.automation_workflows WHERE is_current AND id = 'season'"))


def test_a_workflow_whose_time_is_over_and_that_is_empty_is_completed(world: World) -> None:
    world.deploy(RUNS)
    world.event("ann", "signup", at(3))
    world.event("bob", "signup", at(4))
    world.tick(at(4))
    assert [j.customer_id for j in world.journeys()] == ["ann"]
    # ann is in it until the 7th; late events may come for a day after the 5th
    world.tick(at(4, hours=23))
    assert status_of(world) == "active"
    world.tick(at(5, hours=1))
    assert world.journey("ann").exit_reason == "completed" and status_of(world) == "completed"
    assert [c.change for c in world.deploy(RUNS, now=at(6)).changes] == ["unchanged"] and status_of(world) == "completed"
    world.deploy(RUNS.replace("2026-03-05", "2026-04-05"), now=at(6))
    assert status_of(world) == "active"


def test_what_still_lies_in_the_inbox_comes_first(world: World) -> None:
    world.deploy(RUNS)
    rows = [{"customer_id": f"c{n}", "type": "signup", "occurred_at": at(1), "received_at": at(1), "payload": {}} for n in range(30)]
    world.events(rows)
    world.worker.tick(at(30))
    assert Counter(j.exit_reason for j in world.journeys()) == {"completed": 30} and status_of(world) == "completed"
