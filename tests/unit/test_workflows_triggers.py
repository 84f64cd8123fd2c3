"""Every form of a trigger: what is accepted and what it becomes; what is refused and with which words."""

from pathlib import Path

import pytest
from workflow_files import load_files, load_one, messages, workflow

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.model import (
    ConditionTrigger,
    DateTrigger,
    EventTrigger,
    ManualTrigger,
    Offset,
    ScheduleTrigger,
    SegmentTrigger,
    Trigger,
    event_type,
)

WEEK = Offset(length=Duration.parse("7 days"), before=True)
CATALOGUE = "events: {purchase: {total: number}}\nattributes: {renewal: date, last_seen: datetime, plan: text, visits: number, vip: bool}\n"


def _load(root: Path, trigger: str) -> Trigger:
    [found] = load_one(root, workflow(triggers=f"  - {trigger}\n"), catalogue_dot_yaml=CATALOGUE).workflow.triggers
    return found


def _refused(root: Path, trigger: str, **files: str) -> list[str]:
    text = workflow(triggers=f"  - {trigger}\n")
    named = {name.replace("__", "/").replace("_dot_", "."): body for name, body in files.items()}
    return messages(load_files(root, {"hello/workflow.yaml": text, "catalogue.yaml": CATALOGUE, **named}))


@pytest.mark.parametrize(
    ("written", "trigger", "listens_to"),
    [
        ("event: purchase", EventTrigger(id="purchase", event="purchase"), "purchase"),
        ("event: message.clicked", EventTrigger(id="message_clicked", event="message.clicked"), "message.clicked"),
        ("event: journey.ended", EventTrigger(id="journey_ended", event="journey.ended"), "journey.ended"),
        ("{event: purchase, id: big, when: event.total > 9, active: false, name: Big}",
         EventTrigger(id="big", event="purchase", when="event.total > 9", active=False, name="Big"), "purchase"),
        ("segment: vip", SegmentTrigger(id="vip", segment="vip"), "segment.entered"),
        ("{segment: vip, on: leave}", SegmentTrigger(id="left_vip", segment="vip", on="leave"), "segment.left"),
        ("{segment: vip, on: enter, when: event.segment == 'vip'}",
         SegmentTrigger(id="vip", segment="vip", when="event.segment == 'vip'"), "segment.entered"),
        ("condition: customer.lifetime_value > 500",
         ConditionTrigger(id="condition", condition="customer.lifetime_value > 500"), "segment.entered"),
        ("{schedule: '0 9 * * mon', audience: in_segment('vip')}",
         ScheduleTrigger(id="schedule", cron="0 9 * * mon", timezone="UTC", audience="in_segment('vip')"), "enter.hello"),
        ("{schedule: '*/15  8-18 1,15 * *', timezone: customer, audience: true, catchup: last}",
         ScheduleTrigger(id="schedule", cron="*/15 8-18 1,15 * *", timezone="customer", audience="true", catchup="last"), "enter.hello"),
        ("{at: 2026-11-27 09:00, timezone: America/New_York, audience: customer.country == 'US'}",
         ScheduleTrigger(id="at", at="2026-11-27 09:00", timezone="America/New_York", audience="customer.country == 'US'"), "enter.hello"),
        ("{date: customer.renewal, offset: -7 days, at: '09:00'}",
         DateTrigger(id="date", date="customer.renewal", offset=WEEK, at="09:00"), "enter.hello"),
        ("{date: customer.created_at, offset: 1 month, at: 08:30, yearly: true}",
         DateTrigger(id="date", date="customer.created_at", offset=Offset(length=Duration(months=1)), at="08:30", yearly=True),
         "enter.hello"),
        ("date: last_event('purchase')", DateTrigger(id="date", date="last_event('purchase')"), "enter.hello"),
        ("manual: true", ManualTrigger(id="manual"), "enter.hello"),
        ("{manual: true, fields: [discount, why], when: event.discount > 3}",
         ManualTrigger(id="manual", fields=("discount", "why"), when="event.discount > 3"), "enter.hello"),
    ],
)  # fmt: skip
def test_every_form_is_read(tmp_path: Path, written: str, trigger: Trigger, listens_to: str) -> None:
    found = _load(tmp_path, written)
    assert found == trigger
    assert event_type(found, "hello") == listens_to


def test_a_schedule_that_names_no_zone_ticks_in_that_of_the_policies(tmp_path: Path) -> None:
    text = workflow(triggers="  - {schedule: 0 9 * * mon, audience: true}\n")
    [found] = load_one(tmp_path, text, policies_dot_yaml="zone: Asia/Tokyo\n").workflow.triggers
    assert isinstance(found, ScheduleTrigger)
    assert found.timezone == "Asia/Tokyo"


def test_several_forms_live_side_by_side_and_every_one_is_listened_to(tmp_path: Path) -> None:
    forms = ("event: purchase", "segment: vip", "{segment: vip, on: leave}", "{schedule: 0 9 * * *, audience: true}", "manual: true")
    triggers = "".join(f"  - {form}\n" for form in forms)
    loaded = load_one(tmp_path, workflow(triggers=triggers)).workflow
    assert [trigger.id for trigger in loaded.triggers] == ["purchase", "vip", "left_vip", "schedule", "manual"]
    assert loaded.event_types() == {"purchase", "segment.entered", "segment.left", "enter.hello"}


_ONE = "trigger: expected one of event, segment, condition, schedule, at, date or manual, got "


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{}", _ONE + "nothing."),
        ("{evnt: purchase}", _ONE + "evnt. Did you mean 'event'?"),
        ("{id: a, when: event.x}", _ONE + "id or when."),
        ("{event: purchase, segment: vip}", "trigger: expected one of event or segment, got event and segment; give each a"),
        ("{schedule: 0 9 * * *, at: 2026-01-01 09:00}", "got schedule and at; give each a trigger of its own"),
        ("{event: purchase, timezone: customer}", "trigger: 'timezone' belongs to `schedule` or `at`, not to `event`; take it out"),
        ("{segment: vip, yearly: true}", "trigger: 'yearly' belongs to `date`, not to `segment`; take it out"),
        ("{event: purchase, fields: [a]}", "trigger: 'fields' belongs to `manual`, not to `event`; take it out"),
        ("{event: purchase, wen: true}", "trigger: unknown key 'wen'. Did you mean 'when'? Allowed here: id, name, event, when, active"),
        ("{segment: VIP}", "segment id: expected a lower-case letter"),
        ("{segment: vip, on: left}", "trigger: 'on' expected enter or leave, got 'left'."),
        ("{condition: event.total > 3}", "'event' is not known in a condition about customers; there are customer, brand or now"),
        ("{condition: clicked('only')}", "clicked() asks about messages of a journey, and there is none in a condition about customers"),
        ("{condition: \"has_event('purchase', since='entry')\"}", "since='entry' asks about a journey, and there is none in a condition"),
        ("{event: purchase, when: \"has_event('purchase', since='step')\"}", "since='step' asks about a journey, and there is none before"),
        ("{event: purchase, when: steps.only.outcome == 'won'}", "'steps' is not known before the journey starts"),
        ("{schedule: 0 9 * *, audience: true}", "'schedule' expected a cron line of five fields (minute, hour, day of the month, month, "
         "day of the week), such as '0 9 * * mon', got '0 9 * *'"),
        ("{schedule: 0 25 * * *, audience: true}", "expected a cron line such as '0 9 * * mon', got '0 25 * * *'; '25' is no hour"),
        ("{schedule: 0 0 30 2 *, audience: true}", "'30' is no day of the months named"),
        ("{schedule: [0, 9], audience: true}", "'schedule' expected a cron line in quotes, such as '0 9 * * mon', got a list"),
        ("{at: 27.11.2026, audience: true}", "'at' expected a day and a time, such as '2026-11-27 09:00', got '27.11.2026'"),
        ("{at: 2026-02-30 09:00, audience: true}", "'at' expected a day and a time"),
        ("{schedule: 0 9 * * *, timezone: custmer, audience: true}", "or customer, got 'custmer'. Did you mean 'customer'?"),
        ("{schedule: 0 9 * * *, timezone: Europe/Berln, audience: true}", "got 'Europe/Berln'. Did you mean 'Europe/Berlin'?"),
        ("{schedule: 0 9 * * *, audience: event.x > 3}", "'event' is not known in an audience, which is asked about customers"),
        ("{schedule: 0 9 * * *, audience: true, catchup: all}", "'catchup' expected none or last, got 'all'."),
        ("{date: customer.visits}", "'date' expected a date, and customer.visits is a number; name an attribute of type date"),
        ("{date: customer.vip}", "'date' expected a date, and customer.vip is true or false"),
        ("{date: now}", "'now' is not known in the date of a trigger, which is a date of the customer; there are customer or brand"),
        ("{date: customer.renewal, offset: 7 dais}", "'offset': duration '7 dais': 'dais' is no unit"),
        ("{date: customer.renewal, offset: 0 days}", "'offset' expected more than no time"),
        ("{date: customer.renewal, at: 9 Uhr}", "'at' expected a time of day from 00:00 to 23:59, such as '09:00', got '9 Uhr'."),
        ("{date: customer.renewal, yearly: often}", "'yearly' expected true or false, got 'often'"),
        ("{manual: false}", "'manual' expected true, got false; to switch it off write `active: false`"),
        ("{manual: true, fields: [discount, discount]}", "'fields' names 'discount' twice; keep one"),
        ("{manual: true, fields: [type]}", "'fields': every event has 'type' already; take another word"),
        ("{manual: true, fields: [2nd]}", "'fields' expected names of payload keys, such as discount, got '2nd'"),
        ("{manual: true, fields: discount}", "'fields' expected a list (fields: [discount]), got 'discount'"),
        ("{manual: true, fields: [discount], when: event.discnt > 3}",
         "event.discnt: an entry of this workflow has no field 'discnt'. Did you mean 'discount'?"),
        ("{manual: true, id: start_workflow}", "'start_workflow' says that an action started the journey; take another id"),
        ("{event: enter.hello}",
         "'enter.hello' is the engine's own; others start a workflow by `start_workflow`, or by its trigger `manual: true`"),
        ("{event: webhook.answer}", "unknown event type 'webhook.answer'. Did you mean 'webhook.answered'?"),
        ("{event: task.x}", "unknown event type 'task.x'. The engine's own are message.accepted"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(tmp_path: Path, written: str, said: str) -> None:
    refused = _refused(tmp_path, written)
    assert any(said in message for message in refused), refused


def test_ids_are_told_apart_by_their_form_and_must_be(tmp_path: Path) -> None:
    two = workflow(triggers="  - {schedule: 0 9 * * *, audience: true}\n  - {schedule: 0 10 * * *, audience: true}\n")
    [message] = messages(load_files(tmp_path, {"hello/workflow.yaml": two}))
    assert message == "4: trigger: the id 'schedule' is that of the trigger in line 3 too; give each an `id` of its own"


def test_a_schedule_for_everybody_is_warned_of(tmp_path: Path) -> None:
    project = load_files(tmp_path, {"hello/workflow.yaml": workflow(triggers="  - schedule: 0 9 * * *\n")})
    assert not project.errors
    assert any("no audience, so every customer enters at each tick" in problem.message for problem in project.warnings)


@pytest.mark.parametrize(
    ("condition", "is_warned"),
    [("customer.lifetime_value > 500", False), ("days_since(customer.created_at) > 30", False), ("local_hour() * 2 == 18", True)],
)
def test_a_condition_that_time_changes_at_no_known_instant_is_warned_of(tmp_path: Path, condition: str, is_warned: bool) -> None:
    project = load_files(tmp_path, {"hello/workflow.yaml": workflow(triggers=f"  - condition: {condition}\n")})
    assert not project.errors
    assert any("can change by time alone" in problem.message for problem in project.warnings) is is_warned


def test_attributes_that_only_a_trigger_names_belong_to_the_version(tmp_path: Path) -> None:
    triggers = """\
  - {id: a, date: customer.renewal}
  - {id: b, schedule: 0 9 * * *, audience: customer.vip}
  - {id: c, condition: customer.visits > 3}
"""
    assert load_one(tmp_path, workflow(triggers=triggers), catalogue_dot_yaml=CATALOGUE).definition.catalogue == {
        "renewal": "date", "vip": "bool", "visits": "number",
    }  # fmt: skip


def test_the_events_that_start_it_give_the_keys_of_event(tmp_path: Path) -> None:
    steps = (
        "  - id: only\n    do:\n      - create_task: {title: Call, when: event.discount > 3 or event.segment == 'vip' or event.trigger}\n"
    )
    triggers = "  - {manual: true, fields: [discount]}\n  - segment: vip\n"
    assert not messages(load_files(tmp_path / "a", {"hello/workflow.yaml": workflow(steps, triggers=triggers)}))
    wrong = workflow(steps.replace("event.trigger", "event.segmnt"), triggers=triggers)
    [message] = messages(load_files(tmp_path / "b", {"hello/workflow.yaml": wrong}))
    assert message.endswith("event.segmnt: an entry of this workflow or segment.entered has no field 'segmnt'. Did you mean 'segment'?")


def test_what_another_workflow_starts_it_with_are_keys_of_event(tmp_path: Path) -> None:
    other = "workflow: other\ntriggers:\n  - event: started\nsteps:\n  - id: only\n    do:\n" + (
        "      - start_workflow: {workflow: hello, payload: {why: cart, total: '{{ event.total }}'}}\n"
    )
    text = workflow(triggers="  - {manual: true, when: event.why == 'cart' and event.total > 3}\n")
    assert not messages(load_files(tmp_path, {"hello/workflow.yaml": text, "other/workflow.yaml": other}))


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 9 13 * fri", "on day 13 of the month and also on each weekday fri"),
        ("0 9 1,15 * 1-5", "on day 1,15 of the month and also on each weekday 1-5"),
        ("0 9 * * fri", None),
        ("0 9 13 * *", None),
        ("0 9 */2 * fri", None),
    ],
)
def test_a_cron_line_with_both_kinds_of_days_is_explained(tmp_path: Path, cron: str, said: str | None) -> None:
    trigger = f"  - {{schedule: {cron}, audience: customer.vip == true}}\n".replace(cron, f"'{cron}'")
    project = load_files(tmp_path, {"hello/workflow.yaml": workflow(triggers=trigger, head="goal: {event: x}\nexit: [goal]\n")})
    assert not project.errors
    found = [problem.message for problem in project.warnings if "cron" in problem.message]
    assert len(found) == (said is not None) and all(str(said) in message for message in found)


@pytest.mark.parametrize("condition", ["days_since(customer.updated_at) > 30", "customer.updated_at > customer.created_at"])
def test_a_condition_that_every_write_changes_is_warned_of(tmp_path: Path, condition: str) -> None:
    head = f'exit:\n  - when: "{condition}"\n'
    project = load_files(tmp_path, {"hello/workflow.yaml": workflow(head=head)})
    assert not project.errors
    assert [p.line for p in project.warnings if "customer.updated_at changes with every write of a profile" in p.message] == [5]


@pytest.mark.parametrize("existing", ["ignore", "enter"])
def test_existing_is_for_segments(tmp_path: Path, existing: str) -> None:
    head = f"entry: {{existing: {existing}}}\n"
    assert load_one(tmp_path / "a", workflow(triggers="  - segment: vip\n", head=head)).workflow.entry.existing == existing
    for number, trigger in enumerate(("event: x", "{segment: vip, on: leave}", "condition: customer.country == 'CH'")):
        text = workflow(triggers=f"  - {trigger}\n", head=head)
        [message] = messages(load_files(tmp_path / str(number), {"hello/workflow.yaml": text}))
        assert "entry: 'existing' is about those who are in a segment already, and no trigger is one" in message
