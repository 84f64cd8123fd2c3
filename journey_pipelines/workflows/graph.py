"""A workflow as a Mermaid flowchart: triggers, waits, actions, branches, splits with their weights, exits and the goal."""

from __future__ import annotations

from journey_pipelines.workflows.model import END, Action, AfterWait, EventWait, ExitRule, Goal, Next, Step, Workflow

_MAX_LABEL = 90


def mermaid(workflow: Workflow) -> str:
    """The text of the chart, ending in a newline. Labels are escaped: nothing a workflow holds can become Mermaid's or HTML's."""
    lines = ["flowchart TD"]
    first = workflow.steps[0].id
    for number, trigger in enumerate(workflow.triggers):
        event = f"event: {trigger.event}" if trigger.active else f"event: {trigger.event} (inactive)"
        parts = [event, f"when {trigger.when}"] if trigger.when else [event]
        lines.append(f"    trigger{number}([{_label(*parts)}])")
    if workflow.entry.when:
        lines.append(f"    entry{{{_label('entry', workflow.entry.when)}}}")
        lines += [f"    trigger{number} --> entry" for number in range(len(workflow.triggers))]
        lines.append(f"    entry --> {_node(first)}")
    else:
        lines += [f"    trigger{number} --> {_node(first)}" for number in range(len(workflow.triggers))]
    for step in workflow.steps:
        lines.append(f"    {_node(step.id)}[{_label(*_step_lines(step))}]")
    lines.append("    finish(((end)))")
    for step in workflow.steps:
        lines += [f"    {_node(step.id)} {arrow} {_node(to)}" for arrow, to in _arrows(step.next)]
    if workflow.goal:
        lines.append(f"    goal{{{{{_label('goal: ' + _rule(workflow.goal))}}}}}")
    for number, rule in enumerate(workflow.exit):
        if rule.goal:
            lines.append("    goal -. leaves .-> finish")
        else:
            lines.append(f"    exit{number}[/{_label('exit: ' + _rule(rule))}/] -. leaves .-> finish")
    return "\n".join(lines) + "\n"


def _node(step_id: str) -> str:
    # a prefix, because Mermaid has words of its own: a step may be called graph or end_
    return "finish" if step_id == END else f"s_{step_id}"


def _step_lines(step: Step) -> list[str]:
    lines = [step.name or step.id]
    match step.wait:
        case AfterWait(after=after):
            lines.append(f"wait {after}")
        case EventWait() as wait:
            match = f" of the same {wait.match}" if wait.match else ""
            lines.append(f"wait for {' or '.join(wait.events)}{match}, at most {wait.timeout}")
            if wait.when:
                lines.append(f"when {wait.when}")
    lines += [_action(action) for action in step.do]
    return lines


def _action(action: Action) -> str:
    params = action.params
    detail = params.get("template") or params.get("segment") or params.get("title") or params.get("text") or params.get("url")
    what = f"{action.kind}: {detail}" if detail else action.kind
    return f"{what} (when {action.when})" if action.when else what


def _arrows(way_on: Next) -> list[tuple[str, str]]:
    if way_on.split is not None:
        return [(f"-->|{_label(f'{weight:g}%')}|", to) for to, weight in way_on.split.items()]
    branches = way_on.branches or ()
    if len(branches) == 1:
        return [("-->", branches[0].to)]
    return [(f"-->|{_label(branch.when or 'else')}|", branch.to) for branch in branches]


def _rule(rule: ExitRule | Goal) -> str:
    match = f" of the same {rule.match}" if rule.match else ""
    when = f" when {rule.when}" if rule.when else ""
    return f"{rule.event}{match}{when}"


def _label(*lines: str) -> str:
    """A quoted label; Mermaid reads entities as #name; or #number; inside quotes."""
    return '"' + "<br>".join(_escaped(_shortened(line)) for line in lines) + '"'


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_LABEL else line[: _MAX_LABEL - 1] + "…"


def _escaped(text: str) -> str:
    # everything but letters, digits and a few harmless signs, so that no markdown, HTML or chart syntax is left
    return "".join(c if c.isalnum() or c in " .,:_-/%()'=+!?…@" else f"#{ord(c)};" for c in text)
