"""`steps:` -> `ReadStep`s; their waits, actions and ways on are `read_waits`', `read_actions`' and `read_next`'s."""

from __future__ import annotations

from journey_pipelines.workflows.fields import Fields
from journey_pipelines.workflows.model import Position
from journey_pipelines.workflows.problems import Place
from journey_pipelines.workflows.read_actions import read_actions
from journey_pipelines.workflows.read_next import read_next
from journey_pipelines.workflows.read_waits import read_wait
from journey_pipelines.workflows.reading import Reading, ReadStep
from journey_pipelines.workflows.yaml_nodes import Seq, Text


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
    wait_places: dict[str, Place] = {}
    if not step.values.keys() & {"wait", "do", "next"}:
        reading.problems.error(step.at, f"{step.what}: neither `wait` nor `do` nor `next`; give it one, or take the step out")
    wait = read_wait(step, step_id, reading, wait_places)
    way_on = read_next(step, step_id, reading)
    return ReadStep(
        id=step_id,
        at=step.place("id"),
        name=step.text("name"),
        position=_position(step),
        wait=wait,
        do=read_actions(step, step_id, reading),
        next=way_on.next,
        wrong_wait="wait" in step.values and wait is None,
        wrong_next=not way_on.complete,
        next_places=way_on.places,
        wait_places=wait_places,
        caps=way_on.caps,
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
