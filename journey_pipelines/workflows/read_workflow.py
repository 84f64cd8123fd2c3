"""A `workflow.yaml`'s tree -> a `Workflow`, but for the resolution of `next` and the checks over the whole (see `paths`, `check_names`)."""

from __future__ import annotations

from typing import Any

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows import times
from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import Entry, Limits, Reentry, Runs, SegmentTrigger, Trigger
from journey_pipelines.workflows.read_rules import read_exit, read_goal
from journey_pipelines.workflows.read_steps import read_steps
from journey_pipelines.workflows.read_triggers import read_triggers
from journey_pipelines.workflows.reading import Reading
from journey_pipelines.workflows.yaml_nodes import Map, Node, Text

DEFAULT_LATENESS = Duration.parse("1 day")
_REENTRY = {"never": "never", "after exit": "after_exit", "always": "always"}
_KEYS = (
    "workflow", "name", "description", "owner", "tags", "status", "priority", "category", "topic", "runs", "limits", "in_flight",
    "on_resume", "max_age", "triggers", "entry", "hold_out", "goal", "exit", "steps",
)  # fmt: skip


def read_workflow(node: Node, folder: str, zone: str, reading: Reading) -> dict[str, Any] | None:
    """The arguments of `Workflow` without `steps` (those are in `reading.steps`), or None where the file holds no mapping.

    `zone`: of the policies, in which days of `runs` begin and schedules tick that name none.
    """
    fields = Fields.of(node, "workflow", _KEYS, reading.problems)
    if fields is None:
        return None
    if fields.need("workflow", folder) is not None:
        workflow_id = fields.identifier("workflow", "workflow id")
        if workflow_id is not None and workflow_id != folder:
            reading.problems.error(
                fields.place("workflow"),
                f"workflow: the id is '{workflow_id}' and the folder '{folder}'; give both one name",
            )
    topic = fields.identifier("topic", "topic")
    values: dict[str, Any] = {
        "id": folder,
        "name": fields.text("name") or folder.replace("_", " ").capitalize(),
        "description": fields.text("description", one_line=False),
        "owner": fields.text("owner"),
        "tags": _tags(fields),
        "status": fields.choice("status", ("draft", "active", "paused", "archived"), "active"),
        "priority": fields.integer("priority", -1000, 1000) or 0,
        "category": fields.choice("category", ("marketing", "transactional"), "marketing"),
        "topic": topic,
        "runs": _runs(fields, zone),
        "limits": _limits(fields),
        "in_flight": fields.choice("in_flight", ("stay", "exit"), "stay"),
        "on_resume": fields.choice("on_resume", ("reschedule", "skip"), "reschedule"),
        "max_age": fields.duration("max_age", elapsed=True),
        "triggers": read_triggers(fields, folder, zone, reading),
    }
    values |= {
        "entry": _entry(fields, values["triggers"], reading),
        "hold_out": fields.percentage("hold_out") or 0.0,
        "goal": read_goal(fields, reading),
        "exit": read_exit(fields, reading),
    }
    read_steps(fields, reading)
    if "goal" not in fields.values:
        reading.problems.warn(fields.at, "no goal: reports cannot say what the workflow achieves; write `goal: {event: purchase}`")
    if "exit" not in fields.values:
        reading.problems.warn(fields.at, "no exit: a customer who did what you wanted still gets every message; write `exit: [goal]`")
    return values


def _tags(fields: Fields) -> tuple[str, ...]:
    tags = []
    for item in fields.items("tags", "tags: [revenue, cart]"):
        if isinstance(item, Text) and item.value is not None:
            tags.append(item.written)
        else:
            fields.problems.error(item.at, f"workflow: 'tags' expected words, got {kind_of(item)}")
    return tuple(tags)


def _runs(fields: Fields, zone: str) -> Runs | None:
    """Days and minutes in the policies' zone; a day `until` is meant with all of it."""
    node = fields.get("runs")
    runs = Fields.of(node, "runs", ("from", "until"), fields.problems) if node is not None else None
    if runs is None:
        return None
    if not runs.values:
        fields.problems.error(runs.at, "runs: expected from or until, got neither; write `runs: {until: 2026-12-31}` or take it out")
        return None
    example = "a day such as 2026-11-27, or a day and a time"
    start = runs.parsed("from", lambda text: times.start_of(text, zone), example)
    until = runs.parsed("until", lambda text: times.end_of(text, zone), example)
    if start and until and until <= start:
        fields.problems.error(runs.place("until"), "runs: 'until' is not after 'from', so nobody could ever enter; give it a later day")
    return Runs(start=start, until=until)


def _limits(fields: Fields) -> Limits | None:
    node = fields.get("limits")
    limits = Fields.of(node, "limits", ("in_flight", "entries", "sends"), fields.problems) if node is not None else None
    if limits is None:
        return None
    if not limits.values:
        fields.problems.error(limits.at, "limits: expected in_flight, entries or sends, got none; write `limits: {in_flight: 1000}`")
    return Limits(
        in_flight=limits.integer("in_flight", 1, 1_000_000_000),
        entries=limits.parsed("entries", times.rate, "how many in which time, such as 5000/hour"),
        sends=limits.parsed("sends", times.rate, "how many in which time, such as 2000/minute"),
    )


def _entry(fields: Fields, triggers: tuple[Trigger, ...], reading: Reading) -> Entry:
    node = fields.get("entry")
    keys = ("when", "key", "reentry", "while_active", "max_lateness", "existing")
    entry = Fields.of(node, "entry", keys, reading.problems) if node is not None else None
    if entry is None:
        return Entry(max_lateness=DEFAULT_LATENESS)
    reentry, while_active = _reentry(entry, reading), entry.choice("while_active", ("ignore", "refresh", "restart"), "ignore")
    if reentry.policy == "always" and while_active != "ignore":
        message = f"entry: 'while_active: {while_active}' never comes to pass: `reentry: always` starts a second journey; take one out"
        reading.problems.error(entry.place("while_active"), message)
    if "existing" in entry.values and not any(isinstance(trigger, SegmentTrigger) and trigger.on == "enter" for trigger in triggers):
        reading.problems.error(
            entry.place("existing"),
            "entry: 'existing' is about those who are in a segment already, and no trigger is one: write `- segment: ID`, or take it out",
        )
    return Entry.model_validate(
        {
            "when": reading.expression(entry, "when", "entry"),
            "key": reading.expression(entry, "key", "entry"),
            "reentry": reentry,
            "while_active": while_active,
            "max_lateness": entry.duration("max_lateness", elapsed=True) or DEFAULT_LATENESS,
            "existing": entry.choice("existing", ("ignore", "enter"), "ignore"),
        }
    )


def _reentry(entry: Fields, reading: Reading) -> Reentry:
    node = entry.get("reentry")
    if node is None:
        return Reentry()
    if not isinstance(node, Map):
        word = entry.choice("reentry", (*_REENTRY, "{after: 7 days, of: exit, max: 3}"), "after exit")
        return Reentry.model_validate({"policy": _REENTRY.get(word, "after_exit")})
    fields = Fields(node, "reentry", ("after", "of", "max"), reading.problems)
    fields.need("after", "7 days")
    after = fields.duration("after", elapsed=True) if "after" in fields.values else None
    of = fields.choice("of", ("exit", "entry"), "exit")
    most = fields.integer("max", 1, 1_000_000)
    return Reentry.model_validate({"policy": "after", "after": after, "of": of, "max": most}) if after else Reentry()
