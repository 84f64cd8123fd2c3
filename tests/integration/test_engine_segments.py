"""Segments: dynamic ones follow the customers' own changes, and only those; transitions are events; new definitions tell nobody."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_flows import segment
from engine_rows import execute, rows
from engine_world import World, at

from journey_pipelines.intake.table_segments import refresh_segments
from journey_pipelines.store import moment_tables as m
from journey_pipelines.store import tables as t

HELLO = """
workflow: {name}
triggers:
  - {trigger}
steps:
  - id: hello
    do:
      - send_email: {{template: hello, subject: Hello}}
"""


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def hello(name: str, trigger: str, more: str = "") -> str:
    return HELLO.format(name=name, trigger=trigger) + more


def moves(world: World, customer: str) -> list[tuple[str, bool]]:
    """(segment, still in) in the order entered."""
    return [(row.segment_id, row.left_at is None) for row in world.rows(t.segment_memberships, customer, order=("entered_at",))]


def changes(world: World) -> int:
    return len(world.rows(m.customer_changes))


def test_a_profile_that_changes_enters_and_leaves(world: World) -> None:
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(hello("thanks", "segment: rich"), hello("sorry", "{segment: rich, on: leave}"))
    world.tick(at())
    world.profile("ann", at(hours=1), lifetime_value=50)
    world.profile("bob", at(hours=1), lifetime_value=500)
    world.tick(at(hours=2))
    assert (moves(world, "ann"), moves(world, "bob")) == ([], [("rich", True)])
    assert (world.sent("ann"), world.sent("bob")) == ([], [("hello", "planned")])
    world.profile("bob", at(hours=3), lifetime_value=5)
    world.tick(at(hours=4))
    assert moves(world, "bob") == [("rich", False)]
    assert [row.workflow_id for row in world.journeys("bob")] == ["thanks", "sorry"]
    assert [row.entered_at for row in world.journeys("bob")] == [at(hours=1), at(hours=3)]
    assert changes(world) == 0


def test_a_change_of_another_key_asks_nothing(world: World) -> None:
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(hello("thanks", "segment: rich"))
    world.tick(at())
    world.profile("ann", at(hours=1), first_name="Ann")
    assert changes(world) == 0


def test_an_event_changes_membership_in_its_own_place(world: World) -> None:
    """Two orders in one batch: the second makes the segment, at its own time, before the event behind it is looked at."""
    segment(world, "regular", "when: event_count('order') >= 2")
    world.deploy(hello("thanks", "segment: regular"), hello("visit", "{event: visit, when: in_segment('regular')}"))
    world.tick(at())
    for hour, type_ in ((1, "order"), (2, "visit"), (3, "order"), (4, "visit")):
        world.event("ann", type_, at(hours=hour))
    world.tick(at(1))
    assert [(j.workflow_id, j.entered_at) for j in world.journeys("ann")] == [("thanks", at(hours=3)), ("visit", at(hours=4))]


@pytest.mark.parametrize("write", ["app", "event", "step"])
def test_every_write_of_a_profile_is_one_of_updated_at(world: World, write: str) -> None:
    segment(world, "quiet", "when: days_since(customer.updated_at) > 5")
    step = (
        HELLO.split("steps:")[0].format(name="write", trigger="event: signup")
        + "steps:\n  - id: write\n    do: [update_profile: {set: {a: 1}}]\n"
    )
    world.deploy(hello("hi", "segment: quiet"), hello("bye", "{segment: quiet, on: leave}"), step)
    world.tick(at())
    world.profile("ann", at(), first_name="Ann")
    world.tick(at(6))
    assert world.segments("ann") == {"quiet"}
    if write == "app":
        world.profile("ann", at(7), a=1)
    else:
        world.event("ann", "x" if write == "event" else "signup", at(7), profile={"a": 1} if write == "event" else None)
    world.tick(at(8))
    assert (world.segments("ann"), [j.workflow_id for j in world.journeys("ann") if j.workflow_id != "write"]) == (set(), ["hi", "bye"])


@pytest.mark.parametrize("ticks", [[at(40)], [at(day) for day in range(1, 41)], [at(0.3), at(12), at(40)]])
def test_time_alone_enters_and_leaves(world: World, ticks: list) -> None:
    """Lapsed a month after the last order, whatever the tick; an order before that puts it off."""
    segment(world, "lapsed", "when: has_event('order') and not has_event('order', within='30 days')")
    world.deploy(hello("miss_you", "segment: lapsed"), hello("welcome_back", "{segment: lapsed, on: leave}"))
    world.tick(at())
    world.event("ann", "order", at(hours=1))
    world.event("ann", "order", at(5))
    world.event("ann", "order", at(38))
    world.event("bob", "order", at(9))
    for now in ticks:
        world.tick(now)
    entered = [(j.workflow_id, round((j.entered_at - at()).total_seconds())) for j in world.journeys("ann")]
    assert entered == [("miss_you", 35 * 86_400), ("welcome_back", 38 * 86_400)]
    assert [(j.workflow_id, round((j.entered_at - at()).total_seconds())) for j in world.journeys("bob")] == [("miss_you", 39 * 86_400)]


def test_a_time_that_stays_the_same_is_not_written_again(world: World) -> None:
    segment(world, "old", "when: days_since(customer.created_at) > 30")
    world.deploy(hello("hi", "segment: old"))
    world.profile("ann", at(), created_at=at().isoformat())
    world.tick(at())
    written = rows(world.db, "SELECT at, xmin::text FROM journeys.customer_moments")
    world.profile("ann", at(1), created_at=at().isoformat())
    assert world.tick(at(1)).rows_in == 1
    assert rows(world.db, "SELECT at, xmin::text FROM journeys.customer_moments") == written
    # another time is
    world.profile("ann", at(2), created_at=at(1).isoformat())
    world.tick(at(2))
    assert rows(world.db, "SELECT at FROM journeys.customer_moments") == [(written[0].at + timedelta(days=1),)]


def test_nested_segments_follow_at_the_same_instant(world: World) -> None:
    segment(world, "rich", "when: customer.lifetime_value > 100")
    segment(world, "local", "when: customer.country == 'DE'")
    segment(world, "guest", "when: in_segment('rich') and in_segment('local')")
    world.deploy(hello("thanks", "segment: guest"))
    world.tick(at())
    world.profile("ann", at(hours=1), country="DE")
    world.tick(at(hours=1))
    world.event("ann", "order", at(hours=2), profile={"lifetime_value": 200})
    world.tick(at(hours=3))
    assert {name for name, inside in moves(world, "ann") if inside} == {"rich", "local", "guest"}
    assert world.journey("ann").entered_at == at(hours=2)


def test_being_in_at_activation_is_no_transition(world: World) -> None:
    """A new definition corrects its members and tells nobody."""
    for name, value in (("ann", 500), ("bob", 50)):
        world.profile(name, at(), lifetime_value=value)
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(hello("thanks", "segment: rich"))
    world.tick(at(hours=1))
    assert (moves(world, "ann"), world.journeys()) == ([("rich", True)], [])
    segment(world, "rich", "when: customer.lifetime_value < 100")
    world.deploy(hello("thanks", "segment: rich"), now=at(hours=2))
    world.tick(at(hours=2))
    assert (moves(world, "ann"), moves(world, "bob")) == ([("rich", False)], [("rich", True)])
    assert world.journeys() == []


def test_existing_members_enter_where_the_workflow_says_so(world: World) -> None:
    world.profile("ann", at(), lifetime_value=500)
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(hello("thanks", "segment: rich", "entry: {existing: enter}\n"), now=at(hours=1))
    world.tick(at(hours=1))
    world.tick(at(hours=2))
    assert world.journey("ann").trigger_id == "rich"
    world.deploy(hello("thanks", "segment: rich", "entry: {existing: enter}\ntopic: offers\n"), now=at(hours=3))
    world.tick(at(hours=3))
    assert len(world.journeys("ann")) == 1, "asked in once, not at every version"


def test_a_condition_trigger_is_an_unnamed_segment(world: World) -> None:
    world.deploy(hello("thanks", "condition: \"customer.plan == 'gold'\""))
    world.tick(at())
    world.profile("ann", at(hours=1), plan="gold")
    world.profile("bob", at(hours=1), plan="silver")
    world.tick(at(hours=2))
    world.profile("ann", at(hours=3), plan="gold", note="again")
    world.tick(at(hours=4))
    assert [(j.customer_id, j.trigger_id) for j in world.journeys()] == [("ann", "condition")]


def test_static_segments_move_in_the_order_of_events(world: World) -> None:
    segment(world, "vip", "static: true")
    world.deploy(hello("thanks", "segment: vip"), hello("visit", "{event: visit, when: in_segment('vip')}"))
    world.tick(at())
    with world.db.begin() as conn:
        for hour, change in ((2, "enter"), (2.5, "enter"), (4, "leave")):
            row = {"segment_id": "vip", "customer_id": "ann", "change": change, "occurred_at": at(hours=hour)}
            conn.execute(sa.insert(t.segment_changes).values(row))
    for hour in (1, 3, 5):
        world.event("ann", "visit", at(hours=hour))
    world.tick(at(1))
    found = [(j.workflow_id, j.entered_at) for j in world.journeys("ann")]
    assert found == [("thanks", at(hours=2)), ("visit", at(hours=3))], "entered once for two moves in, seen by the visit between"


def test_a_late_event_counts_in_the_end(world: World) -> None:
    """It is looked at in its own place, where it changes nothing yet, and again at the newest."""
    segment(world, "regular", "when: event_count('order') >= 2")
    world.deploy(hello("thanks", "segment: regular"))
    world.tick(at())
    world.event("ann", "order", at(hours=5))
    world.tick(at(hours=5))
    world.event("ann", "order", at(hours=4), received=at(hours=6))
    world.tick(at(hours=6))
    assert world.segments("ann") == {"regular"}


def test_a_segment_that_leaves_the_folder_is_asked_no_more(world: World) -> None:
    segment(world, "rich", "when: customer.lifetime_value > 100")
    world.deploy(hello("visit", "event: visit"))
    world.tick(at())
    (world.root / "segments" / "rich.yaml").unlink()
    world.deploy(hello("visit", "event: visit"), now=at(hours=1))
    world.profile("ann", at(hours=2), lifetime_value=500)
    world.tick(at(hours=3))
    assert moves(world, "ann") == []


def test_a_table_that_somebody_else_builds(world: World) -> None:
    """The first look is a build, differences are transitions, an empty or missing table changes nothing and says why."""
    segment(world, "vip", "from: {table: analytics.vips, column: customer, every: 15 minutes}")
    report = world.deploy(hello("thanks", "segment: vip"), hello("sorry", "{segment: vip, on: leave}"))
    assert any("GRANT SELECT ON analytics.vips" in grant for grant in report.grants)
    (missing,) = refresh_segments(world.db, at())
    assert missing.error and "analytics.vips" in missing.error
    execute(world.db, "CREATE SCHEMA analytics", "CREATE TABLE analytics.vips (customer text)")
    execute(world.db, "INSERT INTO analytics.vips VALUES ('ann'), ('bob')")
    assert [(r.moves, r.built) for r in refresh_segments(world.db, at())] == [(2, True)]
    world.tick(at())
    assert (world.segments("ann"), world.journeys()) == ({"vip"}, [])
    execute(world.db, "DELETE FROM analytics.vips WHERE customer = 'ann'", "INSERT INTO analytics.vips VALUES ('cid'), ('cid'), (NULL)")
    assert refresh_segments(world.db, at(minutes=14)) == []
    assert [r.moves for r in refresh_segments(world.db, at(minutes=15))] == [2]
    world.tick(at(hours=1))
    assert sorted((j.workflow_id, j.customer_id) for j in world.journeys()) == [("sorry", "ann"), ("thanks", "cid")]
    execute(world.db, "TRUNCATE analytics.vips")
    (empty,) = refresh_segments(world.db, at(hours=2))
    assert empty.error and "empty" in empty.error and world.segments("bob") == {"vip"}
