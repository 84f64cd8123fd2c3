"""The deployed workflows as the engine uses them: which statement for which event, step and journey, compiled on first use.

Read from the database alone: what deploy wrote. A worker with 200 workflows compiles only what its batches need.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.actions import written_keys
from journey_pipelines.compiler.dates import follow_statement, plan_statement
from journey_pipelines.compiler.entry import EntryStatements, entry_statements
from journey_pipelines.compiler.identity import date_uid
from journey_pipelines.compiler.named import EVERY, in_order
from journey_pipelines.compiler.people import round_people, shard_people
from journey_pipelines.compiler.relevance import relevance_of
from journey_pipelines.compiler.rule_uids import stepwise
from journey_pipelines.compiler.rule_watch import watch_statement
from journey_pipelines.compiler.rules import RuleStatements, exit_statements, goal_statements
from journey_pipelines.compiler.schedules import existing_statement, tick_statement
from journey_pipelines.compiler.segments import build_statement, round_statement
from journey_pipelines.compiler.statement import Statement
from journey_pipelines.compiler.step import StepStatements, arrive_statements, step_statements
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.wake import wake_statement
from journey_pipelines.engine.calendar import Calendar, Scheduled
from journey_pipelines.engine.completed import closes_at
from journey_pipelines.engine.policies import message_lives, stored_policies
from journey_pipelines.store.moment_tables import segments
from journey_pipelines.store.tables import automation_workflows, deployment, engine_identity, interests, workflow_steps
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import DateTrigger, ScheduleTrigger, SegmentTrigger
from journey_pipelines.workflows.project import Policies
from journey_pipelines.workflows.triggers import enter_event


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
    named: frozenset[str] = frozenset()
    named_segments: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()
    #: dynamic segments: id -> (uid, condition, types of the attributes it reads)
    segments: dict[str, tuple[int, str, dict[str, str]]] = field(default_factory=dict)
    scheduled: list[Scheduled] = field(default_factory=list)
    #: active workflows with `runs`
    ending: tuple[str, ...] = ()
    #: workflow -> its current version
    versions: dict[str, int] = field(default_factory=dict)
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
    def around(self) -> Surroundings:
        """What statements are compiled with beside their definition."""
        return Surroundings(self.brand, message_lives(self.policies), self.named, self.named_segments, self.watched)

    @cached_property
    def effects(self) -> bool:
        """Whether anything deployed can tell the rest of the engine something: then order within a customer matters to the step."""
        kinds = {kind for kind, _ in self.interested}
        return bool(self.named or self.named_segments or self.watched or kinds & {"segment", "date", "follow", "watch"})

    @cached_property
    def has_moments(self) -> bool:
        """Whether conditions or dates write down when they are to be looked at."""
        return any(kind in ("segment", "date", "watch") for kind, _ in self.interested)

    @cached_property
    def emitting(self) -> list[int]:
        """Uids of the steps whose journeys can tell something as they advance."""
        everybody = "journey.ended" in self.named
        return sorted(uid for uid, place in self.places.items() if not place.arriving and (everybody or self._tells(place)))

    @cached_property
    def _stepwise(self) -> set[tuple[str, int]]:
        """(workflow, version) whose arrivals at steps are looked at (`rule_watch`)."""
        watched = {
            (row[1], version) for (kind, _), rows in self.interested.items() if kind == "watch" for row in rows for version in row[2]
        }
        return {one for one in watched if stepwise(self.definition(*one))}

    def _tells(self, place: _Place) -> bool:
        if (place.workflow_id, place.version) in self._stepwise:
            return True
        steps = self.documents[place.workflow_id, place.version]["workflow"]["steps"]
        return any(self._is_effect(action) for step in steps if step["id"] == place.step_key for action in step["do"])

    def _is_effect(self, action: Mapping[str, Any]) -> bool:
        params = action["params"]
        match action["kind"]:
            case "emit_event" | "start_workflow" | "exit_workflow":
                return True
            case "update_profile":
                return not written_keys(params).isdisjoint(self.watched)
            case "add_to_segment" | "remove_from_segment":
                return params["segment"] in self.named_segments or EVERY in self.named_segments
        return False

    @cached_property
    def calendar(self) -> Calendar:
        """The ticks of the schedules of active workflows."""
        return Calendar(tuple(self.scheduled))

    @cached_property
    def closing(self) -> dict[str, datetime]:
        """Active workflows whose time ends, and when."""
        found = {workflow_id: closes_at(self.current(workflow_id).workflow) for workflow_id in self.ending}
        return {workflow_id: at for workflow_id, at in found.items() if at is not None}

    def watches(self, kind: str, words: Iterable[str]) -> list[Statement]:
        """kind segment, date or follow: the statements that words (see `compiler.relevance`) bring, each once, in an order that does not
        depend on who else is in the round: a segment after those that it names.
        """
        found = {uid: (ref, versions) for word in words for uid, ref, versions in self.interested.get((kind, word), [])}
        ordered = sorted(found, key=lambda uid: (self._rank.get(found[uid][0], 0), found[uid][0], uid))
        return [self._watch(kind, uid, *found[uid]) for uid in ordered]

    @cached_property
    def _rank(self) -> dict[str, int]:
        return {name: n for n, name in enumerate(in_order({ref: found[1] for ref, found in self.segments.items()}))}

    def _watch(self, kind: str, uid: int, ref: str, versions: list[int]) -> Statement:
        if (kind, uid) not in self._compiled:
            self._compiled[kind, uid] = self._compile_watch(kind, uid, ref, versions)
        found: Statement = self._compiled[kind, uid]
        return found

    def _compile_watch(self, kind: str, uid: int, ref: str, versions: list[int]) -> Statement:
        if kind == "segment":
            uid, when, types = self.segments[ref]
            return round_statement(ref, uid, when, types, self.around)
        definition = self.definition(ref, versions[-1])
        if kind == "follow":
            return follow_statement(definition, definition.workflow.step(self.places[uid].step_key), uid, self.around)
        trigger = self.date_trigger(definition, uid)
        yearly = [enter_event(ref)] if trigger.yearly else []
        people = round_people(relevance_of([trigger.date], definition.catalogue).with_keys("timezone").rows(*yearly))
        return plan_statement(definition, trigger, uid, self.around, people, in_round=True)

    def tick(self, workflow_id: str, trigger_id: str) -> Statement:
        """What asks a schedule's audience in."""
        if ("tick", workflow_id, trigger_id) not in self._compiled:
            definition = self.current(workflow_id)
            trigger = next(t for t in definition.workflow.triggers if t.id == trigger_id)
            assert isinstance(trigger, ScheduleTrigger)
            self._compiled["tick", workflow_id, trigger_id] = tick_statement(definition, trigger, self.around)
        found: Statement = self._compiled["tick", workflow_id, trigger_id]
        return found

    def build(self, kind: str, ref: str) -> Statement | None:
        """What computes a segment, a date's plans or the members to be asked in for everybody of some shards; None for what has gone."""
        if ("build", kind, ref) not in self._compiled:
            self._compiled["build", kind, ref] = self._compile_build(kind, ref)
        found: Statement | None = self._compiled["build", kind, ref]
        return found

    def _compile_build(self, kind: str, ref: str) -> Statement | None:
        if kind == "segment":
            if ref not in self.segments:
                return None
            uid, when, types = self.segments[ref]
            return build_statement(ref, uid, when, types, self.around)
        workflow_id, _, trigger_id = ref.partition(".")
        definition = self.current(workflow_id)
        trigger = next((t for t in definition.workflow.triggers if t.id == trigger_id), None)
        if isinstance(trigger, SegmentTrigger):
            return existing_statement(definition, trigger.id, trigger.segment)
        if isinstance(trigger, DateTrigger):
            return plan_statement(definition, trigger, date_uid(definition, trigger), self.around, shard_people(with_events=False))
        return None

    @staticmethod
    def date_trigger(definition: Definition, uid: int) -> DateTrigger:
        """The date trigger that a uid stands for."""
        triggers = (t for t in definition.workflow.triggers if isinstance(t, DateTrigger))
        return next(t for t in triggers if date_uid(definition, t) == uid)

    def current(self, workflow_id: str) -> Definition:
        """The definition of the current version."""
        return self.definition(workflow_id, self.versions[workflow_id])

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
                arrive_statements(definition, step, uid, self.around)
                if place.arriving
                else step_statements(definition, step, uid, self.around)
            )
        found: StepStatements = self._compiled["step", uid]
        return found

    def wake(self, uid: int) -> Statement:
        """The wake of the journeys parked at the step with this uid."""
        if ("wake", uid) not in self._compiled:
            place = self.places[uid]
            definition = self.definition(place.workflow_id, place.version)
            self._compiled["wake", uid] = wake_statement(definition, definition.workflow.step(place.step_key), uid, self.around)
        found: Statement = self._compiled["wake", uid]
        return found

    def wakes(self, event_type: str) -> list[int]:
        """Uids of the wait steps that an event of this type may wake."""
        return [uid for uid, _, _ in self.interested.get(("wake", event_type), [])]

    def rules(self, kind: str, event_type: str) -> list[tuple[int, RuleStatements, list[int]]]:
        """kind goal, exit or watch: the statements for a word (see `compiler.relevance`), with the versions they are for."""
        found = []
        for uid, workflow_id, versions in self.interested.get((kind, event_type), []):
            if (kind, uid) not in self._compiled:
                definition = self.definition(workflow_id, versions[-1])
                self._compiled[kind, uid] = self._compile_rules(kind, uid, definition)
            statements: RuleStatements | None = self._compiled[kind, uid]
            if statements is not None:
                found.append((uid, statements, versions))
        return found

    def _compile_rules(self, kind: str, uid: int, definition: Definition) -> RuleStatements | None:
        if kind != "watch":
            return (goal_statements if kind == "goal" else exit_statements)(definition, self.around)
        words = {word for (of, word), rows in self.interested.items() if of == kind and any(row[0] == uid for row in rows)}
        return RuleStatements(frozenset(words), (watch_statement(definition, sorted(words), self.around),))

    def entries(self, event_type: str) -> list[tuple[str, EntryStatements]]:
        """The current versions that an event of this type may enter, by workflow id."""
        found = []
        for _, workflow_id, versions in self.interested.get(("entry", event_type), []):
            key = ("entry", workflow_id)
            if key not in self._compiled:
                self._compiled[key] = entry_statements(self.definition(workflow_id, versions[-1]), versions[-1], self.around)
            found.append((workflow_id, self._compiled[key]))
        return sorted(found, key=lambda pair: pair[0])


def generation(conn: sa.Connection) -> int:
    """Grows with each deploy."""
    return int(conn.execute(sa.select(deployment.c.generation)).scalar_one())


def load_plans(conn: sa.Connection) -> Plans:
    """Read what is deployed; compiles nothing yet."""
    row = conn.execute(sa.select(deployment)).one()
    w, s, i = automation_workflows, workflow_steps, interests
    stored = conn.execute(
        sa.select(w.c.id, w.c.version, w.c.definition, w.c.is_current, w.c.status, w.c.deployed_at, w.c.active_since)
    ).all()
    documents = {(r.id, r.version): r.definition for r in stored}
    dynamic = conn.execute(sa.select(segments).where(segments.c.kind == "dynamic", segments.c.status == "active"))
    places: dict[int, _Place] = {}
    for r in conn.execute(sa.select(s.c.workflow_id, s.c.version, s.c.step_key, s.c.step_uid, s.c.entry_uid).order_by(s.c.version)):
        places[r.step_uid] = _Place(r.workflow_id, r.version, r.step_key, arriving=False)
        if r.entry_uid != r.step_uid:
            places[r.entry_uid] = _Place(r.workflow_id, r.version, r.step_key, arriving=True)
    interested: dict[tuple[str, str], list[tuple[int, str, list[int]]]] = {}
    for r in conn.execute(sa.select(i).order_by(i.c.workflow_id, i.c.statement_uid)):
        interested.setdefault((r.kind, r.event_type), []).append((r.statement_uid, r.workflow_id, sorted(r.versions)))
    salt = conn.execute(sa.select(engine_identity.c.message_salt)).scalar_one()
    return Plans(
        row.generation,
        stored_policies(row.policies),
        salt,
        documents,
        places,
        interested,
        frozenset(row.named_events),
        frozenset(row.named_segments),
        frozenset(row.watched_keys),
        {r.id: (r.uid, r.definition["when"], r.definition["types"]) for r in dynamic},
        _scheduled(stored),
        tuple(r.id for r in stored if r.is_current and r.status == "active" and r.definition["workflow"].get("runs")),
        {r.id: r.version for r in stored if r.is_current},
    )


def _scheduled(stored: Sequence[Any]) -> list[Scheduled]:
    """The schedules of active workflows, each since its workflow is active and it stands there as it does now."""
    found = []
    for row in stored:
        if not row.is_current or row.status != "active":
            continue
        versions = sorted((r for r in stored if r.id == row.id), key=lambda r: -r.version)
        for document in _schedules(row):
            trigger = ScheduleTrigger.model_validate(document)
            since = row.deployed_at
            for version in versions:
                if not any(_same_times(document, other) for other in _schedules(version)):
                    break
                since = version.deployed_at
            found.append(Scheduled(row.id, trigger, max(since, row.active_since or since)))
    return found


def _schedules(row: Any) -> list[dict[str, Any]]:
    return [t for t in row.definition["workflow"]["triggers"] if t.get("kind") == "schedule" and t.get("active", True)]


def _same_times(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in ("id", "cron", "at", "timezone"))
