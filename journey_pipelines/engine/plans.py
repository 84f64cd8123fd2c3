"""The deployed workflows as the engine uses them: which statement for which event, step and journey, compiled on first use.

Read from the database alone: what deploy wrote. A worker with 200 workflows compiles only what its batches need.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.entry import EntryStatements, entry_statements
from journey_pipelines.compiler.rules import RuleStatements, exit_statements, goal_statements
from journey_pipelines.compiler.statement import Statement
from journey_pipelines.compiler.step import StepStatements, arrive_statements, step_statements
from journey_pipelines.compiler.wake import wake_statement
from journey_pipelines.engine.policies import message_lives, stored_policies
from journey_pipelines.store.tables import automation_workflows, deployment, engine_identity, interests, workflow_steps
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.project import Policies


@dataclass(frozen=True)
class _Place:
    """Where a uid stands: any version that holds it will do, they share the text."""

    workflow_id: str
    version: int
    step_key: str
    arriving: bool


@dataclass
class Plans:
    """One generation of what is deployed."""

    generation: int
    policies: Policies | None
    salt: str
    documents: dict[tuple[str, int], Any]
    places: dict[int, _Place]
    #: (kind, event type) -> [(uid, workflow, versions)]
    interested: dict[tuple[str, str], list[tuple[int, str, list[int]]]]
    _compiled: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def brand(self) -> Mapping[str, Any]:
        """`brand.*` of the policies."""
        return self.policies.brand if self.policies else {}

    @cached_property
    def default_zone(self) -> str:
        """The zone of people whose profile names none."""
        return self.policies.zone if self.policies else "UTC"

    @cached_property
    def expires(self) -> dict[str, timedelta]:
        """Life of an unsent message by category."""
        return message_lives(self.policies)

    def definition(self, workflow_id: str, version: int) -> Definition:
        """The stored definition of a version."""
        key = ("definition", workflow_id, version)
        if key not in self._compiled:
            self._compiled[key] = Definition.model_validate(self.documents[workflow_id, version])
        found: Definition = self._compiled[key]
        return found

    def step(self, uid: int) -> StepStatements | None:
        """The advance (or arrival) statements of the journeys that carry this uid; None where no version holds it."""
        place = self.places.get(uid)
        if place is None:
            return None
        if ("step", uid) not in self._compiled:
            definition = self.definition(place.workflow_id, place.version)
            step = definition.workflow.step(place.step_key)
            self._compiled["step", uid] = (
                arrive_statements(definition, step, uid, self.brand)
                if place.arriving
                else step_statements(definition, step, uid, self.brand, self.expires)
            )
        found: StepStatements = self._compiled["step", uid]
        return found

    def wake(self, uid: int) -> Statement:
        """The wake of the journeys parked at the step with this uid."""
        if ("wake", uid) not in self._compiled:
            place = self.places[uid]
            definition = self.definition(place.workflow_id, place.version)
            self._compiled["wake", uid] = wake_statement(definition, definition.workflow.step(place.step_key), uid, self.brand)
        found: Statement = self._compiled["wake", uid]
        return found

    def wakes(self, event_type: str) -> list[int]:
        """Uids of the wait steps that an event of this type may wake."""
        return [uid for uid, _, _ in self.interested.get(("wake", event_type), [])]

    def rules(self, kind: str, event_type: str) -> list[tuple[int, RuleStatements, list[int]]]:
        """Goal or exit statements for an event type, with the versions they are for."""
        found = []
        for uid, workflow_id, versions in self.interested.get((kind, event_type), []):
            if (kind, uid) not in self._compiled:
                definition = self.definition(workflow_id, versions[-1])
                compile_rule = goal_statements if kind == "goal" else exit_statements
                self._compiled[kind, uid] = compile_rule(definition, self.brand)
            statements: RuleStatements | None = self._compiled[kind, uid]
            if statements is not None:
                found.append((uid, statements, versions))
        return found

    def entries(self, event_type: str) -> list[tuple[str, EntryStatements]]:
        """The current versions that an event of this type may enter, by workflow id."""
        found = []
        for _, workflow_id, versions in self.interested.get(("entry", event_type), []):
            key = ("entry", workflow_id)
            if key not in self._compiled:
                self._compiled[key] = entry_statements(self.definition(workflow_id, versions[-1]), versions[-1], self.brand)
            found.append((workflow_id, self._compiled[key]))
        return sorted(found, key=lambda pair: pair[0])


def generation(conn: sa.Connection) -> int:
    """Grows with each deploy."""
    return int(conn.execute(sa.select(deployment.c.generation)).scalar_one())


def load_plans(conn: sa.Connection) -> Plans:
    """Read what is deployed; compiles nothing yet."""
    row = conn.execute(sa.select(deployment.c.generation, deployment.c.policies)).one()
    w, s, i = automation_workflows, workflow_steps, interests
    documents = {(r.id, r.version): r.definition for r in conn.execute(sa.select(w.c.id, w.c.version, w.c.definition))}
    places: dict[int, _Place] = {}
    for r in conn.execute(sa.select(s.c.workflow_id, s.c.version, s.c.step_key, s.c.step_uid, s.c.entry_uid).order_by(s.c.version)):
        places[r.step_uid] = _Place(r.workflow_id, r.version, r.step_key, arriving=False)
        if r.entry_uid != r.step_uid:
            places[r.entry_uid] = _Place(r.workflow_id, r.version, r.step_key, arriving=True)
    interested: dict[tuple[str, str], list[tuple[int, str, list[int]]]] = {}
    for r in conn.execute(sa.select(i).order_by(i.c.workflow_id, i.c.statement_uid)):
        interested.setdefault((r.kind, r.event_type), []).append((r.statement_uid, r.workflow_id, sorted(r.versions)))
    salt = conn.execute(sa.select(engine_identity.c.message_salt)).scalar_one()
    return Plans(row.generation, stored_policies(row.policies), salt, documents, places, interested)
