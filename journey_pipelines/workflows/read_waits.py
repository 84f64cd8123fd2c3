"""`wait:` -> its model: a time with or without a window, a date of the customer, or an event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows import times
from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import AfterWait, DateWait, EventWait, Wait
from journey_pipelines.workflows.problems import Place, one_of
from journey_pipelines.workflows.reading import PAST_WORDS, Reading
from journey_pipelines.workflows.yaml_nodes import Map, Node, Seq, Text

_TIME = ("after", "until", "between", "on", "best_time", "within")
_DATE = ("date", "offset", "at", "missing", "past")
_EVENT = ("for", "match", "when", "timeout", "since", "any")
_FORMS: dict[str, tuple[str, ...]] = {"after": _TIME, "date": _DATE, "for": _EVENT}
_WRITTEN = {"after": "`after: 90 minutes`", "date": "`date: EXPRESSION`", "for": "`for: EVENT`"}
DEFAULT_WITHIN = Duration.parse("24 hours")
_LONGEST_WITHIN = timedelta(days=7)


def read_wait(step: Fields, step_id: str, reading: Reading, places: dict[str, Place]) -> Wait | None:
    """`places`: the steps that the wait names itself are put here."""
    node = step.get("wait")
    if node is None:
        return None
    if isinstance(node, Text):
        after = step.as_duration(node, "'wait'")
        return AfterWait(after=after) if after else None
    what = f"{step.what}: wait"
    if not isinstance(node, Map):
        Fields.of(node, what, ("after", "date", "for"), reading.problems)
        return None
    heads = [head for head, keys in _FORMS.items() if node.get(head) is not None or (head == "after" and _has_window(node, keys))]
    if len(heads) != 1:
        got = f"{' and '.join(heads)}; keep one" if heads else "none of them; write one"
        Fields(node, what, (*_TIME, *_DATE, *_EVENT), reading.problems)
        reading.problems.error(node.at, f"{what}: expected one of {one_of(_WRITTEN.values())}, got {got}")
        return None
    [head] = heads
    elsewhere = {
        key: f"{_WRITTEN[other]}, not to {_WRITTEN[head]}" for other, keys in _FORMS.items() for key in keys if key not in _FORMS[head]
    }
    wait = Fields(node, what, _FORMS[head], reading.problems, elsewhere)
    if head == "for":
        return _event_wait(wait, step_id, reading)
    return _date_wait(wait, step_id, reading, places) if head == "date" else _time_wait(wait)


def _has_window(node: Map, keys: tuple[str, ...]) -> bool:
    """Without `after` a window alone is the form: at once, then the window."""
    return any(node.get(key) is not None for key in keys if key != "within")


# -- time ------------------------------------------------------------------------------------------------------------


def _time_wait(wait: Fields) -> AfterWait | None:
    problems = wait.problems
    before = problems.errors
    windows = [key for key in ("until", "between", "best_time") if key in wait.values]
    if len(windows) > 1:
        problems.error(wait.place(windows[1]), f"{wait.what}: {' and '.join(windows)} are two windows; keep one")
    if "best_time" in windows and "on" in wait.values:
        problems.error(wait.place("on"), f"{wait.what}: 'on' belongs to `until` or `between`, or stands alone, not beside `best_time`")
    if "within" in wait.values and "best_time" not in wait.values:
        problems.error(wait.place("within"), f"{wait.what}: 'within' belongs to `best_time: true`; take it out")
    best = wait.boolean("best_time", False)
    if "best_time" in wait.values and not best and problems.errors == before:
        problems.error(wait.place("best_time"), f"{wait.what}: 'best_time' expected true, got false; take it out")
    values: dict[str, Any] = {
        "after": (wait.duration("after") if "after" in wait.values else None) or Duration(),
        "until": wait.parsed("until", times.clock_time, "a time of day in quotes, such as '09:00'"),
        "between": _between(wait),
        "on": _on(wait),
        "best_time": best,
        "within": _within(wait) if best else None,
    }
    return AfterWait.model_validate(values) if problems.errors == before else None


def _between(wait: Fields) -> tuple[str, str] | None:
    node = wait.get("between")
    if node is None:
        return None
    if not isinstance(node, Seq) or len(node.items) != 2:
        wait.wrong("between", 'two times of day, such as ["09:00", "18:00"]')
        return None
    start, end = (wait.as_parsed(item, "'between'", times.clock_time, "a time of day such as '09:00'") for item in node.items)
    if start is not None and start == end:
        wait.problems.error(
            node.at, f"{wait.what}: 'between' begins and ends at {start}; for the whole day write `on: [mon]` alone, or take it out"
        )
        return None
    return (start, end) if start and end else None


def _on(wait: Fields) -> tuple[str, ...] | None:
    """Days in the order of the week."""
    node = wait.get("on")
    if node is None:
        return None
    nodes: list[Node] = list(node.items) if isinstance(node, Seq) else [node]
    if not nodes:
        wait.wrong("on", "weekdays, weekends, a day such as mon, or a list of days")
        return None
    days: list[str] = []
    for item in nodes:
        found = wait.as_parsed(item, "'on'", times.weekdays, "weekdays, weekends, or a day such as mon")
        for day in found or ():
            if day in days:
                wait.problems.error(item.at, f"{wait.what}: 'on' names {day} twice; keep one")
            else:
                days.append(day)
    return tuple(day for day in times.WEEKDAYS if day in days) or None


def _within(wait: Fields) -> Duration | None:
    found = wait.duration("within", elapsed=True) if "within" in wait.values else DEFAULT_WITHIN
    if found and not timedelta(hours=1) <= found.elapsed() <= _LONGEST_WITHIN:
        wait.wrong("within", "from 1 hour to 7 days")
    return found


# -- date ------------------------------------------------------------------------------------------------------------


def _date_wait(wait: Fields, step_id: str, reading: Reading, places: dict[str, Place]) -> DateWait | None:
    before = reading.problems.errors
    values: dict[str, Any] = {
        "date": reading.expression(wait, "date", "due", step_id),
        "offset": wait.parsed("offset", times.signed_offset, "a length of time such as '-3 days'"),
        "at": wait.parsed("at", times.clock_time, "a time of day in quotes, such as '10:00'"),
    }
    for key, words in (("missing", ()), ("past", PAST_WORDS)):
        node = wait.get(key)
        if node is None:
            continue
        if not isinstance(node, Text) or not isinstance(node.value, str) or not node.value:
            allowed = one_of([*words, "the id of a step", "`end`"])
            reading.problems.error(node.at, f"{wait.what}: '{key}' expected {allowed}, got {kind_of(node)}")
            continue
        values[key] = node.value
        if node.value not in words:
            places.setdefault(node.value, node.at)
    return DateWait.model_validate(values) if reading.problems.errors == before else None


# -- event -----------------------------------------------------------------------------------------------------------


def _event_wait(wait: Fields, step_id: str, reading: Reading) -> EventWait | None:
    node = wait.get("for")
    if node is None:
        return None
    nodes = list(node.items) if isinstance(node, Seq) else [node]
    if not nodes:
        wait.wrong("for", "an event type, or a list of them")
    events = [reading.event(item, wait, "for", "wait", step_id) for item in nodes]
    if len(set(events)) < len(events):
        reading.problems.error(wait.place("for"), f"{wait.what}: 'for' names one event type twice; keep one")
    match, when = wait.payload_key("match"), reading.expression(wait, "when", "wait", step_id)
    if "timeout" not in wait.values:
        reading.problems.error(wait.at, f"{wait.what}: a wait for an event needs an end; write `timeout: 1 day`")
        return None
    timeout = wait.duration("timeout")
    since, anyone = wait.choice("since", ("step", "entry"), "step"), wait.boolean("any", False)
    if timeout is None or None in events or not events:
        return None
    return EventWait.model_validate(
        {"events": tuple(events), "match": match, "when": when, "timeout": timeout, "since": since, "any": anyone}
    )
