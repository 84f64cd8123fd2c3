"""The ways through a workflow: resolves an absent `next`, and checks that every step is reached and every way ends (see `loops`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.loops import check_loops
from journey_pipelines.workflows.model import END, Branch, DateWait, Next, Step
from journey_pipelines.workflows.problems import Problems
from journey_pipelines.workflows.reading import PAST_WORDS, ReadStep

_MESSAGES = frozenset({"send_email", "send_sms", "send_push"})


def resolve_steps(steps: list[ReadStep], problems: Problems) -> tuple[Step, ...] | None:
    """Steps with their way on filled in, or None where something about them is wrong (said in `problems`)."""
    if not steps:
        return None
    before = problems.errors
    known = _check_targets(steps, problems)
    ways = _ways(steps, problems)
    targets = {step.id: _targets(step, ways.get(step.id)) for step in steps}
    check_loops(steps, ways, targets, problems)
    if known and len(ways) == len(steps) and not any(step.wrong_next for step in steps):
        _check_reached(steps, targets, problems)
    if problems.errors > before or len(ways) < len(steps):
        return None
    _warn_of_bursts(steps, ways, problems)
    return tuple(Step(id=step.id, name=step.name, position=step.position, wait=step.wait, do=step.do, next=ways[step.id]) for step in steps)


def _targets(step: ReadStep, way_on: Next | None) -> list[str]:
    """Everywhere a step can lead: by its `next`, and by a date that is missing or gone by."""
    return list(dict.fromkeys([*(way_on.targets() if way_on else ()), *step.wait_targets]))


def _check_targets(steps: Iterable[ReadStep], problems: Problems) -> bool:
    ids = [step.id for step in steps]
    known = True
    for step in steps:
        for to, at in step.next_places.items():
            if to != END and to not in ids:
                problems.error(at, f"step {step.id}: 'next' names the step '{to}', and there is none.{did_you_mean(to, [*ids, END])}")
                known = False
        for to, at in step.wait_places.items():
            if to != END and to not in ids:
                is_past = isinstance(step.wait, DateWait) and step.wait.past == to
                near = did_you_mean(to, [*ids, END, *(PAST_WORDS if is_past else ())])
                problems.error(at, f"step {step.id}: '{'past' if is_past else 'missing'}' names the step '{to}', and there is none.{near}")
                known = False
    return known


def _ways(steps: list[ReadStep], problems: Problems) -> dict[str, Next]:
    """Absent = the step below, unless that one is somebody's target; the last step ends. A step whose way is unknown is left out."""
    targets = {to for step in steps for to in step.next_places}
    ways: dict[str, Next] = {}
    for step, below in zip(steps, [*steps[1:], None], strict=True):
        if step.next is not None:
            ways[step.id] = step.next
        elif step.wrong_next:
            continue
        elif below is None:
            ways[step.id] = Next(branches=(Branch(to=END),))
        elif below.id in targets:
            problems.error(
                step.at,
                f"step {step.id} has no next, and the step below is the target of another one's: write `next: end` or `next: {below.id}`",
            )
        else:
            ways[step.id] = Next(branches=(Branch(to=below.id),))
    return ways


def _check_reached(steps: list[ReadStep], targets: Mapping[str, list[str]], problems: Problems) -> None:
    reached, left = {steps[0].id}, [steps[0].id]
    while left:
        for to in targets[left.pop()]:
            if to != END and to not in reached:
                reached.add(to)
                left.append(to)
    for step in steps:
        if step.id not in reached:
            problems.error(
                step.at, f"step {step.id} is never reached from the first step, {steps[0].id}; name it in a `next`, or take it out"
            )


def _warn_of_bursts(steps: list[ReadStep], ways: Mapping[str, Next], problems: Problems) -> None:
    """Two messages with no time between them: within a step, or in a step that follows without a wait (or whose date may be missing)."""
    by_id = {step.id: step for step in steps}
    for step in steps:
        always = [action for action in step.do if action.kind in _MESSAGES and action.when is None]
        if len(always) > 1:
            problems.warn(step.at, f"step {step.id}: two messages at once ({always[0].id}, {always[1].id}); put a `wait` between them")
        if not any(action.kind in _MESSAGES for action in step.do):
            continue
        seen, left = set[str](), list(ways[step.id].targets())
        while left:
            to = left.pop()
            if to == END or to in seen:
                continue
            seen.add(to)
            if by_id[to].wait is not None:
                left.extend(by_id[to].wait_targets)
            elif any(action.kind in _MESSAGES for action in by_id[to].do):
                problems.warn(by_id[to].at, f"step {to}: sends right after step {step.id} without a wait; give it a `wait`")
            else:
                left.extend(ways[to].targets())
