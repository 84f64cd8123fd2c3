"""What deploying a folder would change, and for how many: `journeys diff`, `journeys deploy --plan`. Reads only.

A step has changed where its statement's uid has: what it waits for, does or where it goes on, or the workflow's priority, category or
topic. People in flight keep their version, unless the new one says `in_flight: exit`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from journey_pipelines.compiler.identity import step_uid
from journey_pipelines.engine.deploy_segments import dynamic_segments
from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.store.moment_tables import segments as segment_table
from journey_pipelines.store.tables import automation_workflows, customer_profiles, deployment, segment_memberships
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.load import Project
from journey_pipelines.workflows.model import SegmentTrigger, Workflow

Change = Literal["new", "new version", "settings only", "archived", "unchanged"]

#: presentation: a change of these makes no new version
_SETTINGS = ("name", "description", "owner", "tags", "status")
#: what of a workflow makes a new version, beside its steps, triggers and templates
_PARTS = (
    "priority", "category", "topic", "runs", "limits", "in_flight", "on_resume", "max_age", "entry", "hold_out", "goal", "exit",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A step, trigger or template that comes, goes or changes; `what` names its fields that differ."""

    id: str
    change: Literal["added", "removed", "changed"]
    what: Sequence[str] = ()


@dataclass(frozen=True)
class InFlight:
    """Active journeys of one version: at which steps, and what the deploy means for them."""

    version: int
    journeys: int
    at: Mapping[str, int]
    stay: bool
    step_removed: int = 0


@dataclass(frozen=True)
class WorkflowChanges:
    """One workflow. `version`: the one that is current after the deploy. `settings`: name -> (deployed, in the folder).

    `existing`: segment triggers that are new, with `entry.existing: enter` -> members of now, who would be asked in.
    """

    workflow_id: str
    change: Change
    version: int
    status: str
    settings: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    steps: Sequence[Part] = ()
    triggers: Sequence[Part] = ()
    templates: Sequence[Part] = ()
    parts: Sequence[str] = ()
    in_flight: Sequence[InFlight] = ()
    existing: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentChange:
    """A segment, or a condition trigger's unnamed one; `customers` are to be evaluated by the next batches, 0 where nobody is."""

    segment_id: str
    change: Literal["new", "changed", "archived"]
    customers: int


@dataclass(frozen=True)
class Changes:
    """Everything a deploy would do. `documents`: policies, catalogue, sources that differ from those deployed."""

    workflows: Sequence[WorkflowChanges]
    segments: Sequence[SegmentChange]
    documents: Sequence[str]

    @property
    def any(self) -> bool:
        """Whether a deploy would change anything."""
        return bool(self.segments or self.documents or any(w.change != "unchanged" for w in self.workflows))


def plan_changes(conn: sa.Connection, project: Project, only: str | None = None) -> Changes:
    """Compare a project without errors with what is deployed; `only` one workflow of it, then without segments and documents."""
    w = automation_workflows
    query = sa.select(w.c.id, w.c.version, w.c.status, w.c.definition, w.c.content_hash).where(w.c.is_current)
    deployed = {row.id: row for row in conn.execute(query)}
    loaded = {one.workflow.id: one.definition for one in project.workflows}
    names = sorted({*deployed, *loaded}) if only is None else [only]
    flights = _in_flight(conn, [name for name in names if name in deployed])
    changes = []
    for name in names:
        if name in loaded:
            changes.append(_compare(conn, loaded[name], deployed.get(name), flights.get(name, {})))
        elif deployed[name].status != "archived":
            old = deployed[name]
            staying = [_flight(version, at, stay=True) for version, at in flights.get(name, {}).items()]
            changes.append(WorkflowChanges(name, "archived", old.version, "archived", in_flight=staying))
    if only is not None:
        return Changes(changes, [], [])
    return Changes(changes, _segments(conn, project), _documents(conn, project))


def _compare(conn: sa.Connection, new: Definition, row: Any, flights: Mapping[int, Mapping[str, int]]) -> WorkflowChanges:
    workflow = new.workflow
    if row is None:
        triggers = [Part(trigger.id, "added") for trigger in workflow.triggers]
        steps = [Part(step.id, "added") for step in workflow.steps]
        existing = _existing(conn, workflow, set())
        return WorkflowChanges(workflow.id, "new", 1, workflow.status, steps=steps, triggers=triggers, existing=existing)
    old = Definition.model_validate(row.definition)
    settings = {
        name: (getattr(old.workflow, name), getattr(workflow, name))
        for name in _SETTINGS
        if getattr(old.workflow, name) != getattr(workflow, name)
    }
    if row.status not in (old.workflow.status, "completed"):
        # archived because it left the folder, and is there again
        settings["status"] = (row.status, workflow.status)
    active_before = {trigger.id for trigger in old.workflow.triggers} if row.status == "active" else set()
    existing = _existing(conn, workflow, active_before)
    if new.content_hash() == row.content_hash:
        change: Change = "settings only" if settings else "unchanged"
        staying = [_flight(version, at, stay=True) for version, at in flights.items()] if settings else []
        return WorkflowChanges(workflow.id, change, row.version, workflow.status, settings, in_flight=staying, existing=existing)
    there = {step.id for step in workflow.steps}
    ending = workflow.in_flight == "exit"
    return WorkflowChanges(
        workflow.id,
        "new version",
        row.version + 1,
        workflow.status,
        settings,
        steps=_steps(old, new),
        triggers=_parts({t.id: t for t in old.workflow.triggers}, {t.id: t for t in workflow.triggers}),
        templates=_templates(old, new),
        parts=[name for name in _PARTS if getattr(old.workflow, name) != getattr(workflow, name)],
        in_flight=[_flight(version, at, stay=not ending, there=there) for version, at in flights.items()],
        existing=existing,
    )


def _flight(version: int, at: Mapping[str, int], *, stay: bool, there: Collection[str] | None = None) -> InFlight:
    removed = 0 if stay or there is None else sum(n for step, n in at.items() if step not in there)
    return InFlight(version, sum(at.values()), at, stay, removed)


def _steps(old: Definition, new: Definition) -> list[Part]:
    before, after = {s.id: s for s in old.workflow.steps}, {s.id: s for s in new.workflow.steps}
    found = [Part(name, "removed") for name in before if name not in after]
    for name, step in after.items():
        if name not in before:
            found.append(Part(name, "added"))
        elif step_uid(old, before[name]) != step_uid(new, step):
            # nothing of the step itself: what it inherits from the workflow
            found.append(Part(name, "changed", _fields(before[name], step) or ["the workflow's settings"]))
    return found


def _parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Part]:
    found = [Part(name, "removed") for name in before if name not in after]
    for name, item in after.items():
        if name not in before:
            found.append(Part(name, "added"))
        elif fields := _fields(before[name], item):
            found.append(Part(name, "changed", fields))
    return found


def _fields(before: Any, after: Any) -> list[str]:
    """Names of the fields that differ; a part of another form differs as a whole."""
    if type(before) is not type(after):
        return ["its form"]
    return [name for name in type(after).model_fields if name not in ("name", "position") and getattr(before, name) != getattr(after, name)]


def _templates(old: Definition, new: Definition) -> list[Part]:
    before, after = old.templates, new.templates
    found = [Part(name, "removed") for name in before if name not in after]
    return found + [
        Part(name, "changed" if name in before else "added") for name, text in after.items() if before.get(name) != text
    ]  # fmt: skip


def _existing(conn: sa.Connection, workflow: Workflow, before: Collection[str]) -> dict[str, int]:
    """Members of now of the segment triggers that take in existing members and are new to the engine."""
    if workflow.entry.existing != "enter" or workflow.status != "active":
        return {}
    s = segment_memberships.c
    found = {}
    for trigger in workflow.triggers:
        if isinstance(trigger, SegmentTrigger) and trigger.active and trigger.on == "enter" and trigger.id not in before:
            members = sa.select(sa.func.count()).where(s.segment_id == trigger.segment, s.left_at.is_(None))
            found[trigger.id] = int(conn.execute(members).scalar_one())
    return found


def _in_flight(conn: sa.Connection, workflows: list[str]) -> dict[str, dict[int, dict[str, int]]]:
    """Workflow -> version -> step -> active journeys, the newest version and the fullest step first."""
    found: dict[str, dict[int, dict[str, int]]] = {}
    for row in run_fixed(conn, "operations/in_flight_at", {"workflows": workflows}):
        found.setdefault(row.workflow_id, {}).setdefault(row.version, {})[row.step_key] = row.journeys
    return found


def _segments(conn: sa.Connection, project: Project) -> list[SegmentChange]:
    rows = {row.id: row for row in conn.execute(sa.select(segment_table).where(segment_table.c.status == "active"))}
    everybody: int | None = None
    found = []
    dynamic = {segment.id: segment.uid for segment in dynamic_segments(project)}
    wanted = {**{name: segment.model_dump(mode="json") for name, segment in project.segments.items() if not segment.when}, **dynamic}
    for name, content in wanted.items():
        row = rows.get(name)
        same = row is not None and (row.uid == content if name in dynamic else row.definition == content)
        if same:
            continue
        if name in dynamic and everybody is None:
            everybody = int(conn.execute(sa.select(sa.func.count()).select_from(customer_profiles)).scalar_one())
        found.append(SegmentChange(name, "changed" if row is not None else "new", (everybody or 0) if name in dynamic else 0))
    return found + [SegmentChange(name, "archived", 0) for name in sorted(rows) if name not in wanted]


def _documents(conn: sa.Connection, project: Project) -> list[str]:
    row = conn.execute(sa.select(deployment)).mappings().one()
    if row["deployed_at"] is None:
        # the first deploy changes nothing that anybody knew
        return []
    documents: dict[str, Any] = {
        "policies": project.policies.model_dump(mode="json"),
        "catalogue": project.catalogue.model_dump(mode="json"),
        "sources": {name: source.model_dump(mode="json") for name, source in project.sources.items()},
    }
    return [name for name, content in documents.items() if row[name] != content]
