"""The example `win_back`: who lapses is told by time alone, an experiment divides them for good, and coming back ends it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from examples_world import ExampleWorld, Story, plays, shown, wall

from journey_pipelines.store import tables as t

START, END = wall("2026-01-05 00:00"), wall("2026-10-10 00:00")
INSTANT = timedelta(microseconds=1)
#: everybody's only purchase; 90 days of 24 hours later it is 15:00 on summer time, and at that very instant it is still within 90 days
BOUGHT, LAPSED = wall("2026-01-06 14:00"), wall("2026-04-06 15:00") + INSTANT


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> ExampleWorld:
    return ExampleWorld(db, tmp_path, now=START)


def buys(story: Story, customer: str, when: datetime = BOUGHT, total: float = 20, **profile: object) -> None:
    known = {"subscription_status": "active", "timezone": "Europe/Berlin", "first_name": customer.title(), **profile}
    story.event(when, customer, "purchase", profile=known, order_id=f"{customer}-{when:%m%d}", total=total)


def the_story() -> Story:
    """Arms are by hash: ben and gil get the discount, bea, cat, don and hank the news, flo is of the tenth that gets nothing."""
    story = Story()
    for name in ("bea", "ben", "cat", "don", "flo", "gil"):
        buys(story, name)
    buys(story, "gus", subscription_status="unsubscribed")
    # buys again before the 90 days are over
    buys(story, "hank")
    buys(story, "hank", wall("2026-03-01 10:00"))
    for when in ("04-06 15:05", "04-21 09:35", "05-19 09:35"):
        story.sends(wall(f"2026-{when}"))
    # bea says nothing; ben clicks at once, cat in the third message
    story.click(wall("2026-04-07 12:00"), "ben", "discount")
    story.click(wall("2026-05-11 12:00"), "cat", "again")
    # don comes back, gil turns out to work here, flo comes back unasked
    buys(story, "don", wall("2026-04-20 18:00"), 49)
    story.then(wall("2026-04-15 03:00"), lambda world: hires(world, "gil", wall("2026-04-15 03:00")))
    buys(story, "flo", wall("2026-04-30 18:00"), 30)
    # both lapse once more: ben too soon after the first time
    buys(story, "ben", wall("2026-06-01 09:00"), 25)
    buys(story, "bea", wall("2026-07-10 09:00"), 25)
    return story


def hires(world: ExampleWorld, customer: str, when: datetime) -> None:
    with world.db.begin() as conn:
        change = {"segment_id": "staff", "customer_id": customer, "change": "enter", "occurred_at": when}
        conn.execute(sa.insert(t.segment_changes).values(change))


def arms(world: ExampleWorld) -> dict[str, str]:
    return {row.customer_id: row.arm for row in world.rows(t.split_assignments, order=("customer_id",))}


def test_what_each_one_gets_and_when(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=6))
    assert {name for name, arm in arms(world).items() if arm == "end"} == {"flo"}
    assert world.ledger("bea", "win_back") == [
        "Mon 04-06 15:00 news email",
        # a week for a click, one more, then the next morning in the middle of a week: three looks in all
        "Tue 04-21 09:30 again email", "Tue 05-05 09:30 again email", "Tue 05-19 09:30 again email",
        # lapsed again, and the same news: the arm is for good
        "Thu 10-08 09:00 news email",
    ]  # fmt: skip
    assert world.ledger("ben", "win_back") == ["Mon 04-06 15:00 discount email", "Tue 05-05 12:00 reminder push"]
    # her reminder would have come after the offer was over
    assert world.ledger("cat", "win_back") == [
        "Mon 04-06 15:00 news email", "Tue 04-21 09:30 again email", "Tue 05-05 09:30 again email",
    ]  # fmt: skip
    assert world.ledger("don", "win_back") == ["Mon 04-06 15:00 news email"]
    assert world.ledger("flo", "win_back") == []
    assert world.ledger("gil", "win_back") == ["Mon 04-06 15:00 discount email"]
    assert world.ledger("hank", "win_back") == [
        "Sat 05-30 11:00 news email", "Tue 06-16 09:30 again email", "Tue 06-30 09:30 again email", "Tue 07-14 09:30 again email",
    ]  # fmt: skip
    assert world.journeys("gus") == []


def test_how_it_ends_and_what_counts(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=12))
    assert {name: world.ends(name, "win_back") for name in ("bea", "ben", "cat", "don", "flo", "gil")} == {
        "bea": ["completed Tue 05-19 09:30", ""],
        "ben": ["completed Tue 05-05 12:00"],
        "cat": ["expired Fri 06-05 15:00"],
        # the purchase is the goal, and with it he leaves the segment: the goal is the reason
        "don": ["goal Mon 04-20 18:00"],
        "flo": ["completed Mon 04-06 15:00"],
        "gil": ["exit_rule Wed 04-15 03:00"],
    }
    found = [(c.customer_id, shown(c.at), float(c.value), c.exposed) for c in world.rows(t.conversions, order=("at",))]
    assert found == [("don", "Mon 04-20 18:00", 49, True), ("flo", "Thu 04-30 18:00", 30, False), ("ben", "Mon 06-01 09:00", 25, True)]
    assert world.segments("cat") == {"lapsed_90", "reactivated"}
    assert {name: world.attributes(name).get("win_backs") for name in ("bea", "ben", "cat")} == {"bea": None, "ben": 1, "cat": 1}


def test_the_experiment_is_logged_and_divides_as_it_says(world: ExampleWorld) -> None:
    story = Story()
    people = [f"p{n}" for n in range(120)]
    for name in people:
        buys(story, name)
    world.play(story, LAPSED, timedelta(days=120))
    assigned = arms(world)
    counts = {arm: sum(1 for one in assigned.values() if one == arm) for arm in ("discount", "news", "end")}
    # within three standard deviations of 54, 54 and 12
    assert 37 <= counts["discount"] <= 71 and 37 <= counts["news"] <= 71 and 2 <= counts["end"] <= 22 and sum(counts.values()) == 120
    assert {m.customer_id: m.step_key for m in world.messages()} == {name: arm for name, arm in assigned.items() if arm != "end"}
    assert {row.assigned_at for row in world.rows(t.split_assignments, order=("customer_id",))} == {LAPSED}


def test_up_to_the_instant_nobody_has_lapsed(world: ExampleWorld) -> None:
    story = Story()
    buys(story, "bea")
    world.play(story, LAPSED - INSTANT, timedelta(days=30))
    assert (world.segments("bea"), world.journeys()) == (set(), [])
    world.tick(LAPSED)
    assert (world.segments("bea"), world.ledger("bea", "win_back")) == ({"lapsed_90"}, ["Mon 04-06 15:00 news email"])


def test_the_same_with_every_tick(world: ExampleWorld) -> None:
    sizes = [timedelta(days=4), timedelta(days=13), timedelta(days=300)]
    traces = dict(plays(world, the_story(), START, END, sizes))
    assert len(traces[sizes[0]]["messages"]) == 16
    assert all(trace == traces[sizes[0]] for trace in traces.values())
