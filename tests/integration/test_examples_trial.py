"""The example `trial_expiry`: a countdown to a date that support moves while people wait for it, at ten o'clock on their own clocks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from examples_world import BERLIN, KOLKATA, NEW_YORK, ExampleWorld, Story, plays, wall

from journey_pipelines.store import tables as t

START, END = wall("2026-03-01 00:00"), wall("2026-05-01 00:00")


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> ExampleWorld:
    return ExampleWorld(db, tmp_path, now=START)


def tries(story: Story, customer: str, when: str, ends: str | None, zone: str = BERLIN, **profile: object) -> None:
    known = {"timezone": zone, "subscription_status": "active", "first_name": customer.title(), "plan": "trial", **profile}
    story.event(wall(f"2026-{when}", zone), customer, "trial_started", profile={**known, "trial_end": ends}, plan="subscription")


def writes(story: Story, customer: str, when: str, **profile: object) -> None:
    """Support or the CRM writes the profile, without an event."""
    moment = wall(f"2026-{when}")
    story.then(moment, lambda world: world.profile(customer, moment, **profile))


def the_story() -> Story:
    story = Story()
    tries(story, "ann", "03-16 12:00", "2026-04-05")
    # extended while he waits for the third day before the end
    tries(story, "bob", "03-16 12:00", "2026-04-01", NEW_YORK, push_token="t-bob")
    writes(story, "bob", "03-26 15:00", trial_end="2026-04-15")
    # extended while she waits for the week before it, and again
    tries(story, "cho", "03-20 12:00", "2026-03-30", KOLKATA)
    writes(story, "cho", "03-22 15:00", trial_end="2026-04-10")
    writes(story, "cho", "04-01 15:00", trial_end="2026-04-20")
    # shortened: the third day before the end has gone by
    tries(story, "dee", "03-16 12:00", "2026-04-05")
    writes(story, "dee", "03-30 09:00", trial_end="2026-03-31")
    tries(story, "eve", "03-16 12:00", None)
    # pays: by the shop's event, and by a hand in the CRM
    tries(story, "fay", "03-16 12:00", "2026-04-05")
    story.event(wall("2026-03-31 18:00"), "fay", "subscription_started", profile={"plan": "paid"}, plan="monthly", price=19)
    tries(story, "gil", "03-16 12:00", "2026-04-05")
    writes(story, "gil", "04-01 18:00", plan="paid")
    # only the CRM knows of her trial; and of his, who pays already
    writes(story, "hal", "03-05 12:00", trial_end="2026-04-05", timezone=NEW_YORK, company="Hal & Co", seats=20)
    writes(story, "ida", "03-05 12:00", trial_end="2026-04-05", timezone=BERLIN, plan="paid")
    # begins two days before its end
    tries(story, "jan", "04-03 12:00", "2026-04-05")
    for day in ("03-29", "03-30"):
        story.sends(wall(f"2026-{day} 17:00"))
    return story


def test_what_each_one_gets_and_when(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=1))
    # the first of them on the day on which clocks go forward
    countdown = ["Sun 03-29 10:00 week_before email", "Thu 04-02 10:00 three_days email"]
    assert world.ledger("ann", "trial_expiry") == [*countdown, "Sat 04-04 10:00 last_day email", "Tue 04-07 10:00 ended email"]
    assert world.ledger("bob", "trial_expiry", NEW_YORK) == [
        "Wed 03-25 10:00 week_before email", "Sun 04-12 10:00 three_days email", "Tue 04-14 10:00 last_day push",
        "Fri 04-17 10:00 ended email",
    ]  # fmt: skip
    assert world.ledger("cho", "trial_expiry", KOLKATA) == [
        "Mon 04-13 10:00 week_before email", "Fri 04-17 10:00 three_days email", "Sun 04-19 10:00 last_day email",
        "Wed 04-22 10:00 ended email",
    ]  # fmt: skip
    assert world.ledger("dee", "trial_expiry") == [countdown[0], "Mon 03-30 10:00 last_day email", "Thu 04-02 10:00 ended email"]
    assert world.ledger("fay", "trial_expiry") == countdown[:1]
    assert world.ledger("gil", "trial_expiry") == countdown[:1]
    assert world.ledger("hal", "trial_expiry", NEW_YORK) == [
        *countdown, "Sat 04-04 10:00 last_day email", "Tue 04-07 10:00 ended email",
    ]  # fmt: skip
    assert world.ledger("jan", "trial_expiry") == ["Sat 04-04 10:00 last_day email", "Tue 04-07 10:00 ended email"]
    assert {row.customer_id: row.title for row in world.rows(t.tasks)} == {
        "eve": "Trial of eve has no end", "hal": "Ask Hal & Co why the trial was not kept",
    }  # fmt: skip
    assert world.journeys("ida") == []
    assert [j.trigger_id for j in world.journeys("hal") if j.workflow_id == "trial_expiry"] == ["by_date"]


def test_how_it_ends_and_what_counts(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=7))
    assert {name: world.ends(name, "trial_expiry") for name in ("ann", "dee", "eve", "fay", "gil")} == {
        "ann": ["completed Tue 04-07 10:00"],
        "dee": ["completed Thu 04-02 10:00"],
        "eve": ["completed Mon 03-16 12:00"],
        "fay": ["exit_rule Tue 03-31 18:00"],
        "gil": ["exit_rule Wed 04-01 18:00"],
    }
    assert [(c.customer_id, float(c.value)) for c in world.rows(t.conversions, order=("at",))] == [("fay", 19)]
    plans = {name: world.attributes(name)["plan"] for name in ("ann", "fay", "gil")}
    assert plans == {"ann": "ended", "fay": "paid", "gil": "paid"}


def test_the_date_moves_while_one_waits(world: ExampleWorld) -> None:
    story = Story()
    tries(story, "ann", "03-16 12:00", "2026-04-05")
    world.play(story, wall("2026-03-16 12:00"), timedelta(days=20))

    def due(step: str, text: str) -> None:
        assert (world.journey("ann").step_key, world.journey("ann").due_at) == (step, wall(f"2026-{text}"))

    due("week_before", "03-29 10:00")
    for day, ends, text in (("17", "2026-04-15", "04-08 10:00"), ("18", "2026-03-28", "03-21 10:00"), ("19", "2026-03-29", "03-22 10:00")):
        when = wall(f"2026-03-{day} 09:00")
        world.profile("ann", when, trial_end=ends)
        world.tick(when)
        due("week_before", text)
    # another key of the profile moves nothing
    world.profile("ann", wall("2026-03-20 09:00"), first_name="Anna")
    world.tick(wall("2026-03-22 09:59"))
    assert world.messages("ann") == []
    world.tick(wall("2026-03-22 10:00"))
    assert world.ledger("ann", "trial_expiry") == ["Sun 03-22 10:00 week_before email"]
    # taken away altogether: the countdown has nothing to count to
    world.profile("ann", wall("2026-03-23 09:00"), trial_end=None)
    world.tick(wall("2026-03-23 09:00"))
    assert world.ends("ann", "trial_expiry") == ["completed Mon 03-23 09:00"]


def test_the_same_with_every_tick(world: ExampleWorld) -> None:
    sizes = [timedelta(hours=31), timedelta(days=5), timedelta(days=61)]
    traces = dict(plays(world, the_story(), START, END, sizes))
    assert len(traces[sizes[0]]["messages"]) == 27
    assert all(trace == traces[sizes[0]] for trace in traces.values())
