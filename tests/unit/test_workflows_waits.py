"""Every form of a wait, and of a goal, an exit, runs and limits: what each becomes, and how what is wrong is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from workflow_files import load_files, load_one, messages, workflow

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.model import AfterWait, DateWait, EventWait, ExitRule, Goal, Limits, Offset, Rate, Runs, Wait, rule_event

THREE_DAYS_BEFORE = Offset(length=Duration.parse("3 days"), before=True)
HOUR, DAY = Duration.parse("1 hour"), Duration.parse("1 day")
CATALOGUE = "attributes: {renewal: date, visits: number}\n"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")


@pytest.mark.parametrize(
    ("written", "wait", "has_window"),
    [
        ("90 minutes", AfterWait(after=Duration.parse("90 minutes")), False),
        ("{after: 1 month}", AfterWait(after=Duration(months=1)), False),
        ("{after: 1 day, until: 09:00}", AfterWait(after=DAY, until="09:00"), True),
        ("{until: '09:00', on: [thu, mon]}", AfterWait(after=Duration(), until="09:00", on=("mon", "thu")), True),
        ('{after: 2 hours, between: ["22:00", 06:00], on: weekdays}',
         AfterWait(after=Duration.parse("2 hours"), between=("22:00", "06:00"), on=WEEKDAYS), True),
        ("{after: 1 hour, on: weekends}", AfterWait(after=HOUR, on=("sat", "sun")), True),
        ("{on: sun}", AfterWait(after=Duration(), on=("sun",)), True),
        ("{after: 1 day, best_time: true}", AfterWait(after=DAY, best_time=True, within=Duration.parse("24 hours")), True),
        ("{best_time: true, within: 12 hours}", AfterWait(after=Duration(), best_time=True, within=Duration.parse("12 hours")), True),
    ],
)  # fmt: skip
def test_a_time_with_every_window(tmp_path: Path, written: str, wait: AfterWait, has_window: bool) -> None:
    found = load_one(tmp_path, workflow(f"  - id: only\n    wait: {written}\n")).workflow.steps[0].wait
    assert found == wait
    assert isinstance(found, AfterWait)
    assert found.has_window is has_window


@pytest.mark.parametrize(
    ("written", "wait"),
    [
        ("{date: customer.renewal}", DateWait(date="customer.renewal")),
        ("{date: customer.renewal, offset: -3 days, at: '10:00', missing: later, past: skip}",
         DateWait(date="customer.renewal", offset=THREE_DAYS_BEFORE, at="10:00", missing="later", past="skip")),
        ("{date: event.day, offset: +1 month, missing: end, past: later}",
         DateWait(date="event.day", offset=Offset(length=Duration(months=1)), past="later")),
        ("{date: \"add(journey.entered_at, '3 days')\", past: end}", DateWait(date="add(journey.entered_at, '3 days')", past="end")),
        ("{for: task.done, when: arrived.step == 'only', timeout: 1 day}",
         EventWait(events=("task.done",), when="arrived.step == 'only'", timeout=DAY)),
    ],
)  # fmt: skip
def test_a_date_and_an_event(tmp_path: Path, written: str, wait: Wait) -> None:
    way_on = "    next:\n      - when: arrived\n        to: end\n      - else: later\n"
    steps = f"  - id: only\n    wait: {written}\n{way_on}  - id: later\n    wait: 1 day\n"
    loaded = load_one(tmp_path, workflow(steps), catalogue_dot_yaml=CATALOGUE)
    assert loaded.workflow.steps[0].wait == wait
    assert ("renewal" in loaded.definition.catalogue) is ("renewal" in written)


def test_a_step_that_only_a_missing_or_past_date_leads_to_is_reached(tmp_path: Path) -> None:
    steps = """\
  - id: only
    wait: {date: customer.created_at, missing: ask, past: late}
    next: end
  - id: ask
    wait: 1 day
    next: end
  - id: late
    wait: 1 day
"""
    assert [step.id for step in load_one(tmp_path, workflow(steps)).workflow.steps] == ["only", "ask", "late"]


def test_a_message_that_follows_at_once_where_the_date_is_missing_is_warned_of(tmp_path: Path) -> None:
    sms = "    do:\n      - send_sms: {text: Hi}\n"
    steps = f"  - id: first\n{sms}  - id: dated\n    wait: {{date: customer.created_at, missing: ask}}\n    next: end\n  - id: ask\n{sms}"
    project = load_files(tmp_path, {"hello/workflow.yaml": workflow(steps)})
    assert any("step ask: sends right after step first without a wait" in problem.message for problem in project.warnings)


@pytest.mark.parametrize(
    ("written", "goal", "listens_to"),
    [
        ("{event: purchase, match: cart_id, when: arrived.total > 0, value: arrived.total, within: 7 days}",
         Goal(event="purchase", match="cart_id", when="arrived.total > 0", value="arrived.total", within=Duration.parse("7 days")),
         "purchase"),
        ("{segment: vip, value: customer.lifetime_value}", Goal(segment="vip", value="customer.lifetime_value"), "segment.entered"),
        ("{segment: vip, on: leave, within: 1 day}", Goal(segment="vip", on="leave", within=DAY), "segment.left"),
        ("{when: customer.lifetime_value > 100, value: customer.lifetime_value}",
         Goal(when="customer.lifetime_value > 100", value="customer.lifetime_value"), None),
    ],
)  # fmt: skip
def test_goals(tmp_path: Path, written: str, goal: Goal, listens_to: str | None) -> None:
    loaded = load_one(tmp_path, workflow(head=f"goal: {written}\nexit: [goal]\n")).workflow
    assert (loaded.goal, loaded.exit) == (goal, (ExitRule(goal=True),))
    assert rule_event(goal) == listens_to
    assert loaded.event_types() == {"user_registered", *([listens_to] if listens_to else [])}


def test_exits(tmp_path: Path) -> None:
    head = """\
exit:
  - {event: cart_emptied, match: cart_id}
  - segment: vip
  - {segment: lapsed, on: leave, when: customer.country == 'CH'}
  - when: customer.subscription_status == 'cancelled' and event.plan == 'gold' and journey.visit > 1
"""
    assert load_one(tmp_path, workflow(head=head)).workflow.exit == (
        ExitRule(event="cart_emptied", match="cart_id"),
        ExitRule(segment="vip"),
        ExitRule(segment="lapsed", on="leave", when="customer.country == 'CH'"),
        ExitRule(when="customer.subscription_status == 'cancelled' and event.plan == 'gold' and journey.visit > 1"),
    )


def test_an_exit_that_time_changes_at_no_known_instant_is_warned_of(tmp_path: Path) -> None:
    project = load_files(tmp_path, {"hello/workflow.yaml": workflow(head="exit:\n  - when: local_hour() * 2 == 18\n")})
    [warning] = [problem for problem in project.warnings if "by time alone" in problem.message]
    assert (warning.line, warning.column) == (5, 11)


@pytest.mark.parametrize(
    ("written", "zone", "start", "until"),
    [
        ("{from: 2026-01-01, until: 2026-12-31}", "UTC", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("{from: 2026-01-01}", "Europe/Berlin", datetime(2025, 12, 31, 23, tzinfo=UTC), None),
        ("{until: 2026-06-30 18:30}", "Europe/Berlin", None, datetime(2026, 6, 30, 16, 30, tzinfo=UTC)),
        # 02:30 does not exist that night: the first instant after the gap
        ("{from: 2026-03-29 02:30}", "Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC), None),
        # 02:30 comes twice: the first
        ("{from: 2026-10-25 02:30}", "Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), None),
        # a whole day that Samoa left out
        ("{from: 2011-12-30}", "Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC), None),
    ],
)  # fmt: skip
def test_runs_are_days_and_minutes_of_the_policies_zone(
    tmp_path: Path, written: str, zone: str, start: datetime | None, until: datetime | None
) -> None:
    loaded = load_one(tmp_path, workflow(head=f"runs: {written}\n"), policies_dot_yaml=f"zone: {zone}\n").workflow
    assert loaded.runs == Runs(start=start, until=until)


def test_limits_and_the_other_settings(tmp_path: Path) -> None:
    head = """\
status: paused
limits: {in_flight: 100_000, entries: 5000/hour, sends: "2,000 / minute"}
in_flight: exit
on_resume: skip
max_age: 30 days
"""
    loaded = load_one(tmp_path, workflow(head=head)).workflow
    assert loaded.limits == Limits(
        in_flight=100_000, entries=Rate(count=5000, per=Duration.parse("1 hour")), sends=Rate(count=2000, per=Duration.parse("1 minute"))
    )
    assert (loaded.status, loaded.in_flight, loaded.on_resume, loaded.max_age) == ("paused", "exit", "skip", Duration.parse("30 days"))


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("runs: {from: 2026-13-01}", "runs: 'from' expected a day such as '2026-11-27', or a day and a time such as"),
        ("runs: {until: tomorrow}", "runs: 'until' expected a day such as"),
        ("runs: {from: 2026-02-01, until: 2026-01-01}", "runs: 'until' is not after 'from', so nobody could ever enter; give"),
        ("runs: 2026", "runs: expected a mapping with from or until, got the number 2026"),
        ("limits: {}", "limits: expected in_flight, entries or sends, got none; write `limits: {in_flight: 1000}`"),
        ("limits: {entries: 5/huor}", "per second, minute, hour or day), got '5/huor'. Did you mean 'hour'?"),
        ("goal: {value: 3}", "goal: expected an event, a segment, or `when` alone, got none of them; write `{event: purchase}`"),
        ("goal: {when: customer.country == 'CH', match: a}", "goal: 'match' belongs to `event`; take it out"),
        ("goal: {when: arrived.total > 3}", "'arrived' is not known in a goal or an exit that looks at no event; there are"),
        ("goal: {segment: vip, value: arrived.total}", "arrived.total: segment.entered has no field 'total'. There is: occurred"),
        ("exit: [{segment: vip, event: x}]", "exit: expected either an event or a segment, got both; keep one of the two"),
    ],
)  # fmt: skip
def test_wrong_settings_and_rules_say_why(tmp_path: Path, head: str, said: str) -> None:
    found = messages(load_files(tmp_path, {"hello/workflow.yaml": workflow(head=head + "\n")}))
    assert len(found) == 1, found
    assert said in found[0]


def test_a_goal_that_cannot_be_read_is_a_goal(tmp_path: Path) -> None:
    project = load_files(tmp_path, {"hello/workflow.yaml": workflow(head="goal: {segment: V}\nexit: [goal]\n")})
    assert len(project.errors) == 1
    assert not any("no goal" in problem.message for problem in project.problems)
