"""Which keys of the entry event a workflow needs later: only those go to `journey_context` (engine.md, 20)."""

from collections.abc import Iterator
from typing import Any

from jinja2 import Environment, nodes

from journey_pipelines.expressions.environment import make_environment
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import DateWait, EventWait, ExitRule, Goal, Step, Workflow


def expressions_of_step(step: Step) -> Iterator[str]:
    """Every condition a step's statement evaluates."""
    if isinstance(step.wait, EventWait) and step.wait.when:
        yield step.wait.when
    if isinstance(step.wait, DateWait):
        yield step.wait.date
    for action in step.do:
        if action.when:
            yield action.when
    for branch in step.next.branches or ():
        if branch.when:
            yield branch.when


def event_keys(definition: Definition) -> frozenset[str] | None:
    """Payload keys of the entry event named in expressions, `match`, action parameters and templates after entry.

    None = the whole payload, because some text uses `event` itself.
    """
    workflow = definition.workflow
    environment = make_environment()
    keys: set[str] = set(_matches(workflow))
    for text in (*_templates(definition), *("{{ " + text + " }}" for text in _expressions(workflow))):
        found = _keys_of(environment, text)
        if found is None:
            return None
        keys |= found
    return frozenset(keys - {"type", "occurred_at"})


def uses_event(definition: Definition) -> bool:
    """Whether anything after entry looks at the entry event at all."""
    environment = make_environment()
    workflow = definition.workflow
    texts = (*_templates(definition), *("{{ " + text + " }}" for text in _expressions(workflow)))
    return any(True for _ in _matches(workflow)) or any(_keys_of(environment, text) != set() for text in texts)


def _keys_of(environment: Environment, template: str) -> set[str] | None:
    tree = environment.parse(template)
    uses = sum(1 for name in tree.find_all(nodes.Name) if name.name == "event")
    keys = [n.attr for n in tree.find_all(nodes.Getattr) if isinstance(n.node, nodes.Name) and n.node.name == "event"]
    for item in tree.find_all(nodes.Getitem):
        if isinstance(item.node, nodes.Name) and item.node.name == "event" and isinstance(item.arg, nodes.Const):
            keys.append(str(item.arg.value))
    return set(keys) if len(keys) == uses else None


def _expressions(workflow: Workflow) -> Iterator[str]:
    for step in workflow.steps:
        yield from expressions_of_step(step)
    for rule in _rules(workflow):
        if rule.when:
            yield rule.when
    if workflow.goal and workflow.goal.value:
        yield workflow.goal.value


def _rules(workflow: Workflow) -> Iterator[ExitRule | Goal]:
    yield from workflow.exit
    if workflow.goal:
        yield workflow.goal


def _templates(definition: Definition) -> Iterator[str]:
    yield from definition.templates.values()
    yield from texts_of([action.params for _, action in definition.workflow.actions()])


def _matches(workflow: Workflow) -> Iterator[str]:
    for rule in _rules(workflow):
        if rule.match:
            yield rule.match
    for step in workflow.steps:
        if isinstance(step.wait, EventWait) and step.wait.match:
            yield step.wait.match


def texts_of(value: Any) -> Iterator[str]:
    """Every text in an action's parameters."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from texts_of(item)
        case list() | tuple():
            for item in value:
                yield from texts_of(item)
