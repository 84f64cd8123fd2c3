"""Identities of a version's goal and exits, and what time alone may do to them (see `rule_watch`).

A uid is a hash of what the statements are compiled from; versions that wrote their rules the same way share it.
"""

from __future__ import annotations

from functools import lru_cache

from journey_pipelines.compiler.statement import uid_of
from journey_pipelines.expressions import Dependencies, dependencies
from journey_pipelines.workflows.definition import Definition, canonical_json
from journey_pipelines.workflows.model import ExitRule, Goal, Model, rule_event

Rule = Goal | ExitRule


def content_of(model: Model) -> str:
    """What a part of a workflow does, as text: defaults, names and positions left out."""
    content = model.model_dump(mode="json", exclude_defaults=True, exclude={"name", "position"})
    for action in content.get("do", ()):
        action.pop("name", None)
    return canonical_json(content)


def exit_uid(definition: Definition) -> int:
    """The statements of all exit rules together; a rule `goal` holds what the goal says."""
    workflow = definition.workflow
    rules = [content_of(rule) for rule in workflow.exit]
    goal = content_of(workflow.goal) if workflow.goal else ""
    return uid_of("exit", workflow.id, *rules, goal, canonical_json(definition.catalogue))


def goal_uid(definition: Definition) -> int:
    """The goal's statement. One that time alone may reach is looked at together with the exits, so it is one with them."""
    goal = definition.workflow.goal
    assert goal is not None
    watched = [str(exit_uid(definition))] if timed_rules(definition, [goal]) else []
    return uid_of("goal", definition.workflow.id, content_of(goal), canonical_json(definition.catalogue), *watched)


def is_condition(rule: Rule) -> bool:
    """`when` alone: looked at when the customer changes or time passes, not when an event comes."""
    return rule_event(rule) is None and rule.when is not None


def rules_of(definition: Definition) -> list[Rule]:
    """The goal, and the exits that are not the goal."""
    workflow = definition.workflow
    return [*([workflow.goal] if workflow.goal else []), *(rule for rule in workflow.exit if not rule.goal)]


@lru_cache(1024)
def hangs_on(condition: str) -> Dependencies:
    """What a condition's truth depends on; asked for each step of each workflow of a project, so it is kept."""
    return dependencies(condition)


def timed_rules(definition: Definition, rules: list[Rule] | None = None) -> list[Rule]:
    """Those of `rules` (all of the workflow's) that time alone may make true."""
    conditions = [rule for rule in (rules_of(definition) if rules is None else rules) if is_condition(rule)]
    return [rule for rule in conditions if hangs_on(rule.when or "").timed]


def stepwise(definition: Definition) -> bool:
    """Whether what time alone does to a rule is another thing at each step: each arrival at a step looks again when that will be."""
    return any(hangs_on(rule.when or "").of_step for rule in timed_rules(definition))
