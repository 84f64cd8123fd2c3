"""Every statement of one Definition, for `journeys sql` and for deploy's check that all of it compiles.

The engine does not use a whole plan: it compiles the statements a batch needs, when it needs them.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from journey_pipelines.compiler.entry import entry_statements
from journey_pipelines.compiler.identity import arrival_uid, step_uid
from journey_pipelines.compiler.rules import exit_statements, goal_statements
from journey_pipelines.compiler.statement import Statement
from journey_pipelines.compiler.step import arrive_statements, step_statements
from journey_pipelines.compiler.wake import wake_statement
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import EventWait


def statements(definition: Definition, version: int, *, brand: Mapping[str, Any], expires: Mapping[str, timedelta]) -> Iterator[Statement]:
    """In the order a round runs them. `expires` is the policies' life of an unsent message by category."""
    for rule in (goal_statements(definition, brand), exit_statements(definition, brand)):
        yield from rule.statements if rule else ()
    for step in definition.workflow.steps:
        uid = step_uid(definition, step)
        if isinstance(step.wait, EventWait):
            yield wake_statement(definition, step, uid, brand)
        if arrival_uid(definition, step) != uid:
            yield arrive_statements(definition, step, arrival_uid(definition, step), brand).scan
        yield step_statements(definition, step, uid, brand, expires).scan
    entry = entry_statements(definition, version, brand)
    for statement in (entry.refresh, entry.restart, entry.enter):
        if statement:
            yield statement
