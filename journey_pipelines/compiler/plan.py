"""Every statement of one Definition, for `journeys sql` and for deploy's check that all of it compiles.

The engine does not use a whole plan: it compiles the statements a batch needs, when it needs them.
"""

from collections.abc import Iterator

from journey_pipelines.compiler.dates import follow_statement, plan_statement
from journey_pipelines.compiler.entry import entry_statements
from journey_pipelines.compiler.identity import arrival_uid, date_uid, segment_uid, step_uid
from journey_pipelines.compiler.people import round_people
from journey_pipelines.compiler.relevance import relevance_of
from journey_pipelines.compiler.rule_watch import watch_statement, watch_words
from journey_pipelines.compiler.rules import exit_statements, goal_statements
from journey_pipelines.compiler.schedules import tick_statement
from journey_pipelines.compiler.segments import round_statement
from journey_pipelines.compiler.statement import Statement
from journey_pipelines.compiler.step import arrive_statements, step_statements
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.wake import wake_statement
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ConditionTrigger, DateTrigger, DateWait, EventWait, ScheduleTrigger, Trigger
from journey_pipelines.workflows.triggers import condition_segment


def statements(definition: Definition, version: int, around: Surroundings) -> Iterator[Statement]:
    """In the order a round runs them."""
    for rule in (goal_statements(definition, around), exit_statements(definition, around)):
        yield from rule.statements if rule else ()
    for trigger in definition.workflow.triggers:
        if trigger.active:
            yield from _own(definition, trigger, around)
    for step in definition.workflow.steps:
        uid = step_uid(definition, step)
        if isinstance(step.wait, DateWait):
            yield follow_statement(definition, step, uid, around)
        if isinstance(step.wait, EventWait):
            yield wake_statement(definition, step, uid, around)
        if arrival_uid(definition, step) != uid:
            yield arrive_statements(definition, step, arrival_uid(definition, step), around).scan
        yield step_statements(definition, step, uid, around).scan
    entry = entry_statements(definition, version, around)
    for statement in (entry.refresh, entry.restart, entry.enter):
        if statement:
            yield statement
    if words := watch_words(definition):
        yield watch_statement(definition, words | entry.event_types, around)


def _own(definition: Definition, trigger: Trigger, around: Surroundings) -> Iterator[Statement]:
    """What a trigger needs beside the entry: a schedule's audience, a date's plans, a condition's members."""
    types = definition.catalogue
    match trigger:
        case ScheduleTrigger():
            yield tick_statement(definition, trigger, around)
        case DateTrigger():
            people = round_people(relevance_of([trigger.date], types).rows())
            yield plan_statement(definition, trigger, date_uid(definition, trigger), around, people)
        case ConditionTrigger():
            segment_id = condition_segment(definition.workflow.id, trigger.id)
            yield round_statement(segment_id, segment_uid(segment_id, trigger.condition, types), trigger.condition, types, around)
