"""A `workflow.yaml`'s tree -> a `Workflow`, but for the resolution of `next` and the checks over the whole (see `paths`, `check_names`)."""

from __future__ import annotations

import re
from typing import Any

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import ID_PATTERN, Entry, EventTrigger, ExitRule, Goal, Reentry
from journey_pipelines.workflows.problems import one_of
from journey_pipelines.workflows.read_steps import read_steps
from journey_pipelines.workflows.reading import Reading
from journey_pipelines.workflows.yaml_nodes import Map, Node, Seq, Text

DEFAULT_LATENESS = Duration.parse("1 day")
_REENTRY = {"never": "never", "after exit": "after_exit", "always": "always"}
_KEYS = (
    "workflow",
    "name",
    "description",
    "owner",
    "tags",
    "status",
    "priority",
    "category",
    "topic",
    "triggers",
    "entry",
    "hold_out",
    "goal",
    "exit",
    "steps",
)


def read_workflow(node: Node, folder: str, reading: Reading) -> dict[str, Any] | None:
    """The arguments of `Workflow` without `steps` (those are in `reading.steps`), or None where the file holds no mapping."""
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
        "status": fields.choice("status", ("draft", "active", "archived"), "active"),
        "priority": fields.integer("priority", -1000, 1000) or 0,
        "category": fields.choice("category", ("marketing", "transactional"), "marketing"),
        "topic": topic,
        "triggers": _triggers(fields, reading),
        "entry": _entry(fields, reading),
        "hold_out": fields.percentage("hold_out") or 0.0,
        "goal": _goal(fields, reading),
    }
    values["exit"] = _exit(fields, reading, has_goal="goal" in fields.values)
    read_steps(fields, reading)
    return values


def _tags(fields: Fields) -> tuple[str, ...]:
    tags = []
    for item in fields.items("tags", "tags: [revenue, cart]"):
        if isinstance(item, Text) and item.value is not None:
            tags.append(item.written)
        else:
            fields.problems.error(item.at, f"workflow: 'tags' expected words, got {kind_of(item)}")
    return tuple(tags)


def _triggers(fields: Fields, reading: Reading) -> tuple[EventTrigger, ...]:
    if fields.need("triggers", "- event: user_registered") is None:
        return ()
    items = fields.items("triggers", "- event: user_registered")
    if not items and isinstance(fields.values["triggers"], Seq):
        reading.problems.error(fields.place("triggers"), "workflow: no trigger, so nobody can enter; write `- event: TYPE`")
    triggers: list[EventTrigger] = []
    seen: dict[str, int] = {}
    for item in items:
        trigger = Fields.of(item, "trigger", ("id", "name", "event", "when", "active"), reading.problems)
        if trigger is None:
            continue
        event = reading.event(trigger.need("event", "user_registered"), trigger, "event", "entry")
        when = reading.expression(trigger, "when", "entry")
        trigger_id = trigger.identifier("id", "trigger id") if "id" in trigger.values else _id_from(event or "")
        name, active = trigger.text("name"), trigger.boolean("active", True)
        if event is None or trigger_id is None:
            continue
        if trigger_id in seen:
            reading.problems.error(
                trigger.at,
                f"trigger: the id '{trigger_id}' is that of the trigger in line {seen[trigger_id]} too; give each an `id` of its own",
            )
            continue
        seen[trigger_id] = trigger.at.line
        triggers.append(EventTrigger(id=trigger_id, event=event, when=when, active=active, name=name))
    return tuple(triggers)


def _id_from(event: str) -> str:
    """A trigger's default id: its event type in the letters of an id."""
    word = re.sub(r"[^a-z0-9_]+", "_", event.lower()).strip("_")[:60]
    return word if re.match(ID_PATTERN, word) else f"t_{word}"


def _entry(fields: Fields, reading: Reading) -> Entry:
    node = fields.get("entry")
    entry = (
        Fields.of(node, "entry", ("when", "key", "reentry", "while_active", "max_lateness"), reading.problems) if node is not None else None
    )
    if entry is None:
        return Entry(max_lateness=DEFAULT_LATENESS)
    reentry, while_active = _reentry(entry, reading), entry.choice("while_active", ("ignore", "refresh", "restart"), "ignore")
    if reentry.policy == "always" and while_active != "ignore":
        message = f"entry: 'while_active: {while_active}' never comes to pass: `reentry: always` starts a second journey; take one out"
        reading.problems.error(entry.place("while_active"), message)
    return Entry.model_validate(
        {
            "when": reading.expression(entry, "when", "entry"),
            "key": reading.expression(entry, "key", "entry"),
            "reentry": reentry,
            "while_active": while_active,
            "max_lateness": entry.duration("max_lateness", elapsed=True) or DEFAULT_LATENESS,
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


def _goal(fields: Fields, reading: Reading) -> Goal | None:
    node = fields.get("goal")
    goal = Fields.of(node, "goal", ("event", "match", "when", "value", "within"), reading.problems) if node is not None else None
    if goal is None:
        return None
    event = reading.event(goal.need("event", "purchase"), goal, "event", "rule")
    match, when = goal.payload_key("match"), reading.expression(goal, "when", "rule")
    value, within = reading.expression(goal, "value", "rule"), goal.duration("within", elapsed=True)
    return Goal(event=event, match=match, when=when, value=value, within=within) if event else None


def _exit(fields: Fields, reading: Reading, *, has_goal: bool) -> tuple[ExitRule, ...]:
    rules: list[ExitRule] = []
    keys = ("event", "match", "when")
    for item in fields.items("exit", "- goal"):
        if isinstance(item, Text):
            if item.written != "goal":
                reading.problems.error(item.at, f"exit: expected `goal` or a mapping with {one_of(keys)}, got {kind_of(item)}")
            elif not has_goal:
                reading.problems.error(
                    item.at, "exit: 'goal' is named and the workflow has none; write `goal: {event: purchase}` or take it out"
                )
            elif any(rule.goal for rule in rules):
                reading.problems.error(item.at, "exit: 'goal' is named twice; keep one")
            else:
                rules.append(ExitRule(goal=True))
            continue
        rule = Fields.of(item, "exit", keys, reading.problems)
        if rule is None:
            continue
        event = reading.event(rule.need("event", "unsubscribed"), rule, "event", "rule")
        match, when = rule.payload_key("match"), reading.expression(rule, "when", "rule")
        if event:
            rules.append(ExitRule(event=event, match=match, when=when))
    return tuple(rules)
