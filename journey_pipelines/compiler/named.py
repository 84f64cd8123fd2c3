"""What a project names: only what something names is written, watched and told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from journey_pipelines.compiler.relevance import SEGMENT_EVENTS, Relevance, relevance_of
from journey_pipelines.compiler.texts import texts_of
from journey_pipelines.expressions import analyse_text, dependencies
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import (
    ConditionTrigger,
    DateTrigger,
    DateWait,
    EventTrigger,
    EventWait,
    ExitRule,
    Goal,
    ScheduleTrigger,
    SegmentTrigger,
    rule_event,
)
from journey_pipelines.workflows.triggers import condition_segment, enter_event, exit_event

_BUILT_IN = frozenset({"journey.entered", "journey.ended", "webhook.answered", "task.done", *SEGMENT_EVENTS})


#: among named segments: all of them
EVERY = "*"


@dataclass(frozen=True)
class Named:
    """events: built-in types, and those that actions write. segments: whose transitions matter. keys: of profiles that conditions read."""

    events: frozenset[str]
    segments: frozenset[str]
    keys: frozenset[str]


def named_by(definitions: Iterable[Definition], segments: Mapping[str, tuple[str, Mapping[str, str]]]) -> Named:
    """segments: id -> (condition, types) of dynamic ones."""
    events: set[str] = set()
    transitions: set[str] = set()
    watching: list[Relevance] = [relevance_of([when], types) for when, types in segments.values()]
    for definition in definitions:
        events |= _events(definition)
        transitions |= set(_segments(definition))
        watching += _watching(definition)
    for relevance in watching:
        transitions |= relevance.segments
        events |= relevance.event_types & _BUILT_IN
    if events & SEGMENT_EVENTS:
        # whoever names the event without a segment means all of them, also those that nobody declared
        transitions.add(EVERY)
    return Named(frozenset(events), frozenset(transitions), frozenset().union(*(relevance.keys for relevance in watching)))


def _rules(definition: Definition) -> list[Goal | ExitRule]:
    workflow = definition.workflow
    return [*workflow.exit, *([workflow.goal] if workflow.goal else [])]


def _events(definition: Definition) -> set[str]:
    workflow = definition.workflow
    rules = _rules(definition)
    # a rule or a trigger that names a segment needs only that one told
    plain = {rule.event for rule in rules if rule.event} | {t.event for t in workflow.triggers if isinstance(t, EventTrigger)}
    for step in workflow.steps:
        if isinstance(step.wait, EventWait):
            plain.update(step.wait.events)
    found = {name for name in plain if name in _BUILT_IN}
    for text in expressions_of(definition):
        found |= dependencies(text, definition.catalogue).event_types & _BUILT_IN
    for _, action in workflow.actions():
        found |= {name for text in texts_of(action.params) for name in analyse_text(text).event_types if name in _BUILT_IN}
        if action.kind == "emit_event":
            found.add(action.params["type"])
        elif action.kind == "start_workflow":
            found.add(enter_event(action.params["workflow"]))
        elif action.kind == "exit_workflow":
            found.add(exit_event(action.params["workflow"]))
    return found


def _segments(definition: Definition) -> Iterator[str]:
    workflow = definition.workflow
    for trigger in workflow.triggers:
        if isinstance(trigger, SegmentTrigger):
            yield trigger.segment
        elif isinstance(trigger, ConditionTrigger):
            yield condition_segment(workflow.id, trigger.id)
    for rule in _rules(definition):
        if rule.segment:
            yield rule.segment


def _watching(definition: Definition) -> list[Relevance]:
    """What the customer's own changes bring: conditions of rules, dates of triggers and waits."""
    workflow, types = definition.workflow, definition.catalogue
    rules = _rules(definition)
    texts = [rule.when for rule in rules if rule_event(rule) is None]
    dates = [trigger.date for trigger in workflow.triggers if isinstance(trigger, DateTrigger)]
    dates += [step.wait.date for step in workflow.steps if isinstance(step.wait, DateWait)]
    found = [relevance_of([text], types) for text in [*texts, *dates]]
    return [*found, Relevance(keys=frozenset({"timezone"}))] if dates else found


def expressions_of(definition: Definition) -> Iterator[str]:
    """Every condition and value of a workflow, but the texts of its templates."""
    workflow = definition.workflow
    texts: list[str | None] = [workflow.entry.when, workflow.entry.key]
    for trigger in workflow.triggers:
        texts.append(trigger.when)
        match trigger:
            case ConditionTrigger():
                texts.append(trigger.condition)
            case ScheduleTrigger():
                texts.append(trigger.audience)
            case DateTrigger():
                texts.append(trigger.date)
    texts += [rule.when for rule in workflow.exit]
    if workflow.goal:
        texts += [workflow.goal.when, workflow.goal.value]
    for step in workflow.steps:
        match step.wait:
            case EventWait():
                texts.append(step.wait.when)
            case DateWait():
                texts.append(step.wait.date)
        texts += [action.when for action in step.do]
        texts += [branch.when for branch in step.next.branches or ()]
    return (text for text in texts if text)


def in_order(conditions: Mapping[str, str]) -> list[str]:
    """Segments so that each comes after those that its condition names. The reader refuses circles."""
    done: list[str] = []

    def visit(names: Iterable[str], on_way: frozenset[str]) -> None:
        for name in names:
            if name in conditions and name not in done and name not in on_way:
                visit(sorted(dependencies(conditions[name]).segments), on_way | {name})
                done.append(name)

    visit(sorted(conditions), frozenset())
    return done
