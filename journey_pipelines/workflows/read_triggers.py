"""`triggers:` -> one model a form: event, segment, condition, schedule (a cron line or one time), date, manual."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from journey_pipelines.workflows import times
from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import (
    ID_PATTERN,
    ConditionTrigger,
    DateTrigger,
    EventTrigger,
    ManualTrigger,
    ScheduleTrigger,
    SegmentTrigger,
    Trigger,
)
from journey_pipelines.workflows.problems import nearest, one_of
from journey_pipelines.workflows.reading import Reading
from journey_pipelines.workflows.triggers import STARTED, enter_event
from journey_pipelines.workflows.yaml_nodes import Map, Node, Seq, Text

_COMMON = ("id", "name", "when", "active")
# the key that makes a form -> that form's own keys
_FORMS: dict[str, tuple[str, ...]] = {
    "event": ("event",),
    "segment": ("segment", "on"),
    "condition": ("condition",),
    "schedule": ("schedule", "timezone", "audience", "catchup"),
    "at": ("at", "timezone", "audience", "catchup"),
    "date": ("date", "offset", "at", "yearly"),
    "manual": ("manual", "fields"),
}
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_TAKEN_FIELDS = ("type", "occurred_at", "trigger")


def read_triggers(fields: Fields, workflow_id: str, zone: str, reading: Reading) -> tuple[Trigger, ...]:
    """`zone`: of the policies, for schedules that name none."""
    if fields.need("triggers", "- event: user_registered") is None:
        return ()
    items = fields.items("triggers", "- event: user_registered")
    if not items and isinstance(fields.values["triggers"], Seq):
        reading.problems.error(fields.place("triggers"), "workflow: no trigger, so nobody can enter; write `- event: TYPE`")
    triggers: list[Trigger] = []
    seen: dict[str, int] = {}
    for item in items:
        found = _form(item, reading)
        if found is None:
            continue
        head, trigger = found
        values = _READERS[head](_Place(trigger, workflow_id, zone, reading))
        values["when"] = reading.expression(trigger, "when", "entry")
        values["name"], values["active"] = trigger.text("name"), trigger.boolean("active", True)
        trigger_id = trigger.identifier("id", "trigger id") if "id" in trigger.values else _default_id(head, values)
        if trigger_id == STARTED:
            reading.problems.error(trigger.place("id"), f"trigger: '{STARTED}' says that an action started the journey; take another id")
        if None in (values.get(name, "") for name in _NEEDED[head]) or trigger_id is None:
            continue
        if trigger_id in seen:
            reading.problems.error(
                trigger.at,
                f"trigger: the id '{trigger_id}' is that of the trigger in line {seen[trigger_id]} too; give each an `id` of its own",
            )
            continue
        seen[trigger_id] = trigger.at.line
        triggers.append(_MODELS[head].model_validate({"id": trigger_id, **values}))
    return tuple(triggers)


def _form(item: Node, reading: Reading) -> tuple[str, Fields] | None:
    """Which form an item has, and its keys; an error where it has none or several."""
    if not isinstance(item, Map):
        Fields.of(item, "trigger", _FORMS, reading.problems)
        return None
    heads = [head for head in _FORMS if item.get(head) is not None and not (head == "at" and item.get("date") is not None)]
    if len(heads) == 1:
        return heads[0], Fields(item, "trigger", _keys(heads[0]), reading.problems, _elsewhere(heads[0]))
    if heads:
        everything = dict.fromkeys(key for head in heads for key in _keys(head))
        Fields(item, "trigger", everything, reading.problems)
        message = f"trigger: expected one of {one_of(heads)}, got {' and '.join(heads)}; give each a trigger of its own"
    else:
        keys = [key.written for key, _ in item.items]
        near = next((hint for key in keys if key not in _COMMON and (hint := nearest(key, _FORMS))), "")
        message = f"trigger: expected one of {one_of(_FORMS)}, got {one_of(keys) if keys else 'nothing'}.{near}"
    reading.problems.error(item.at, message)
    return None


def _keys(head: str) -> tuple[str, ...]:
    return (*_COMMON[:2], *_FORMS[head], *_COMMON[2:])


def _elsewhere(head: str) -> dict[str, str]:
    """Keys of other forms -> the forms that have them."""
    others: dict[str, list[str]] = {}
    for other, keys in _FORMS.items():
        for key in keys:
            if key not in _FORMS[head]:
                others.setdefault(key, []).append(f"`{other}`")
    return {key: f"{one_of(forms)}, not to `{head}`" for key, forms in others.items()}


class _Place:
    """One trigger's mapping and where findings go."""

    def __init__(self, fields: Fields, workflow_id: str, zone: str, reading: Reading) -> None:
        self.fields, self.workflow_id, self.zone, self.reading = fields, workflow_id, zone, reading

    def enters(self) -> None:
        """The form is an `enter.<workflow>` event in the end."""
        self.reading.stands_for(enter_event(self.workflow_id), self.fields.at, "entry")


def _event(place: _Place) -> dict[str, Any]:
    return {"event": place.reading.event(place.fields.get("event"), place.fields, "event", "entry")}


def _segment(place: _Place) -> dict[str, Any]:
    on = place.fields.choice("on", ("enter", "leave"), "enter")
    place.reading.stands_for("segment.entered" if on == "enter" else "segment.left", place.fields.at, "entry")
    return {"segment": place.reading.segment(place.fields, "segment"), "on": on}


def _condition(place: _Place) -> dict[str, Any]:
    place.reading.stands_for("segment.entered", place.fields.at, "entry")
    return {"condition": place.reading.expression(place.fields, "condition", "condition")}


def _schedule(place: _Place) -> dict[str, Any]:
    fields, problems = place.fields, place.reading.problems
    place.enters()
    values: dict[str, Any] = {}
    if "schedule" in fields.values:
        cron = values["cron"] = fields.parsed("schedule", times.cron_line, "a cron line in quotes, such as '0 9 * * mon'")
        if cron and times.either_day(cron):
            day, weekday = cron.split()[2], cron.split()[4]
            problems.warn(
                fields.place("schedule"),
                f"{fields.what}: cron ticks on day {day} of the month and also on each weekday {weekday}; for days that are both, "
                "leave one of them * and ask for the other in `audience`, such as local_weekday() == 'mon'",
            )
    else:
        found = fields.parsed("at", times.local_minute, "a day and a time, such as '2026-11-27 09:00'")
        values["at"] = f"{found:%Y-%m-%d %H:%M}" if found else None
    values["timezone"] = fields.parsed("timezone", _zone_or_customer, "a zone such as Europe/Berlin, or customer") or place.zone
    values["audience"] = place.reading.expression(fields, "audience", "audience")
    values["catchup"] = fields.choice("catchup", ("none", "last"), "none")
    if "audience" not in fields.values:
        problems.warn(fields.at, f"{fields.what}: no audience, so every customer enters at each tick; write `audience: in_segment('vip')`")
    return values


def _zone_or_customer(text: str) -> str:
    if text == "customer":
        return text
    near = nearest(text, ("customer",))
    if near:
        raise times.TimeTextError(f"expected the name of a time zone, such as Europe/Berlin, or customer, got {text!r}.{near}")
    return times.zone_name(text)


def _date(place: _Place) -> dict[str, Any]:
    fields = place.fields
    place.enters()
    return {
        "date": place.reading.expression(fields, "date", "anchor"),
        "offset": fields.parsed("offset", times.signed_offset, "a length of time such as '-7 days'"),
        "at": fields.parsed("at", times.clock_time, "a time of day such as '09:00'"),
        "yearly": fields.boolean("yearly", False),
    }


def _manual(place: _Place) -> dict[str, Any]:
    fields, problems = place.fields, place.reading.problems
    place.enters()
    if not fields.boolean("manual", True):
        problems.error(fields.place("manual"), "trigger: 'manual' expected true, got false; to switch it off write `active: false`")
    names: list[str] = []
    for item in fields.items("fields", "fields: [discount]"):
        if not isinstance(item, Text) or not isinstance(item.value, str) or not _FIELD.fullmatch(item.value):
            problems.error(item.at, f"trigger: 'fields' expected names of payload keys, such as discount, got {kind_of(item)}")
        elif item.value in _TAKEN_FIELDS:
            problems.error(item.at, f"trigger: 'fields': every event has '{item.value}' already; take another word")
        elif item.value in names:
            problems.error(item.at, f"trigger: 'fields' names '{item.value}' twice; keep one")
        else:
            names.append(item.value)
    place.reading.manual_fields |= set(names)
    return {"fields": tuple(names)}


_READERS: dict[str, Callable[[_Place], dict[str, Any]]] = {
    "event": _event,
    "segment": _segment,
    "condition": _condition,
    "schedule": _schedule,
    "at": _schedule,
    "date": _date,
    "manual": _manual,
}
_MODELS: dict[str, Any] = {
    "event": EventTrigger,
    "segment": SegmentTrigger,
    "condition": ConditionTrigger,
    "schedule": ScheduleTrigger,
    "at": ScheduleTrigger,
    "date": DateTrigger,
    "manual": ManualTrigger,
}
# without these there is no trigger
_NEEDED: dict[str, tuple[str, ...]] = {
    "event": ("event",),
    "segment": ("segment",),
    "condition": ("condition",),
    "schedule": ("cron",),
    "at": ("at",),
    "date": ("date",),
    "manual": (),
}


def _default_id(head: str, values: dict[str, Any]) -> str:
    """An event type in the letters of an id, a segment's id, else the word that makes the form."""
    if head == "segment":
        segment = values["segment"] or "segment"
        return f"left_{segment}"[:63] if values["on"] == "leave" else segment
    if head != "event":
        return head
    word = re.sub(r"[^a-z0-9_]+", "_", (values["event"] or "").lower()).strip("_")[:60]
    return word if re.match(ID_PATTERN, word) else f"t_{word}"
