"""The example `welcome`: five people in five zones over the weekend on which Europe's clocks change."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from examples_world import AUCKLAND, BERLIN, KOLKATA, NEW_YORK, ExampleWorld, Story, plays, wall

from journey_pipelines.store import tables as t

#: a Monday; Europe goes on summer time on the 29th, New Zealand leaves it on 5 April
START, END = wall("2026-03-23 00:00"), wall("2026-04-12 00:00")


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> ExampleWorld:
    return ExampleWorld(db, tmp_path, now=START)


def registers(story: Story, customer: str, when: str, zone: str, status: str = "active", **payload: object) -> None:
    profile = {"timezone": zone, "subscription_status": status, "email_address": f"{customer}@mail.example", "first_name": customer.title()}
    story.event(wall(when, zone), customer, "user_registered", profile=profile, **payload)


def the_story() -> Story:
    story = Story()
    # Ann read our newsletter in the evenings before she registered
    for day in range(1, 11):
        when = wall(f"2026-03-{day:02} 20:20")
        story.event(when, "ann", "message.clicked", link="https://larkspur.example")
    registers(story, "ann", "2026-03-27 16:30", BERLIN, referrer="friend")
    story.click(wall("2026-03-30 11:10"), "ann", "tour")
    story.sends(wall("2026-03-30 20:05"))
    story.event(wall("2026-03-31 09:20"), "ann", "purchase", total=39)
    registers(story, "bob", "2026-03-27 21:00", NEW_YORK)
    registers(story, "cho", "2026-03-25 10:15", KOLKATA)
    story.click(wall("2026-03-26 10:00", KOLKATA), "cho", "hello")
    registers(story, "dee", "2026-04-03 16:30", AUCKLAND)
    # buys at once, and once more later
    registers(story, "fay", "2026-03-25 23:55", BERLIN)
    story.sends(wall("2026-03-25 23:56"))
    story.event(wall("2026-03-26 00:10"), "fay", "purchase", total=12.5)
    story.event(wall("2026-03-28 00:10"), "fay", "purchase", total=20)
    registers(story, "gil", "2026-03-26 09:00", BERLIN)
    story.sends(wall("2026-03-26 09:01"))
    story.event(wall("2026-03-27 08:59:59"), "gil", "account_closed", reason="mistake")
    registers(story, "hal", "2026-03-26 09:00", BERLIN, status="none")
    # a second registration is no second welcome
    registers(story, "ann", "2026-04-10 12:00", BERLIN)
    return story


def test_what_each_one_gets_and_when(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(hours=6))
    assert world.ledger("ann", "welcome") == [
        "Fri 03-27 16:30 hello email",
        # a day later is Saturday: the next working day opens at nine, on summer time
        "Mon 03-30 09:00 tour email",
        # she clicked at 11:10 and reads in the evening
        "Mon 03-30 20:00 offer email",
    ]
    assert world.ledger("bob", "welcome", NEW_YORK) == [
        "Fri 03-27 21:00 hello email",
        "Mon 03-30 09:00 tour email",
        # nothing for two days, one more, then the next Tuesday or Thursday
        "Thu 04-02 18:30 nudge push",
    ]
    assert world.ledger("cho", "welcome", KOLKATA) == [
        "Wed 03-25 10:15 hello email",
        "Thu 03-26 10:15 tour email",
        # the wait was for a click on the tour; two days later the click on the greeting decides, and it says that ten is her hour
        "Sun 03-29 10:00 offer email",
    ]
    assert world.ledger("dee", "welcome", AUCKLAND) == [
        "Fri 04-03 16:30 hello email",
        "Mon 04-06 09:00 tour email",
        "Thu 04-09 18:30 nudge push",
    ]
    assert world.ledger("fay", "welcome") == ["Wed 03-25 23:55 hello email"]
    assert world.ledger("gil", "welcome") == ["Thu 03-26 09:00 hello email"]
    assert world.ledger("hal", "welcome") == []


def test_how_it_ends_and_what_counts(world: ExampleWorld) -> None:
    world.play(the_story(), END, timedelta(days=1))
    ends = {name: world.ends(name, "welcome") for name in ("ann", "fay", "gil", "hal")}
    assert ends == {
        "ann": ["completed Mon 03-30 20:00"], "fay": ["goal Thu 03-26 00:10"], "gil": ["exit_rule Fri 03-27 08:59:59"], "hal": [],
    }  # fmt: skip
    assert world.ends("bob", "welcome", NEW_YORK) == ["completed Thu 04-02 18:30"]
    found = [(c.customer_id, c.at, float(c.value), c.exposed) for c in world.rows(t.conversions, order=("at",))]
    assert found == [
        ("fay", wall("2026-03-26 00:10"), 12.5, True),
        # within a fortnight of entry, also after the journey has ended
        ("fay", wall("2026-03-28 00:10"), 20, True),
        ("ann", wall("2026-03-31 09:20"), 39, True),
    ]


def test_minute_by_minute_around_the_night_of_the_change(world: ExampleWorld) -> None:
    """Nothing is early by a minute: before each time the message is not there, at it it is."""
    story = Story()
    registers(story, "ann", "2026-03-28 10:00", BERLIN)
    world.play(story, wall("2026-03-28 10:00"), timedelta(hours=1))
    assert world.ledger("ann", "welcome") == ["Sat 03-28 10:00 hello email"]
    assert world.journey("ann").due_at == wall("2026-03-30 09:00")
    world.tick(wall("2026-03-30 08:59"))
    assert len(world.messages("ann")) == 1
    world.tick(wall("2026-03-30 09:00"))
    assert world.ledger("ann", "welcome")[1:] == ["Mon 03-30 09:00 tour email"]
    world.tick(wall("2026-04-01 08:59"))
    assert world.journey("ann").step_key == "interest"
    world.tick(wall("2026-04-01 09:00"))
    assert (world.journey("ann").step_key, world.journey("ann").due_at) == ("nudge", wall("2026-04-02 18:30"))


def test_the_same_with_every_tick(world: ExampleWorld) -> None:
    sizes = [timedelta(hours=7), timedelta(days=1), timedelta(days=20)]
    traces = dict(plays(world, the_story(), START, END, sizes))
    first = traces[sizes[0]]
    assert len(first["messages"]) == 14
    assert all(trace == first for trace in traces.values())
