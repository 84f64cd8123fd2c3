"""Ways back: a circle is legal where it takes time and is counted, so that a journey neither spins nor stays for ever."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from journey_pipelines.workflows.model import AfterWait, EventWait, Next
from journey_pipelines.workflows.problems import Place, Problems
from journey_pipelines.workflows.reading import ReadStep

Ways = Mapping[str, list[str]]


def check_loops(steps: list[ReadStep], ways: Mapping[str, Next], targets: Ways, problems: Problems) -> None:
    """Every circle has an edge with `max_visits`, and a step whose wait takes time; a cap stands where it can count.

    `targets`: step -> everywhere it can lead. Without its capped edges the graph has no circle, so every way ends.
    """
    ids = {step.id for step in steps}
    graph = {step: [to for to in tos if to in ids] for step, tos in targets.items()}
    by_id = {step.id: step for step in steps}
    free = {step: [to for to in tos if not _is_capped(step, to, ways, by_id[step])] for step, tos in graph.items()}
    uncapped = set()
    for circle in circles(free):
        uncapped.add(frozenset(circle))
        problems.error(_place(circle, by_id), _no_cap(circle, by_id, ways))
    timeless = {step: [to for to in tos if not takes_time(by_id[to])] for step, tos in graph.items()}
    for circle in circles(timeless):
        if frozenset(circle) not in uncapped:
            problems.error(_place(circle, by_id), _no_time(circle, by_id))
    round_trip = oncircles(graph)
    first = steps[0].id
    for step in steps:
        for branch in (ways[step.id].branches or ()) if step.id in ways else ():
            at = step.caps.get((branch.to, branch.then or ""))
            if at is None or branch.to not in ids:
                continue
            if branch.to not in round_trip:
                problems.warn(at, f"step {step.id}: 'max_visits' counts nothing: no way leads back to {branch.to}; write `to` alone")
            elif branch.max_visits == 1 and step.id not in _reached(graph, first, without=branch.to):
                problems.error(
                    at, f"step {step.id}: 'max_visits: 1' never lets anybody back: who comes here was at {branch.to} once; write 2 or more"
                )


def takes_time(step: ReadStep) -> bool:
    """Whether a step can hold a loop back: at the second visit, too, its wait is not over the moment it begins."""
    match step.wait:
        case AfterWait() as wait:
            return bool(wait.after) or wait.until is not None
        case EventWait() as wait:
            return wait.since == "step"
    # what could not be read is said elsewhere
    return step.wrong_wait


def may_return(steps: list[ReadStep]) -> set[str]:
    """The steps that a journey can come back to, as far as could be read."""
    graph = {step.id: [*step.next_places, *step.wait_places] for step in steps}
    for step, below in itertools.pairwise(steps):
        if step.next is None:
            graph[step.id].append(below.id)
    return oncircles({step: [to for to in tos if to in graph] for step, tos in graph.items()})


def oncircles(graph: Ways) -> set[str]:
    return {step for step in graph if step in _reached(graph, *graph[step])}


def _is_capped(step: str, to: str, ways: Mapping[str, Next], read: ReadStep) -> bool:
    """Whether every way from a step to another is counted: one that is not makes the others' caps worth nothing."""
    if to in read.wait_targets or step not in ways:
        return False
    way_on = ways[step]
    edges = [branch for branch in way_on.branches or () if to in (branch.to, branch.then)]
    return bool(edges) and all(branch.to == to and branch.max_visits is not None for branch in edges)


def circles(graph: Ways) -> Iterator[list[str]]:
    """Depth first; a step that is met again on its own way closes a circle: [a, b] for a -> b -> a. Each way back is told once."""
    done: set[str] = set()
    for start in graph:
        way: list[tuple[str, list[str]]] = [(start, list(graph[start]))] if start not in done else []
        while way:
            step, left = way[-1]
            if not left:
                done.add(step)
                way.pop()
                continue
            to = left.pop(0)
            on_way = [name for name, _ in way]
            if to in on_way:
                yield on_way[on_way.index(to) :]
            elif to not in done:
                way.append((to, list(graph[to])))


def _place(circle: list[str], by_id: Mapping[str, ReadStep]) -> Place:
    """Where the last step of a circle names the first."""
    last = by_id[circle[-1]]
    return last.next_places.get(circle[0]) or last.wait_places.get(circle[0]) or last.at


def _no_cap(circle: list[str], by_id: Mapping[str, ReadStep], ways: Mapping[str, Next]) -> str:
    back, last = circle[0], circle[-1]
    way = " -> ".join([*circle, back])
    if back in by_id[last].wait_targets:
        return f"step {last}: a loop ({way}) through its wait, which cannot be counted; lead to a step outside of it, or to `end`"
    if any(branch.to == back and branch.max_visits for branch in (ways[last].branches or ()) if last in ways):
        return f"step {last}: a loop ({way}): one way back is counted and another is not; give each `max_visits` and `then`"
    return (
        f"step {last}: a loop ({way}) that nothing ends; say how often and where to then: `to: {back}` with `max_visits: 3` and `then: end`"
    )


def _no_time(circle: list[str], by_id: Mapping[str, ReadStep]) -> str:
    way = " -> ".join([*circle, circle[0]])
    waits = [step for step in circle if by_id[step].wait is not None]
    if waits:
        return (
            f"step {circle[-1]}: a loop ({way}) whose wait, of step {waits[0]}, may be over at once; "
            f"a loop needs one with `after`, `until` or `for` (since: step)"
        )
    return f"step {circle[-1]}: a loop ({way}) without a wait, so all of its rounds are made at once; give one of its steps a `wait`"


def _reached(graph: Ways, *starts: str, without: str | None = None) -> set[str]:
    found: set[str] = set()
    left = list(starts)
    while left:
        step = left.pop()
        if step not in found and step != without:
            found.add(step)
            left.extend(graph[step])
    return found
