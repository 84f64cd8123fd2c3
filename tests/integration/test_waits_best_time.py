"""`best_time`: the hour at which a customer opens and clicks, and where they did not, everybody's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_world import START, World, at

from journey_pipelines.compiler.best_time import CONSTANT_PRIOR
from journey_pipelines.engine.best_time import refresh_prior
from journey_pipelines.store.moment_tables import best_time_prior

BERLIN, TOKYO = "Europe/Berlin", "Asia/Tokyo"
#: of the constant prior: nine, ten and the evening are equal, and the earliest of what lies ahead is taken
FIRST_BEST = CONSTANT_PRIOR.index(max(CONSTANT_PRIOR))


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def waiting(wait: str = "{best_time: true}") -> str:
    return f"workflow: best\ntriggers: [{{event: go}}]\nentry: {{reentry: always}}\nsteps: [{{id: rest, wait: {wait}}}]\n"


def habit(world: World, customer: str, type_: str, hour: int, days: int, *, first: int = -30, **payload: object) -> None:
    """An event at this hour of UTC, on so many days in a row."""
    midnight = START.replace(hour=0)
    world.events(
        [
            {"customer_id": customer, "type": type_, "occurred_at": when, "received_at": when, "payload": payload}
            for when in (midnight + timedelta(days=first + n, hours=hour, minutes=20) for n in range(days))
        ]
    )


def due(world: World, customer: str) -> str:
    return world.journeys(customer)[-1].due_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def test_the_hour_of_ones_own_opens_and_clicks(world: World) -> None:
    """START is 09:00 UTC, 10:00 in Berlin. A click weighs as much as three opens; what a machine opened says nothing."""
    world.deploy(waiting())
    habit(world, "opener", "message.opened", 20, 6)
    habit(world, "clicker", "message.opened", 20, 8)
    habit(world, "clicker", "message.clicked", 6, 4)
    habit(world, "machine", "message.opened", 3, 30, machine=True)
    habit(world, "machine", "message.opened", 15, 4)
    habit(world, "long_ago", "message.opened", 3, 30, first=-250)
    habit(world, "later", "message.opened", 3, 30, first=1)
    world.event("later", "go", at())
    for name in ("opener", "clicker", "machine", "long_ago", "nobody"):
        world.event(name, "go", at(), profile={"timezone": BERLIN})
    world.tick(at())
    assert {name: due(world, name) for name in ("opener", "clicker", "machine")} == {
        "opener": "2026-03-02 20:00", "clicker": "2026-03-03 06:00", "machine": "2026-03-02 15:00",
    }  # fmt: skip
    # without a history of their own: what everybody does, on their wall; 10:00 in Berlin is now
    assert (due(world, "nobody"), due(world, "long_ago")) == ("2026-03-02 09:00", "2026-03-02 09:00")
    # the future is not known
    assert due(world, "later") == "2026-03-02 09:00"


def test_one_open_at_night_does_not_make_a_night_owl(world: World) -> None:
    world.deploy(waiting())
    for name, nights in (("once", 1), ("twice", 2), ("thrice", 3)):
        habit(world, name, "message.opened", 2, nights)
        world.event(name, "go", at())
    world.tick(at())
    assert {name: due(world, name) for name in ("once", "twice", "thrice")} == {
        "once": "2026-03-02 09:00", "twice": "2026-03-02 09:00", "thrice": "2026-03-03 02:00",
    }  # fmt: skip


@pytest.mark.parametrize(("within", "expected"), [("1 hour", "10:00"), ("4 hours", "12:00"), ("24 hours", "20:00")])
def test_only_hours_that_start_in_time_are_asked(world: World, within: str, expected: str) -> None:
    """From 09:30 on; her hours are 20:00, and less so 12:00."""
    world.deploy(waiting(f"{{after: 30 minutes, best_time: true, within: {within}}}"))
    habit(world, "ann", "message.opened", 20, 9)
    habit(world, "ann", "message.opened", 12, 6)
    world.event("ann", "go", at())
    world.tick(at())
    assert due(world, "ann")[-5:] == expected


def test_the_hour_on_the_wall_over_the_night_of_a_change(world: World) -> None:
    """Her hour is 09:00 in Berlin: 08:00 UTC in winter, 07:00 in summer. The hour that is not there is not waited for."""
    world.deploy(waiting())
    habit(world, "ann", "message.opened", 8, 20)
    habit(world, "gap", "message.opened", 1, 20)
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    for name in ("ann", "gap"):
        world.event(name, "go", before, profile={"timezone": BERLIN})
    world.tick(before)
    assert due(world, "ann") == "2026-03-29 07:00"
    # two o'clock does not exist that night: the best of the others
    assert due(world, "gap") != "2026-03-29 01:00"
    world.tick(datetime(2026, 4, 2, tzinfo=UTC))
    assert {j.status for j in world.journeys()} == {"ended"}


def test_the_prior_is_learned_from_everybody(world: World) -> None:
    world.deploy(waiting())
    with world.db.begin() as conn:
        refresh_prior(conn, at())
        weights = list(conn.scalars(sa.select(best_time_prior.c.weight).order_by(best_time_prior.c.hour)))
    # nobody has done anything yet: the shape that is assumed
    assert [round(w / weights[FIRST_BEST], 6) for w in weights] == [round(w / CONSTANT_PRIOR[FIRST_BEST], 6) for w in CONSTANT_PRIOR]

    # sixty people in Tokyo read at 22:00 there, which is 13:00 UTC; one reads a thousand times as much at 05:00 UTC
    for n in range(60):
        world.profile(f"c{n}", at(-100), timezone=TOKYO)
        habit(world, f"c{n}", "message.opened", 13, 3)
    world.events(
        [
            {"customer_id": "avid", "type": "message.clicked", "occurred_at": when, "received_at": when, "payload": {}}
            for when in (at(-20, seconds=n) + timedelta(hours=-4) for n in range(1000))
        ]
    )
    habit(world, "robot", "message.opened", 3, 30, machine=True)
    world.event("new", "go", at(), profile={"timezone": BERLIN})
    world.tick(at())
    before = due(world, "new")
    with world.db.begin() as conn:
        assert refresh_prior(conn, at()) == 61
        weights = list(conn.scalars(sa.select(best_time_prior.c.weight).order_by(best_time_prior.c.hour)))
    assert (before, max(range(24), key=weights.__getitem__), len(weights)) == ("2026-03-02 09:00", 22, 24)
    # one person has one voice
    assert weights[22] > 30 > weights[5]
    world.event("newer", "go", at(), profile={"timezone": BERLIN})
    world.tick(at())
    assert due(world, "newer") == "2026-03-02 21:00"
    with world.db.begin() as conn:
        refresh_prior(conn, at())
        again = list(conn.scalars(sa.select(best_time_prior.c.weight).order_by(best_time_prior.c.hour)))
    assert again == weights


def test_a_customer_with_a_hundred_thousand_opens_costs_no_more(world: World) -> None:
    world.deploy(waiting())
    with world.db.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO journeys.customer_events (seq, customer_id, shard, type, occurred_at, received_at, source, payload) "
            "SELECT -g, 'ann', journeys.shard_of('ann'), 'message.opened', t, t, 'app', '{}' "
            "FROM generate_series(1, 100000) AS g, LATERAL (SELECT %(start)s::timestamptz - g * interval '1 minute' AS t) AS x",
            {"start": START},
        )
        conn.exec_driver_sql("ANALYZE journeys.customer_events")
    world.event("ann", "go", at())
    world.tick(at())
    plans = world.worker._plans
    assert plans is not None
    (uid,) = (uid for uid, place in plans.places.items() if place.arriving)
    arrive = plans.step(uid)
    assert arrive is not None
    world.event("ann", "go", at(hours=1))
    with world.db.begin() as conn:
        j = "UPDATE journeys.customer_journeys SET step_uid = %(uid)s::bigint, due_at = at RETURNING id"
        ids = [row.id for row in conn.exec_driver_sql(j, {"uid": uid})]
        values = arrive.chosen.bind({"ids": ids, "default_zone": "UTC"})
        plan = conn.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {arrive.chosen.sql}", values).scalar_one()
    assert most_rows(plan[0]["Plan"]) <= 200


def most_rows(node: dict[str, object]) -> float:
    """The most rows that any scan of the history read."""
    here = float(node["Actual Rows"]) if node.get("Relation Name") == "customer_events" else 0.0  # type: ignore[arg-type]
    below = node.get("Plans") or []
    return max([here, *(most_rows(child) for child in below)])  # type: ignore[attr-defined]
