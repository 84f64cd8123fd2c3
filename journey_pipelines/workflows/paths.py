"""The ways through a workflow: resolves an absent `next`, and checks that every step is reached, every way ends, and none goes round."""

from __future__ import annotations

from collections.abc import Iterable

from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.model import END, Branch, Next, Step
from journey_pipelines.workflows.problems import Problems
from journey_pipelines.workflows.reading import ReadStep

_MESSAGES = frozenset({"send_email", "send_sms", "send_push"})


def resolve_steps(steps: list[ReadStep], problems: Problems) -> tuple[Step, ...] | None:
    """Steps with their way on filled in, or None where something about them is wrong (said in `problems`)."""
    if not steps:
        return None
    before = problems.errors
    ids = [step.id for step in steps]
    _check_targets(steps, ids, problems)
    ways = _ways(steps, problems)
    if problems.errors > before or ways is None:
        return None
    resolved = tuple(
        Step(id=step.id, name=step.name, position=step.position, wait=step.wait, do=step.do, next=ways[step.id]) for step in steps
    )
    _check_loops(steps, ways, problems)
    _check_reached(steps, ways, problems)
    if problems.errors > before:
        return None
    _warn_of_bursts(steps, ways, problems)
    return resolved


def _check_targets(steps: Iterable[ReadStep], ids: list[str], problems: Problems) -> None:
    for step in steps:
        for to, at in step.next_places.items():
            if to != END and to not in ids:
                near = did_you_mean(to, [*ids, END])
                problems.error(at, f"step {step.id}: 'next' names the step '{to}', and there is none.{near}")


def _ways(steps: list[ReadStep], problems: Problems) -> dict[str, Next] | None:
    """Absent = the step below, unless that one is somebody's target; the last step ends."""
    targets = {to for step in steps for to in step.next_places}
    ways: dict[str, Next] = {}
    complete = True
    for step, below in zip(steps, [*steps[1:], None], strict=True):
        if step.next is not None:
            ways[step.id] = step.next
        elif step.wrong_next:
            complete = False
        elif below is None:
            ways[step.id] = Next(branches=(Branch(to=END),))
        elif below.id in targets:
            problems.error(
                step.at,
                f"step {step.id} has no next, and the step below is the target of another one's: write `next: end` or `next: {below.id}`",
            )
        else:
            ways[step.id] = Next(branches=(Branch(to=below.id),))
    return ways if complete else None


def _check_loops(steps: list[ReadStep], ways: dict[str, Next], problems: Problems) -> None:
    """Depth first; a step that is met again on its own way closes a loop. Without loops every way ends."""
    done: set[str] = set()
    for start in steps:
        way: list[tuple[str, list[str]]] = [(start.id, ways[start.id].targets())] if start.id not in done else []
        while way:
            step_id, left = way[-1]
            if not left:
                done.add(step_id)
                way.pop()
                continue
            to = left.pop(0)
            on_way = [name for name, _ in way]
            if to in on_way:
                source = next(step for step in steps if step.id == step_id)
                circle = " -> ".join([*on_way[on_way.index(to) :], to])
                problems.error(
                    source.next_places.get(to, source.at),
                    f"step {step_id}: a loop ({circle}); a journey goes forward only: repeat the steps under other ids, "
                    "or end and let the next event start a new journey",
                )
            elif to != END and to not in done:
                way.append((to, ways[to].targets()))


def _check_reached(steps: list[ReadStep], ways: dict[str, Next], problems: Problems) -> None:
    reached, left = {steps[0].id}, [steps[0].id]
    while left:
        for to in ways[left.pop()].targets():
            if to != END and to not in reached:
                reached.add(to)
                left.append(to)
    for step in steps:
        if step.id not in reached:
            problems.error(
                step.at, f"step {step.id} is never reached from the first step, {steps[0].id}; name it in a `next`, or take it out"
            )


def _warn_of_bursts(steps: list[ReadStep], ways: dict[str, Next], problems: Problems) -> None:
    """Two messages with no time between them: within a step, or in a step that follows without a wait."""
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
            if to == END or to in seen or by_id[to].wait is not None:
                continue
            seen.add(to)
            if any(action.kind in _MESSAGES for action in by_id[to].do):
                problems.warn(by_id[to].at, f"step {to}: sends right after step {step.id} without a wait; give it a `wait`")
            else:
                left.extend(ways[to].targets())
