"""Identities of statements, and the rows deploy writes so that the engine finds them: `workflow_steps`, `interests`.

A uid is a hash of what a statement is compiled from, defaults left out: ten versions share the statements of what did not
change, and a field added to the language later changes no uid. Targets count by name, not by content (loops!). The engine
takes uids from the tables, never from here: a journey parked years ago finds its statement.
"""

from collections.abc import Collection, Mapping
from typing import Any

from journey_pipelines.compiler.candidates import trigger_events
from journey_pipelines.compiler.facts import exit_conditions
from journey_pipelines.compiler.relevance import key_word, relevance_of
from journey_pipelines.compiler.rule_uids import content_of, exit_uid, goal_uid, stepwise
from journey_pipelines.compiler.rule_watch import watch_words
from journey_pipelines.compiler.rules import exit_words, goal_words
from journey_pipelines.compiler.statement import uid_of
from journey_pipelines.compiler.waits import arrives, wait_row
from journey_pipelines.workflows.definition import Definition, canonical_json
from journey_pipelines.workflows.model import DateTrigger, DateWait, EventWait, Step
from journey_pipelines.workflows.triggers import enter_event


def step_uid(definition: Definition, step: Step) -> int:
    """The advance statement of a step."""
    workflow = definition.workflow
    around: dict[str, Any] = {
        "workflow": workflow.id,
        "category": workflow.category,
        "topic": workflow.topic,
        "priority": workflow.priority,
    }
    if workflow.max_age is not None:
        around["max_age"] = str(workflow.max_age)
    if exits := exit_conditions(workflow):
        around["exits"] = [rule.when for rule in exits]
    if stepwise(definition):
        around["watched"] = str(exit_uid(definition))
    return uid_of("step", canonical_json(around), content_of(step), canonical_json(definition.catalogue))


def arrival_uid(definition: Definition, step: Step) -> int:
    """The statement for a journey that has just arrived, where the step needs one of its own; else the step's."""
    uid = step_uid(definition, step)
    return uid_of("arrive", str(uid)) if arrives(step) else uid


def entry_uid(definition: Definition) -> int:
    """The entry statements of a workflow: one set, that of its current version."""
    return uid_of("entry", definition.workflow.id)


def step_rows(definition: Definition, version: int) -> list[dict[str, Any]]:
    """Rows of `workflow_steps` for a version."""
    return [
        {
            "workflow_id": definition.workflow.id,
            "version": version,
            "step_key": step.id,
            "position": position,
            "step_uid": step_uid(definition, step),
            "entry_uid": arrival_uid(definition, step),
            **wait_row(step),
        }
        for position, step in enumerate(definition.workflow.steps)
    ]


def interest_rows(
    definition: Definition, uids: Mapping[str, int], *, current: bool, entering: Collection[str] = ()
) -> list[dict[str, Any]]:
    """(event_type, kind, statement_uid, workflow_id) of a version; only the current one has entries and plans dates.

    uids: those of its steps, as `workflow_steps` has them. entering: the event types that enter the workflow, or start journeys of an
    earlier version again.
    """
    workflow = definition.workflow
    found: list[tuple[str, int, set[str]]] = [
        ("wake", uids[step.id], set(step.wait.events)) for step in workflow.steps if isinstance(step.wait, EventWait)
    ]
    found += [
        ("follow", uids[step.id], relevance_of([step.wait.date], definition.catalogue).with_keys("timezone").words())
        for step in workflow.steps
        if isinstance(step.wait, DateWait)
    ]
    if workflow.goal:
        found.append(("goal", goal_uid(definition), goal_words(definition)))
    found.append(("exit", exit_uid(definition), exit_words(definition)))
    if words := watch_words(definition):
        found.append(("watch", exit_uid(definition), words | set(entering)))
    if current:
        active = [trigger for trigger in workflow.triggers if trigger.active]
        found.append(("entry", entry_uid(definition), trigger_events(workflow, active)))
        found += [("date", date_uid(definition, t), date_words(definition, t)) for t in active if isinstance(t, DateTrigger)]
    return [
        {"event_type": event_type, "kind": kind, "statement_uid": uid, "workflow_id": workflow.id}
        for kind, uid, types in found
        for event_type in sorted(types)
    ]


def date_uid(definition: Definition, trigger: DateTrigger) -> int:
    """The statement that plans a date trigger."""
    return uid_of("date", definition.workflow.id, content_of(trigger), canonical_json(definition.catalogue))


def date_words(definition: Definition, trigger: DateTrigger) -> set[str]:
    """What makes a date worth planning again: what its expression reads, the zone, and, each year, the date itself."""
    words = relevance_of([trigger.date], definition.catalogue).words() | {key_word("timezone")}
    return words | ({enter_event(definition.workflow.id)} if trigger.yearly else set())


def segment_uid(segment_id: str, when: str, types: Mapping[str, str]) -> int:
    """The statement that tells who is in a dynamic segment."""
    return uid_of("segment", segment_id, when, canonical_json(dict(types)))
