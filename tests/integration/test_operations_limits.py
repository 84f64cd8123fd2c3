"""Limits of entries and of journeys in flight, and the breaker: by the entries' own times, and with eight workers at once."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_rows import one
from engine_world import START, World, at

from journey_pipelines.engine.breaker import check_breaker
from journey_pipelines.engine.limits import note_entries
from journey_pipelines.engine.resume import release
from journey_pipelines.engine.tick import Worker
from journey_pipelines.store import tables as t
from journey_pipelines.store.moment_tables import operator_holds, workflow_entries
from journey_pipelines.workflows.project import Breaker


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


FLOW = """
workflow: flow
limits: {LIMITS}
triggers: [{event: signup}]
steps:
  - id: stay
    wait: 5 days
"""


def people(world: World, times: list[datetime], prefix: str = "c") -> None:
    world.events(
        [{"customer_id": f"{prefix}{n}", "type": "signup", "occurred_at": when, "received_at": when} for n, when in enumerate(times)]
    )


def entered(world: World) -> list[datetime]:
    return sorted(j.entered_at for j in world.journeys())


def fullest(times: list[datetime], length: timedelta) -> int:
    return max(sum(start <= when < start + length for when in times) for start in times)


def test_no_more_in_flight_than_the_limit_the_earliest_first(world: World) -> None:
    world.deploy(FLOW.replace("LIMITS", "in_flight: 3"))
    people(world, [at(minutes=n) for n in range(10)])
    report = world.tick(at(1))
    assert entered(world) == [at(minutes=n) for n in range(3)] and (report.entered, report.limited) == (3, 7)
    # there is room again when they have left
    world.tick(at(6))
    people(world, [at(6, minutes=n) for n in range(10)], "d")
    world.tick(at(7))
    assert Counter(j.status for j in world.journeys()) == {"ended": 3, "active": 3}


def test_parked_journeys_count_as_in_flight(world: World) -> None:
    from journey_pipelines.engine.holds import hold

    world.deploy(FLOW.replace("LIMITS", "in_flight: 2"))
    people(world, [START, START])
    with world.db.begin() as conn:
        hold(conn, "flow", why="odd", by="ann", now=START)
    world.tick(at(9))
    people(world, [at(9)], "d")
    world.tick(at(9))
    assert len(world.journeys()) == 2


@pytest.mark.parametrize("batch_size", [10_000, 64])
def test_no_hour_takes_more_than_the_limit_whatever_the_tick(world: World, batch_size: int) -> None:
    """A replay looks at a week at once: the limit is that of the hours in it."""
    world.deploy(FLOW.replace("LIMITS", "entries: 10/hour"))
    world.worker = Worker(world.db, batch_size=batch_size)
    people(world, [at(minutes=3 * n) for n in range(500)])
    world.tick(at(2))
    times = entered(world)
    assert fullest(times, timedelta(hours=1)) <= 10
    # 25 hours, 20 ask in each; small batches take some shards first, and leave gaps that nobody fits into
    assert (240 if batch_size > 500 else 200) <= len(times) <= 255
    assert world.rows(workflow_entries, order=("minute",))[0].minute == START


def test_who_comes_late_finds_no_room_that_others_have_taken(world: World) -> None:
    world.deploy(FLOW.replace("LIMITS", "entries: 2/hour"))
    people(world, [at(hours=1), at(hours=1, minutes=10)])
    world.tick(at(hours=2))
    world.event("late", "signup", at(minutes=40), received=at(hours=2))
    world.event("later", "signup", at(minutes=5), received=at(hours=2))
    world.tick(at(hours=2))
    assert fullest(entered(world), timedelta(hours=1)) == 2 and world.journeys("late") == [] and len(world.journeys("later")) == 1


def test_who_is_not_admitted_takes_no_room(world: World) -> None:
    world.deploy(FLOW.replace("LIMITS", "entries: 3/hour"))
    people(world, [START, START])
    world.tick(at())
    rows = [("c0", 1), ("c1", 2), ("c0", 3), ("new", 4)]
    world.events([{"customer_id": n, "type": "signup", "occurred_at": at(minutes=m), "received_at": at(minutes=m)} for n, m in rows])
    report = world.tick(at(hours=1))
    assert len(world.journeys("new")) == 1 and report.limited == 0


@pytest.mark.parametrize(("limit", "most"), [("in_flight: 100", 100), ("entries: 100/day", 100)])
def test_eight_workers_at_once_keep_a_limit(world: World, limit: str, most: int) -> None:
    world.deploy(FLOW.replace("LIMITS", limit))
    people(world, [START + timedelta(seconds=n) for n in range(800)])
    workers = [Worker(world.db, batch_size=40) for _ in range(8)]
    errors: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            for _ in range(20):
                worker.tick(at(1))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(world.journeys()) == most
    assert one(world.db, "SELECT count(*) FROM journeys.event_inbox") == 0


OPEN = FLOW.replace("limits: {LIMITS}\n", "")
POLICY = "breaker: {factor: 5, minimum: 20}\n"


def burst(world: World, n: int, when: datetime, prefix: str) -> Any:
    people(world, [when + timedelta(seconds=second) for second in range(n)], prefix)
    return world.tick(when + timedelta(minutes=10))


def holds(world: World) -> list[Any]:
    return world.rows(operator_holds)


def test_many_times_more_than_usual_holds_the_sends(world: World) -> None:
    world.deploy(OPEN, policies=POLICY)
    for day in range(3):
        burst(world, 6, at(day), f"d{day}-")
    assert holds(world) == []
    burst(world, 60, at(3), "many")
    (held,) = holds(world)
    assert (held.workflow_id, held.what, held.held_by, held.held_at) == ("flow", "dispatch", "breaker", at(3, minutes=10))
    assert held.why == (
        "60 entered within an hour, more than 5 times the usual 6.0 an hour (mean of the 3 hours with entries in the last 7 days)"
    )
    # journeys go on
    assert len(world.journeys()) == 78
    burst(world, 60, at(3, minutes=20), "more")
    assert len(holds(world)) == 1
    with world.db.begin() as conn:
        release(conn, "flow", by="ann", now=at(3, minutes=40))
    burst(world, 60, at(3, minutes=50), "again")
    assert len(holds(world)) == 1, "not held again within the hour after a release"


def test_what_is_usual_few_or_new_is_not_held(world: World) -> None:
    world.deploy(OPEN, policies=POLICY)
    burst(world, 100, at(), "first")
    assert holds(world) == [], "nothing to be compared with"
    burst(world, 100, at(1), "second")
    burst(world, 400, at(2), "third")
    assert holds(world) == []
    burst(world, 3, at(3), "few")
    world.deploy(OPEN.replace("workflow: flow", "workflow: small"), policies=POLICY)
    world.event("x", "signup", at(3, hours=2))
    world.tick(at(3, hours=2))
    burst(world, 15, at(3, hours=5), "some")
    assert holds(world) == [], "below the minimum"


def test_a_backlog_counts_in_the_hours_in_which_it_happened(world: World) -> None:
    world.deploy(OPEN, policies=POLICY)
    burst(world, 6, at(), "a")
    # the engine stood still for two days: all of it comes in one batch
    people(world, [at(1, minutes=15 * n) for n in range(180)], "b")
    world.tick(at(3))
    assert holds(world) == []


def test_the_breakers_question_reads_an_hour(db: sa.Engine) -> None:
    with db.begin() as conn:
        minutes = {START - timedelta(minutes=n): 1 for n in range(9 * 24 * 60)}
        note_entries(conn, {"flow": minutes}, slot=0)
        note_entries(conn, {"flow": {START: 40}}, slot=3)
        assert check_breaker(conn, {"flow": {START: 40}}, START, Breaker(factor=2, minimum=100)) == []
        assert check_breaker(conn, {"flow": {START: 40}}, START, Breaker(factor=2, minimum=10)) == []
        note_entries(conn, {"flow": {START: 400}}, slot=3)
        assert check_breaker(conn, {"flow": {START: 40}}, START, Breaker(factor=2, minimum=10)) == ["flow"]
        assert check_breaker(conn, {"flow": {START: 40}}, START, Breaker(factor=2, minimum=10)) == []
        note_entries(conn, {"flow": {START + timedelta(days=30): 1}}, slot=0)
        left = conn.scalars(sa.select(sa.func.count()).select_from(workflow_entries).where(workflow_entries.c.slot == 0)).one()
    assert left == 1, "what is older than the week is forgotten"


def test_rows_of_the_ledger_are_untouched_by_limits(world: World) -> None:
    world.deploy(FLOW.replace("LIMITS", "in_flight: 1"))
    people(world, [START, START])
    world.tick(at())
    assert (
        world.rows(t.journey_admissions, order=("customer_id",))[0].active == 1
        and len(world.rows(t.journey_admissions, order=("customer_id",))) == 1
    )
