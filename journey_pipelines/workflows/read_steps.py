"""`steps:` -> `ReadStep`s: the wait, the actions (see `read_actions`) and the way on, each form of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import AfterWait, Branch, EventWait, Next, Position, Wait
from journey_pipelines.workflows.problems import Place
from journey_pipelines.workflows.read_actions import read_actions
from journey_pipelines.workflows.reading import Reading, ReadStep
from journey_pipelines.workflows.yaml_nodes import Map, Node, Seq, Text

_WAIT_KEYS = ("after", "for", "match", "when", "timeout", "since", "any")
_WEIGHT = re.compile(r"(\d+(?:\.\d+)?)\s*%?")


def read_steps(fields: Fields, reading: Reading) -> None:
    """Fill `reading.steps`."""
    problems = reading.problems
    if fields.need("steps", "- id: hello") is None:
        return
    items = fields.items("steps", "- id: hello")
    if not items and isinstance(fields.values["steps"], Seq):
        problems.error(fields.place("steps"), "workflow: no step; write `- id: hello` with a `wait`, a `do` or a `next`")
    seen: dict[str, int] = {}
    for item in items:
        step = Fields.of(item, "step", ("id", "name", "position", "wait", "do", "next"), problems)
        if step is None:
            continue
        step.need("id", "remind")
        step_id = step.identifier("id", "step id") if "id" in step.values else None
        step.what = f"step {step_id}" if step_id else "step"
        read = _step(step, step_id or f"(line {step.at.line})", reading)
        if step_id is None:
            continue
        if step_id in seen:
            problems.error(step.place("id"), f"step: the id '{step_id}' is that of the step in line {seen[step_id]} too; rename one")
            continue
        seen[step_id] = step.at.line
        reading.steps.append(read)


def _step(step: Fields, step_id: str, reading: Reading) -> ReadStep:
    places: dict[str, Place] = {}
    if not step.values.keys() & {"wait", "do", "next"}:
        reading.problems.error(step.at, f"{step.what}: neither `wait` nor `do` nor `next`; give it one, or take the step out")
    wait = _wait(step, step_id, reading)
    way_on = _next(step, step_id, reading, places)
    return ReadStep(
        id=step_id,
        at=step.place("id"),
        name=step.text("name"),
        position=_position(step),
        wait=wait,
        do=read_actions(step, step_id, reading),
        next=way_on,
        wrong_next="next" in step.values and way_on is None,
        next_places=places,
    )


def _position(step: Fields) -> Position | None:
    node = step.get("position")
    if node is None:
        return None
    position = Fields.of(node, f"{step.what}: position", ("x", "y"), step.problems)
    if position is None:
        return None
    numbers = {}
    for axis in ("x", "y"):
        value = position.need(axis, "0")
        if (
            isinstance(value, Text)
            and isinstance(value.value, int | float)
            and not isinstance(value.value, bool)
            and abs(value.value) < 1e9
        ):
            numbers[axis] = float(value.value)
        elif value is not None:
            position.wrong(axis, "a number")
    return Position(**numbers) if len(numbers) == 2 else None


def _wait(step: Fields, step_id: str, reading: Reading) -> Wait | None:
    node = step.get("wait")
    if node is None:
        return None
    if isinstance(node, Text):
        after = step.as_duration(node, "'wait'")
        return AfterWait(after=after) if after else None
    what = f"{step.what}: wait"
    wait = Fields.of(node, what, _WAIT_KEYS, reading.problems)
    if wait is None:
        return None
    if ("after" in wait.values) == ("for" in wait.values):
        got = "both" if "for" in wait.values else "neither"
        reading.problems.error(
            wait.at, f"{what}: expected either `after: 90 minutes` or `for: EVENT` with a `timeout: 1 day`, got {got}; keep one of the two"
        )
        return None
    if "after" in wait.values:
        for key in wait.values.keys() - {"after"}:
            reading.problems.error(wait.place(key), f"{what}: '{key}' belongs to `for: EVENT`, not to `after`; take it out")
        after = wait.duration("after")
        return AfterWait(after=after) if after else None
    return _event_wait(wait, step_id, reading)


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


def _next(step: Fields, step_id: str, reading: Reading, places: dict[str, Place]) -> Next | None:
    node = step.get("next")
    match node:
        case None:
            return None
        case Text():
            to = _target(node, f"{step.what}: 'next'", reading, places)
            return Next(branches=(Branch(to=to),)) if to else None
        case Seq():
            return _branches(node, step, step_id, reading, places)
        case Map():
            return _split(node, step, reading, places)
    return None


def _target(node: Node | None, label: str, reading: Reading, places: dict[str, Place]) -> str | None:
    """A step id or `end`; whether there is such a step is checked once all are read."""
    if node is None:
        return None
    if isinstance(node, Text) and isinstance(node.value, str) and node.value:
        places.setdefault(node.value, node.at)
        return node.value
    reading.problems.error(node.at, f"{label}: expected the id of a step, or `end`, got {kind_of(node)}")
    return None


def _branches(node: Seq, step: Fields, step_id: str, reading: Reading, places: dict[str, Place]) -> Next | None:
    problems, branches, wrong = reading.problems, [], False
    for number, item in enumerate(node.items, 1):
        what = f"{step.what}: next, branch {number}"
        is_last = number == len(node.items)
        if isinstance(item, Map) and item.get("else") is not None:
            branch = Fields(item, what, ("else",), problems)
            to = _target(branch.get("else"), f"{what}: 'else'", reading, places)
            if not is_last:
                problems.error(branch.at, f"{what}: what stands below `else` is never reached; move `else` to the end")
                wrong = True
            branches.append(Branch(to=to or ""))
        else:
            fields = Fields.of(item, what, ("when", "to", "else"), problems)
            if fields is None:
                wrong = True
                continue
            fields.need("when", "clicked('remind')")
            when = reading.expression(fields, "when", "step", step_id, is_next=True) if "when" in fields.values else None
            to = _target(fields.need("to", "STEP"), f"{what}: 'to'", reading, places)
            branches.append(Branch(when=when, to=to or ""))
            wrong = wrong or when is None
        wrong = wrong or not to
    if not branches or branches[-1].when is not None:
        problems.error(node.at, f"{step.what}: the list under 'next' has no `else`; end it with `- else: STEP` or `- else: end`")
        wrong = True
    return None if wrong else Next(branches=tuple(branches))


def _split(node: Map, step: Fields, reading: Reading, places: dict[str, Place]) -> Next | None:
    problems = reading.problems
    fields = Fields(node, f"{step.what}: next", ("split",), problems)
    arms = fields.need("split", "{gentle: 50, urgent: 50}")
    if arms is None:
        return None
    if not isinstance(arms, Map) or len(arms.items) < 2:
        fields.wrong("split", "two or more steps with their weights, such as {gentle: 50, urgent: 50}")
        return None
    weights: dict[str, float] = {}
    for key, value in arms.items:
        places.setdefault(key.written, key.at)
        weight = _weight(value)
        if weight is None:
            problems.error(value.at, f"{step.what}: split: '{key.written}' expected a weight above 0, at most 100, got {kind_of(value)}")
        else:
            weights[key.written] = weight
    if len(weights) < len(arms.items):
        return None
    if not _makes_100(weights):
        problems.error(arms.at, f"{step.what}: split: the weights must make 100, got {sum(weights.values()):g}")
        return None
    return Next(split=weights)


def _weight(node: Node) -> float | None:
    if not isinstance(node, Text) or isinstance(node.value, bool):
        return None
    found = _WEIGHT.fullmatch(node.written.strip())
    weight = float(found[1]) if found else 0.0
    return weight if 0 < weight <= 100 else None


def _makes_100(weights: Mapping[str, float]) -> bool:
    # 33.3 + 33.3 + 33.4 is not exactly 100 in binary
    return abs(sum(weights.values()) - 100) < 1e-6
