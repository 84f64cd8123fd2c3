"""A workflow as a Mermaid flowchart: how it is entered, its steps with waits and actions, every way on and back, the goal, the exits."""

from __future__ import annotations

from journey_pipelines.workflows.graph_labels import action_line, goal_line, label, rule_line, trigger_lines, wait_lines
from journey_pipelines.workflows.model import END, DateWait, Next, Step, Workflow
from journey_pipelines.workflows.reading import PAST_WORDS


def mermaid(workflow: Workflow) -> str:
    """The text of the chart, ending in a newline. Labels are escaped: nothing a workflow holds can become Mermaid's or HTML's."""
    lines = ["flowchart TD"]
    first = workflow.steps[0].id
    for number, trigger in enumerate(workflow.triggers):
        lines.append(f"    trigger{number}([{label(*trigger_lines(trigger))}])")
    gate = [workflow.entry.when] if workflow.entry.when else []
    if workflow.entry.existing == "enter":
        gate.append("those already in the segment enter, too")
    target = _node(first)
    if gate:
        lines.append(f"    entry{{{label('entry', *gate)}}}")
        target = "entry"
    lines += [f"    trigger{number} --> {target}" for number in range(len(workflow.triggers))]
    if gate:
        lines.append(f"    entry --> {_node(first)}")
    for step in workflow.steps:
        lines.append(f"    {_node(step.id)}[{label(*_step_lines(step))}]")
    lines.append("    finish(((end)))")
    for step in workflow.steps:
        lines += [f"    {_node(step.id)} {arrow} {_node(to)}" for arrow, to in [*_arrows(step.next), *_date_arrows(step)]]
    if workflow.goal:
        lines.append(f"    goal{{{{{label(goal_line(workflow.goal))}}}}}")
    for number, rule in enumerate(workflow.exit):
        if rule.goal:
            lines.append("    goal -. leaves .-> finish")
        else:
            lines.append(f"    exit{number}[/{label('exit: ' + rule_line(rule))}/] -. leaves .-> finish")
    if workflow.max_age:
        lines.append(f"    max_age[/{label(f'after {workflow.max_age} at the latest')}/] -. leaves .-> finish")
    return "\n".join(lines) + "\n"


def _node(step_id: str) -> str:
    # a prefix, because Mermaid has words of its own: a step may be called graph or end_
    return "finish" if step_id == END else f"s_{step_id}"


def _step_lines(step: Step) -> list[str]:
    return [step.name or step.id, *wait_lines(step.wait), *(action_line(action) for action in step.do)]


def _arrows(way_on: Next) -> list[tuple[str, str]]:
    if way_on.split is not None:
        return [(f"-->|{label(f'{weight:g}%')}|", to) for to, weight in way_on.split.items()]
    branches = way_on.branches or ()
    arrows = []
    for branch in branches:
        said = [branch.when or "else"] if len(branches) > 1 else []
        if branch.max_visits is not None and branch.then is not None:
            arrows.append((f"-->|{label(*said, f'until {branch.max_visits} times there')}|", branch.to))
            arrows.append((f"-->|{label(*said, 'then')}|", branch.then))
        else:
            arrows.append((f"-->|{label(*said)}|" if said else "-->", branch.to))
    return arrows


def _date_arrows(step: Step) -> list[tuple[str, str]]:
    """Where a date that is missing, or gone by, leads."""
    if not isinstance(step.wait, DateWait):
        return []
    past = [(f"-.->|{label('date gone by')}|", step.wait.past)] if step.wait.past not in PAST_WORDS else []
    return [(f"-.->|{label('no date')}|", step.wait.missing), *past]
