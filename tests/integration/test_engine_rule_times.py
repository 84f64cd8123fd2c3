"""Goals and exits that time alone makes true: at that very instant, whatever the ticks, for whoever is under way; nothing stays behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_flows import MAIL
from engine_rows import execute
from engine_world import World, at

from journey_pipelines.engine import failures, holds, resume
from journey_pipelines.intake.importing import import_events
from journey_pipelines.intake.mapping import LATEST, MappingOptions, RowMapping
from journey_pipelines.intake.shape import detect
from journey_pipelines.store import moment_tables as m
from journey_pipelines.store import tables as t

TICK = timedelta(microseconds=1)
STAY = "  - id: stay\n    wait: 90 days\n"


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


def trial(*rules: str, steps: str = STAY, more: str = "") -> str:
    """A workflow that `signup` enters, with these lines of goal and exits."""
    lines = "\n".join(rules)
    return f"workflow: trial\ntriggers:\n  - event: signup\n{more}\n{lines}\nsteps:\n{steps}"


def ends(world: World, customer: str = "ann") -> list[tuple[str | None, datetime | None]]:
    return [(j.exit_reason, j.ended_at) for j in world.journeys(customer)]


def watches(world: World, customer: str | None = None) -> list[datetime]:
    return [row.at for row in world.rows(m.customer_moments, customer, order=("at",))]


def conversions(world: World) -> list[datetime]:
    return [row.at for row in world.rows(t.conversions, order=("at", "journey_id"))]


OVER = 'exit:\n  - when: "days_since(customer.trial_ends) > 3"'
SILENT = "exit:\n  - when: \"not has_event('login', within='5 days')\""
TICKS = {
    "one tick": [at(40)],
    "days": [at(day) for day in range(1, 41)],
    "on and beside": [at(5) - TICK, at(5), at(5) + TICK, at(5) + 2 * TICK, at(40)],
}


@pytest.mark.parametrize("ticks", TICKS.values(), ids=TICKS)
def test_an_exit_on_a_date_fires_at_its_very_instant(world: World, ticks: list[datetime]) -> None:
    world.deploy(trial(OVER))
    world.profile("ann", at(), trial_ends=at(2).isoformat())
    world.event("ann", "signup", at(hours=1))
    for now in ticks:
        world.tick(now)
        assert ends(world) == ([("exit_rule", at(5) + TICK)] if now > at(5) else [(None, None)])
    assert watches(world) == []


@pytest.mark.parametrize("ticks", TICKS.values(), ids=TICKS)
def test_an_exit_on_silence_is_put_off_by_each_event(world: World, ticks: list[datetime]) -> None:
    world.deploy(trial(SILENT))
    world.event("ann", "login", at(hours=-1))
    world.event("ann", "signup", at())
    world.event("ann", "login", at(4))
    world.event("ann", "login", at(8))
    for now in ticks:
        world.tick(now)
    assert ends(world) == [("exit_rule", at(13) + TICK)]


def test_messages_that_had_not_left_are_taken_back_and_those_of_ended_journeys_stay(world: World) -> None:
    world.deploy(trial('exit:\n  - when: "days_since(journey.entered_at) > 2"', steps=MAIL + STAY, more="entry: {reentry: always}"))
    world.event("ann", "signup", at())
    world.tick(at(1))
    world.event("ann", "signup", at(1.5))
    with world.db.begin() as conn:  # the first one is over before its time
        conn.execute(sa.update(t.customer_journeys).values(status="ended", ended_at=at(1), exit_reason="completed"))
    world.tick(at(40))
    assert ends(world) == [("completed", at(1)), ("exit_rule", at(3.5) + TICK)]
    assert [(message.state, message.reason) for message in world.messages("ann")] == [("planned", None), ("suppressed", "exit")]


def test_a_goal_on_time_counts_once_at_its_instant_also_after_the_end_within_its_time(world: World) -> None:
    goal = "goal: {when: \"days_since(last_event('renewal')) >= 1\"%s}"
    world.deploy(trial(goal % "", steps="  - id: stay\n    wait: 2 hours\n"))
    world.deploy(trial(goal % ", within: 5 days", steps="  - id: stay\n    wait: 2 hours\n").replace("trial", "counted", 1))
    world.event("ann", "signup", at())
    world.event("ann", "renewal", at(hours=3))
    world.tick(at(40))
    assert conversions(world) == [at(1, hours=3)], "the one without `within` is over with its journey"
    assert [row.workflow_id for row in world.rows(t.conversions, order=("at",))] == ["counted"]
    world.event("bob", "signup", at(40))
    world.event("bob", "renewal", at(44, hours=12))
    world.tick(at(60))
    assert conversions(world) == [at(1, hours=3)], "reached after `within`"


def test_one_instant_that_is_goal_and_exit_is_the_goal(world: World) -> None:
    when = 'when: "days_since(journey.entered_at) > 2"'
    world.deploy(trial(f"goal:\n  {when}", f"exit:\n  - {when}\n  - goal"))
    world.event("ann", "signup", at())
    world.tick(at(9))
    assert (ends(world), conversions(world)) == ([("goal", at(2) + TICK)], [at(2) + TICK])


@pytest.mark.parametrize("ticks", [[at(40)], [at(hours=h) for h in range(1, 200)]], ids=["one tick", "hours"])
def test_time_at_a_step_counts_from_each_step(world: World, ticks: list[datetime]) -> None:
    """Two days at one step are too long: the second, reached after a day, is left two days later."""
    steps = "  - id: one\n    wait: 1 day\n" + MAIL.replace("mail", "two\n    wait: 30 days", 1)
    world.deploy(trial('exit:\n  - when: "days_since(journey.step_entered_at) > 2"', steps=steps))
    world.event("ann", "signup", at())
    for now in ticks:
        world.tick(now)
    assert (ends(world), world.way("ann")) == ([("exit_rule", at(3) + TICK)], ["one", "two", "end"])


def test_a_visit_makes_a_condition_true_only_with_time(world: World) -> None:
    """Nothing is planned on the first visit any more, and each arrival works it out anew."""
    steps = """  - id: ask
    wait: {for: noted, timeout: 3 days}
    next:
      - {when: arrived, to: ask, max_visits: 5, then: end}
      - else: rest
  - id: rest
    wait: 90 days
"""
    world.deploy(trial('exit:\n  - when: "journey.visit > 1 and days_since(journey.step_entered_at) > 1"', steps=steps))
    world.event("ann", "signup", at())
    world.event("ann", "noted", at(2))
    world.tick(at(40))
    assert ends(world) == [("exit_rule", at(3) + TICK)]


def test_a_payload_that_is_refreshed_moves_the_instant(world: World) -> None:
    more = "entry: {while_active: refresh}"
    world.deploy(trial('exit:\n  - when: "days_until(event.trip) < 1"', more=more))
    world.event("ann", "signup", at(), trip=at(10).isoformat())
    world.event("ann", "signup", at(2), trip=at(6).isoformat())
    # a newer version refreshes journeys of an older one
    world.tick(at(3))
    world.deploy(trial('exit:\n  - when: "days_until(event.trip) < 2"', more=more), now=at(3))
    world.event("ann", "signup", at(4), trip=at(20).isoformat())
    world.tick(at(40))
    assert ends(world) == [("exit_rule", at(19) + TICK)]


def test_a_deploy_changes_nothing_for_who_is_under_way_and_who_comes_later_has_the_new_rule(world: World) -> None:
    rule = 'exit:\n  - when: "days_since(journey.entered_at) > {}"'
    world.deploy(trial(rule.format(5)))
    world.event("ann", "signup", at())
    world.tick(at(1))
    world.deploy(trial(rule.format(2)), now=at(1))
    world.event("bob", "signup", at(2))
    world.tick(at(2))
    world.deploy(trial(rule.format(2), "max_age: 80 days"), now=at(2))
    world.event("cem", "signup", at(3))
    world.begin_worker()
    world.tick(at(40))
    assert [ends(world, name) for name in ("ann", "bob", "cem")] == [[("exit_rule", at(day) + TICK)] for day in (5, 4, 5)]


def test_a_release_that_names_the_rules_otherwise_finds_them_again(world: World) -> None:
    world.deploy(trial('exit:\n  - when: "days_since(journey.entered_at) > 5"'))
    world.event("ann", "signup", at())
    world.tick(at(1))
    with world.db.begin() as conn:  # as if the uid had been worked out by another release
        conn.execute(sa.update(t.interests).where(t.interests.c.kind == "watch").values(statement_uid=7))
        conn.execute(sa.update(m.customer_moments).values(ref="7"))
    world.deploy(trial('exit:\n  - when: "days_since(journey.entered_at) > 6"'), now=at(2))
    world.tick(at(40))
    assert ends(world) == [("exit_rule", at(5) + TICK)]


def test_a_held_journey_leaves_in_time_and_sends_nothing_when_released(world: World) -> None:
    steps = MAIL.replace("mail", "mail\n    wait: 1 day", 1)
    world.deploy(trial('exit:\n  - when: "days_since(journey.entered_at) > 2"', steps=steps))
    world.event("ann", "signup", at())
    world.tick(at(hours=1))
    with world.db.begin() as conn:
        holds.hold(conn, "trial", why="a test", by="me", now=at(hours=2))
    world.tick(at(1.5))
    assert ends(world) == [(None, None)]
    world.tick(at(3))
    assert (ends(world), watches(world)) == ([("exit_rule", at(2) + TICK)], [])
    with world.db.begin() as conn:
        resume.release(conn, "trial", by="me", now=at(4), spread=timedelta(0))
    world.tick(at(9))
    assert world.messages("ann") == []


def test_what_was_true_before_is_not_brought_about_by_time(world: World) -> None:
    """Two rules share a row: the one whose time has come is asked, the other one was true at the entry, and is asked at the next step."""
    two = 'exit:\n  - when: "days_since(customer.created_at) > 1"\n  - when: "customer.vip and days_since(journey.entered_at) > 1"'
    world.deploy(trial(two, steps="  - id: stay\n    wait: 3 days\n"))
    world.profile("ann", at(), created_at=at(-9).isoformat())
    world.event("ann", "signup", at(hours=1))
    world.tick(at(40))
    assert ends(world) == [("exit_rule", at(3, hours=1))]


def test_a_row_of_a_journey_that_has_ended_goes_at_its_time(world: World) -> None:
    world.deploy(trial('exit:\n  - when: "days_since(journey.entered_at) > 5"\n  - event: stop'))
    world.event("ann", "signup", at())
    world.event("ann", "stop", at(1))
    world.tick(at(2))
    assert (ends(world), watches(world)) == ([("exit_rule", at(1))], [at(5) + TICK])
    world.tick(at(6))
    assert watches(world) == []
    assert world.tick(at(7)).progress is False


def test_a_late_event_is_counted_from_the_newest_place(world: World) -> None:
    world.deploy(trial(SILENT))
    for day in (-1, 3):
        world.event("ann", "login", at(day))
    world.event("ann", "signup", at())
    world.tick(at(5))
    world.event("ann", "login", at(1), received=at(6))
    world.tick(at(6))
    assert watches(world) == [at(8) + TICK]
    world.tick(at(40))
    assert ends(world) == [("exit_rule", at(8) + TICK)]


def test_who_is_retried_is_watched_again(world: World) -> None:
    steps = "  - id: call\n    do: [{create_task: {title: Call}}]\n" + STAY
    world.deploy(trial("exit:\n  - when: \"days_since(journey.entered_at) > 5 and not has_event('x', within='2 days')\"", steps=steps))
    execute(world.db, "ALTER TABLE journeys.tasks ADD CONSTRAINT never CHECK (false)")
    world.event("ann", "signup", at())
    world.event("ann", "x", at(4))
    world.tick(at(7))
    assert (ends(world), watches(world)) == ([("error", at())], [])
    execute(world.db, "ALTER TABLE journeys.tasks DROP CONSTRAINT never")
    world.event("ann", "x", at(7))
    assert failures.retry(world.db, [world.journey("ann").id], by="me", now=at(8)).retried == 1
    world.tick(at(40))
    assert ends(world) == [("exit_rule", at(9) + TICK)]


@pytest.mark.parametrize("ticks", [[at(2)], [at(minutes=7 * n) for n in range(1, 412)]], ids=["one tick", "sevens"])
def test_what_has_no_instant_is_asked_every_quarter(world: World, ticks: list[Any]) -> None:
    world.deploy(trial('exit:\n  - when: "local_hour() == 6"'))
    world.profile("ann", at(), timezone="Asia/Kathmandu")
    world.event("ann", "signup", at(minutes=1))
    for now in ticks:
        world.tick(now)
    # 06:00 in Kathmandu is 00:15 in UTC
    assert ends(world) == [("exit_rule", datetime.fromisoformat("2026-03-03T00:15:00Z"))]


def test_one_customer_leaves_and_the_others_are_not_looked_at(world: World) -> None:
    world.deploy(trial(OVER))
    for n in range(50):
        world.profile(f"c{n}", at(), trial_ends=at(n + 1).isoformat())
        world.event(f"c{n}", "signup", at())
    world.tick(at(1))
    assert len(watches(world)) == 50
    report = world.tick(at(4.5))
    assert (report.ended, report.rows_in) == (1, 1)
    assert world.tick(at(4.9)).progress is False


def test_what_the_end_changes_does_not_keep_the_messages(world: World) -> None:
    """The end is a place of its own: the time at the step, which the condition reads, is none there."""
    world.deploy(trial('exit:\n  - when: "days_since(journey.step_entered_at) > 2"', steps=MAIL + STAY))
    world.event("ann", "signup", at())
    world.tick(at(40))
    assert (ends(world), world.sent("ann")) == ([("exit_rule", at(2) + TICK)], [("mail", "suppressed")])


def test_an_import_behind_the_engines_back_is_counted_from(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    world.deploy(trial("exit:\n  - when: \"has_event('login') and not has_event('login', within='5 days')\""))
    for name in ("ann", "bob"):
        world.event(name, "signup", at())
        world.profile(name, at(1), a=1)
    world.tick(at(1))
    assert watches(world) == []
    path = tmp_path_factory.mktemp("export") / "logins.csv"
    path.write_text(f"id,at\nann,{at(0.5).isoformat()}\n")
    shape = detect(path)
    options = MappingOptions(type="login", customer_id="id", occurred_at="at")
    import_events(world.db, path, shape, RowMapping(options, shape.columns), history_before=LATEST)
    world.tick(at(40))
    assert (ends(world), ends(world, "bob")) == ([("exit_rule", at(5.5) + TICK)], [(None, None)])
