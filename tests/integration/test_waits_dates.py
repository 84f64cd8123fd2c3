"""Waits for a date of the customer: missing, past, moved while waiting; and when a date trigger fires next."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.compiler.dates import plan_statement
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.store import tables as t
from journey_pipelines.store.moment_tables import customer_moments
from journey_pipelines.workflows.load import load_project
from journey_pipelines.workflows.model import DateTrigger, Offset

DATED = "workflow: dates\ntriggers: [{event: go}]\nsteps: [{id: rest, wait: 1 day}]\n"
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def trial(wait: str, *, more: str = "") -> str:
    """A workflow whose step `warn` waits for a date and then sends; `lost` is where others may go."""
    lost = "- {id: lost, wait: 2 hours, next: end}" if "lost" in wait else ""
    return f"""
workflow: trial
triggers: [{{event: signup}}]
{more}
steps:
- id: warn
  wait: {wait}
  do: [{{send_sms: {{text: Your trial ends}}}}]
  next: after
- {{id: after, wait: 1 hour, next: end}}
{lost}
"""


def journey(world: World, customer: str) -> tuple[list[str], list[str]]:
    """The way so far, and when the message was planned."""
    return world.way(customer), [text(m.planned_at) for m in world.messages(customer)]


# attribute, wait, sent (None: not), way; everybody lives in Berlin and signs up on 2026-03-02 09:00 UTC
DATES: list[tuple[str | None, str, str | None, list[str]]] = [
    ("2026-03-28", "{date: customer.trial_end}", "2026-03-27 23:00", ["warn", "after", "end"]),
    ("2026-03-28", '{date: customer.trial_end, at: "10:00"}', "2026-03-28 09:00", ["warn", "after", "end"]),
    ("2026-03-31", '{date: customer.trial_end, offset: -3 days, at: "10:00"}', "2026-03-28 09:00", ["warn", "after", "end"]),
    ("2026-03-29", '{date: customer.trial_end, at: "02:30"}', "2026-03-29 01:00", ["warn", "after", "end"]),
    ("2026-03-28T22:30:00Z", "{date: customer.trial_end}", "2026-03-28 22:30", ["warn", "after", "end"]),
    # its day there: the 29th, on summer time by ten
    ("2026-03-28T23:30:00Z", '{date: customer.trial_end, at: "10:00"}', "2026-03-29 08:00", ["warn", "after", "end"]),
    ("2026-03-28T22:30:00Z", "{date: customer.trial_end, offset: -2 hours}", "2026-03-28 20:30", ["warn", "after", "end"]),
    ("2026-03-28T12:00:00Z", "{date: customer.trial_end, offset: 1 day}", "2026-03-29 11:00", ["warn", "after", "end"]),
    ("2026-02-28", '{date: customer.trial_end, offset: 1 month, at: "09:00"}', "2026-03-28 08:00", ["warn", "after", "end"]),
    ("2026-01-31", '{date: customer.trial_end, offset: 2 months, at: "09:00"}', "2026-03-31 07:00", ["warn", "after", "end"]),
    # missing: nothing is done
    (None, "{date: customer.trial_end}", None, ["warn", "end"]),
    (None, "{date: customer.trial_end, missing: lost}", None, ["warn", "lost", "end"]),
    ("2026-02-30", "{date: customer.trial_end, missing: lost}", None, ["warn", "lost", "end"]),
    # gone by
    ("2026-03-01", "{date: customer.trial_end}", "2026-03-02 09:00", ["warn", "after", "end"]),
    ("2026-03-01", "{date: customer.trial_end, past: skip}", None, ["warn", "after", "end"]),
    ("2026-03-01", "{date: customer.trial_end, past: lost}", None, ["warn", "lost", "end"]),
    ("2026-03-01", "{date: customer.trial_end, past: end}", None, ["warn", "end"]),
    # at the very instant it has not gone by
    ("2026-03-02T09:00:00Z", "{date: customer.trial_end, past: skip}", "2026-03-02 09:00", ["warn", "after", "end"]),
]


def test_dates(world: World) -> None:
    names = {wait: f"w{n}" for n, wait in enumerate(dict.fromkeys(wait for _, wait, _, _ in DATES))}
    world.deploy(*(trial(wait).replace("trial\n", f"{name}\n", 1).replace("signup", f"go_{name}") for wait, name in names.items()))
    for n, (value, wait, _, _) in enumerate(DATES):
        world.event(f"c{n}", f"go_{names[wait]}", at(), profile={"timezone": BERLIN, "trial_end": value})
    world.tick(at(60))
    seen = {f"c{n}": (*DATES[n][:2], (journey(world, f"c{n}")[1] or [None])[0], world.way(f"c{n}")) for n in range(len(DATES))}
    assert seen == {f"c{n}": row for n, row in enumerate(DATES)}


def test_the_log_says_which_date_and_what_of_it(world: World) -> None:
    world.deploy(trial("{date: customer.trial_end, missing: lost, past: end}"))
    for name, value in (("ann", "2026-03-05T09:00:00Z"), ("bob", None), ("cid", "2026-01-05")):
        world.event(name, "signup", at(), profile={"trial_end": value})
    world.tick(at(60))
    said = {row.customer_id: (row.to_step, row.why, row.detail) for row in world.transitions() if row.from_step == "warn"}
    assert said == {
        "ann": ("after", "timer", {"date": "2026-03-05T09:00:00+00:00", "turn": "due"}),
        "bob": ("lost", "timer", {"date": None, "turn": "missing"}),
        "cid": (None, "completed", {"date": "2026-01-05T00:00:00+00:00", "turn": "past"}),
    }
    assert {j.exit_reason for j in world.journeys()} == {"completed"}


def test_a_declared_type_decides_what_midnight_is(world: World) -> None:
    """Declared: the day, or midnight in UTC, which is the evening before in New York. Where nothing is declared, midnight is a day."""
    (world.root / "catalogue.yaml").write_text("attributes:\n  birthday: date\n  renews: datetime\n", encoding="utf-8")
    kinds = {"birthday": "customer.birthday", "renews": "customer.renews", "said": "event.day"}
    for name, text_ in kinds.items():
        world.deploy(trial(f'{{date: {text_}, at: "09:00"}}').replace("trial\n", f"{name}\n", 1).replace("signup", name))
    midnight = "2026-03-10T00:00:00Z"
    for name in kinds:
        world.event(name, name, at(), profile={"timezone": NEW_YORK, "birthday": midnight, "renews": midnight}, day=midnight)
    world.tick(at(60))
    assert {name: journey(world, name)[1] for name in kinds} == {
        "birthday": ["2026-03-10 13:00"], "renews": ["2026-03-09 13:00"], "said": ["2026-03-10 13:00"],
    }  # fmt: skip


def test_the_wait_follows_its_date(world: World) -> None:
    """Moved to later and to earlier; to the past; away; with the customer to another zone. No transition, nothing twice."""
    world.deploy(trial('{date: customer.trial_end, at: "10:00", missing: lost, past: skip}'))
    people = ("later", "earlier", "gone_by", "removed", "moved_house", "same", "in_an_event")
    for name in people:
        world.event(name, "signup", at(), profile={"timezone": BERLIN, "trial_end": "2026-03-20"})
    world.tick(at(hours=1))
    assert {text(j.due_at) for j in world.journeys()} == {"2026-03-20 09:00"}
    changes: dict[str, dict[str, Any]] = {
        "later": {"trial_end": "2026-04-20"}, "earlier": {"trial_end": "2026-03-10"}, "gone_by": {"trial_end": "2026-03-01"},
        "removed": {"trial_end": None}, "moved_house": {"timezone": NEW_YORK}, "same": {"trial_end": "2026-03-20", "plan": "gold"},
    }  # fmt: skip
    for name, change in changes.items():
        world.profile(name, at(3), **change)
    world.event("in_an_event", "noise", at(3), profile={"trial_end": "2026-03-12"})
    world.tick(at(3))
    due = {j.customer_id: text(j.due_at) for j in world.journeys() if j.status == "active" and j.step_key == "warn"}
    assert due == {
        "later": "2026-04-20 08:00", "earlier": "2026-03-10 09:00", "moved_house": "2026-03-20 14:00", "same": "2026-03-20 09:00",
        "in_an_event": "2026-03-12 09:00",
    }  # fmt: skip
    world.tick(at(90))
    assert {name: journey(world, name) for name in people} == {
        "later": (["warn", "after", "end"], ["2026-04-20 08:00"]),
        "earlier": (["warn", "after", "end"], ["2026-03-10 09:00"]),
        "gone_by": (["warn", "after", "end"], []),
        "removed": (["warn", "lost", "end"], []),
        "moved_house": (["warn", "after", "end"], ["2026-03-20 14:00"]),
        "same": (["warn", "after", "end"], ["2026-03-20 09:00"]),
        "in_an_event": (["warn", "after", "end"], ["2026-03-12 09:00"]),
    }
    left = {row.customer_id: row.at for row in world.transitions() if row.from_step == "warn"}
    assert (left["gone_by"], left["removed"]) == (at(3), at(3))


def test_a_date_that_moved_unnoticed_is_read_again_before_anything_is_done(world: World) -> None:
    """A profile patched behind the engine's back: at the old time nothing is sent."""
    world.deploy(trial("{date: customer.trial_end}"))
    world.event("ann", "signup", at(), profile={"trial_end": "2026-03-05T09:00:00Z"})
    world.tick(at(1))
    with world.db.begin() as conn:
        p = t.customer_profiles
        conn.execute(sa.update(p).values(attributes={"trial_end": "2026-03-09T09:00:00Z"}))
    world.tick(at(5))
    assert journey(world, "ann") == (["warn"], [])
    assert (text(world.journey("ann").due_at), world.journey("ann").at) == ("2026-03-09 09:00", at())
    world.tick(at(9))
    assert journey(world, "ann") == (["warn", "after", "end"], ["2026-03-09 09:00"])


def test_a_date_read_from_events_follows_them(world: World) -> None:
    world.deploy(trial("{date: \"add(last_event('payment'), '30 days')\", missing: lost}"))
    world.event("ann", "payment", at(-1))
    world.event("ann", "signup", at())
    world.event("ann", "payment", at(10))
    world.event("bob", "signup", at())
    world.tick(at(5))
    assert world.journey("ann").due_at == at(29)
    world.tick(at(60))
    assert journey(world, "ann") == (["warn", "after", "end"], [text(at(40))])
    assert world.way("bob") == ["warn", "lost", "end"]


def test_the_entry_event_may_say_the_date(world: World) -> None:
    world.deploy(trial("{date: event.starts_at, offset: -1 day}"))
    world.event("ann", "signup", at(), starts_at="2026-03-10T18:00:00+01:00", unread=1)
    world.tick(at(60))
    assert journey(world, "ann")[1] == ["2026-03-09 17:00"]


# -- triggers --------------------------------------------------------------------------------------------------------

# zone, date, trigger, asked at, fires: in UTC; None: not again
TRIGGERS: list[tuple[str, str | None, dict[str, Any], str, str | None]] = [
    (BERLIN, "2026-05-10", {"at": "09:00"}, "2026-03-02 09:00", "2026-05-10 07:00"),
    (BERLIN, "2026-05-10", {"at": "09:00", "offset": "-7 days"}, "2026-03-02 09:00", "2026-05-03 07:00"),
    (BERLIN, "2026-05-10", {}, "2026-05-09 21:59", "2026-05-09 22:00"),
    # strictly after: who was asked at that instant is not asked again
    (BERLIN, "2026-05-10", {}, "2026-05-09 22:00", None),
    (BERLIN, None, {}, "2026-05-09 22:00", None),
    (BERLIN, "1990-05-10", {"yearly": True, "at": "09:00"}, "2026-03-02 09:00", "2026-05-10 07:00"),
    (BERLIN, "1990-05-10", {"yearly": True, "at": "09:00"}, "2026-05-10 07:00", "2027-05-10 07:00"),
    (BERLIN, "1990-05-10", {"yearly": True, "at": "09:00"}, "2026-05-10 06:59", "2026-05-10 07:00"),
    (BERLIN, "1990-05-10", {"yearly": True, "at": "09:00", "offset": "-7 days"}, "2026-05-03 07:00", "2027-05-03 07:00"),
    (BERLIN, "1990-01-03", {"yearly": True, "at": "09:00", "offset": "-7 days"}, "2026-03-02 09:00", "2026-12-27 08:00"),
    (BERLIN, "1990-01-01", {"yearly": True}, "2026-12-31 23:30", "2027-12-31 23:00"),
    (BERLIN, "1990-01-01", {"yearly": True}, "2026-12-31 22:30", "2026-12-31 23:00"),
    ("Pacific/Kiritimati", "1990-01-01", {"yearly": True}, "2026-12-31 09:59", "2026-12-31 10:00"),
    ("Pacific/Niue", "1990-12-31", {"yearly": True, "at": "23:00"}, "2026-12-31 12:00", "2027-01-01 10:00"),
    # 29 February
    ("UTC", "1992-02-29", {"yearly": True, "at": "09:00"}, "2026-02-01 09:00", "2026-02-28 09:00"),
    ("UTC", "1992-02-29", {"yearly": True, "at": "09:00"}, "2027-12-01 09:00", "2028-02-29 09:00"),
    ("UTC", "1992-02-29", {"yearly": True, "at": "09:00", "offset": "1 month"}, "2026-02-01 09:00", "2026-03-28 09:00"),
    # longer than a year
    ("UTC", "2020-06-01", {"yearly": True, "offset": "18 months"}, "2026-03-02 09:00", "2026-12-01 00:00"),
    # no anniversary lies before the day itself
    ("UTC", "2027-06-01", {"yearly": True}, "2026-03-02 09:00", "2027-06-01 00:00"),
    ("UTC", "2026-06-01T12:00:00Z", {"yearly": True}, "2026-06-01 11:00", "2026-06-01 12:00"),
    # a night that is not there
    (BERLIN, "2000-03-29", {"yearly": True, "at": "02:30"}, "2026-03-02 09:00", "2026-03-29 01:00"),
    ("America/Havana", "2026-03-08", {}, "2026-03-02 09:00", "2026-03-08 05:00"),
]


def plan(world: World, **words: Any) -> int:
    """Ask the trigger's statement for everybody, at the time that is in their profile; how many plans it wrote."""
    offset = words.pop("offset", None)
    if offset:
        words["offset"] = Offset(length=Duration.parse(offset.lstrip("-")), before=offset.startswith("-"))
    trigger = DateTrigger(id="day", date="customer.day", **words)
    (world.root / "dates").mkdir(exist_ok=True)
    (world.root / "dates" / "workflow.yaml").write_text(DATED, encoding="utf-8")
    loaded = load_project(world.root).workflow("dates")
    assert loaded is not None
    p = t.customer_profiles
    asked = sa.func.journeys.ts(p.c.attributes["asked"], type_=sa.TIMESTAMP(timezone=True))
    people = sa.select(
        p.c.customer_id, p.c.shard, asked.label("at"), sa.literal_column("1", sa.BigInteger).label("at_seq"), asked.label("received_at")
    ).cte("people")
    statement = plan_statement(loaded.definition, trigger, 1, Surroundings(), people)
    with world.db.begin() as conn:
        return int(conn.exec_driver_sql(statement.sql, statement.bind({"default_zone": "UTC"})).scalar_one())


def planned(world: World) -> dict[str, str]:
    rows = sa.select(customer_moments.c.customer_id, sa.cast(customer_moments.c.at, sa.Text)).where(customer_moments.c.kind == "date")
    with world.db.connect() as conn:
        return {row[0]: row[1][:16] for row in conn.execute(rows)}


def test_when_a_date_trigger_fires_next(world: World) -> None:
    for n, (zone, value, _, asked, _) in enumerate(TRIGGERS):
        world.profile(f"c{n:02}", timezone=zone, day=value, asked=f"{asked.replace(' ', 'T')}:00Z")
    for n, (*_, words, _, fires) in enumerate(TRIGGERS):
        with world.db.begin() as conn:
            conn.execute(sa.delete(customer_moments))
        plan(world, **words)
        assert planned(world).get(f"c{n:02}") == fires, TRIGGERS[n]


def test_a_changed_date_is_planned_anew_and_a_missing_one_not_at_all(world: World) -> None:
    asked = "2026-03-02T09:00:00Z"
    for name, day in (("moves", "2026-05-01"), ("goes", "2026-05-01"), ("stays", "2026-05-01"), ("never", None)):
        world.profile(name, day=day, asked=asked)
    plan(world, at="09:00")
    assert planned(world) == dict.fromkeys(("moves", "goes", "stays"), "2026-05-01 09:00")
    world.profile("moves", at(1), day="2026-06-01")
    world.profile("goes", at(1), day=None)
    plan(world, at="09:00")
    assert planned(world) == {"moves": "2026-06-01 09:00", "goes": "infinity", "stays": "2026-05-01 09:00"}
    # what nothing changes is not written again
    assert plan(world, at="09:00") == 0


def test_dates_far_away_end_the_calendar_instead_of_the_batch(world: World) -> None:
    world.deploy(trial("{date: customer.trial_end, offset: 90 years, missing: lost}"))
    for name, value in (("far", "9990-01-01"), ("early", "0001-01-05"), ("fine", "2026-03-05")):
        world.event(name, "signup", at(), profile={"trial_end": value, "timezone": BERLIN})
    world.tick(at(1))
    assert {j.customer_id: j.step_key for j in world.journeys()} == {"far": "lost", "early": "after", "fine": "warn"}
    assert world.journey("fine").due_at.year == 2116


def text(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
