"""Deploy: what the project's folder holds becomes what the engine runs.

A workflow whose content hash changed gets a new version; journeys stay on theirs. One transaction, while no batch runs: an event
is routed wholly before or wholly after it.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from journey_pipelines.compiler.candidates import trigger_events
from journey_pipelines.compiler.identity import date_uid, interest_rows, step_rows
from journey_pipelines.compiler.plan import statements
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.engine import session
from journey_pipelines.engine.completed import closes_at
from journey_pipelines.engine.deploy_segments import deploy_segments, named, request_build
from journey_pipelines.engine.policies import surroundings
from journey_pipelines.engine.resume import Resumption, after_deploy, standstill
from journey_pipelines.engine.retire import Retired, retire
from journey_pipelines.engine.watches import look_again
from journey_pipelines.store.moment_tables import segments
from journey_pipelines.store.tables import automation_workflows, customer_journeys, deployment, interests, workflow_steps
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.load import Project
from journey_pipelines.workflows.model import DateTrigger, ScheduleTrigger, SegmentTrigger, Workflow
from journey_pipelines.workflows.problems import Problem


class ProjectHasErrors(RuntimeError):
    """The project cannot be deployed; `problems` says why, one finding each."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(f"the project has {len(problems)} error{'s' if len(problems) != 1 else ''}; nothing was deployed")


@dataclass(frozen=True)
class WorkflowChange:
    """What deploy did with a workflow."""

    workflow_id: str
    change: Literal["new", "new version", "unchanged", "status", "archived"]
    version: int
    status: str


@dataclass
class DeployReport:
    """Changes by workflow, and statements an operator has to run by hand."""

    generation: int
    changes: list[WorkflowChange] = field(default_factory=list)
    grants: list[str] = field(default_factory=list)
    #: journeys that `in_flight: exit` ended, by workflow
    retired: dict[str, Retired] = field(default_factory=dict)
    #: workflows that stood still and go on
    resumed: list[Resumption] = field(default_factory=list)


def deploy(engine: sa.Engine, project: Project, now: datetime) -> DeployReport:
    """Store the project. Raises ProjectHasErrors, and then nothing has changed. Deploying the same folder twice changes nothing."""
    if project.errors:
        raise ProjectHasErrors(project.errors)
    _try_new(engine, project)
    with engine.begin() as conn:
        session.take_deployment(conn)
        row = conn.execute(sa.select(deployment).with_for_update()).mappings().one()
        report = DeployReport(int(row["generation"]))
        before = standstill(conn)
        segments_changed = deploy_segments(conn, project, now)
        for loaded in project.workflows:
            report.changes.append(_deploy_workflow(conn, loaded.definition, now))
        report.changes += _archive_missing(conn, {loaded.workflow.id for loaded in project.workflows}, now)
        names = named(project, _stored(conn))
        documents = {
            "policies": project.policies.model_dump(mode="json"),
            "catalogue": project.catalogue.model_dump(mode="json"),
            "sources": {name: source.model_dump(mode="json") for name, source in project.sources.items()},
            "segments": {name: segment.model_dump(mode="json") for name, segment in project.segments.items()},
            "watched_keys": sorted(names.keys),
            "named_events": sorted(names.events),
            "named_segments": sorted(names.segments),
        }
        report.grants = _grants(conn, project)
        changed = segments_changed or any(c.change != "unchanged" for c in report.changes)
        if changed or any(row[name] != value for name, value in documents.items()):
            report.generation += 1
            # the doorbell looks when a schedule may tick: the next batch says when that is
            ticks = any(isinstance(t, ScheduleTrigger) for loaded in project.workflows for t in loaded.workflow.triggers)
            next_tick = {"next_tick_at": now if ticks else None}
            conn.execute(sa.update(deployment).values(generation=report.generation, deployed_at=now, **documents, **next_tick))
        for change in report.changes:
            found = project.workflow(change.workflow_id)
            if change.change == "new version" and found is not None and found.workflow.in_flight == "exit":
                report.retired[change.workflow_id] = retire(conn, change.workflow_id, change.version, now)
        report.resumed = after_deploy(conn, before, now)
    return report


def _try_new(engine: sa.Engine, project: Project) -> None:
    """Compile what is new: what cannot be compiled is not deployed. Before batches are made to wait, since it takes a while."""
    w = automation_workflows.c
    with engine.connect() as conn:
        known = dict(conn.execute(sa.select(w.id, w.content_hash).where(w.is_current)).tuples().all())
    new = [loaded.definition for loaded in project.workflows if known.get(loaded.workflow.id) != loaded.definition.content_hash()]
    around = surroundings(project) if new else Surroundings()
    with _rarely_collected():
        for definition in new:
            for _ in statements(definition, 1, around):
                pass


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """A statement is some 10,000 objects that are needed until it is compiled: looking for garbage after each 700 is an eighth of the time.
    Not at all would leave 6 MB of it a workflow.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(10_000, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _stored(conn: sa.Connection) -> list[Definition]:
    """Every version that somebody may still be in, and the current ones."""
    w, j = automation_workflows, customer_journeys
    inside = sa.exists().where(j.c.workflow_id == w.c.id, j.c.version == w.c.version, j.c.status == sa.literal_column("'active'"))
    rows = conn.execute(sa.select(w.c.definition).where(sa.or_(w.c.is_current, inside)).order_by(w.c.id, w.c.version))
    return [Definition.model_validate(row.definition) for row in rows]


def _deploy_workflow(conn: sa.Connection, definition: Definition, now: datetime) -> WorkflowChange:
    workflow, w = definition.workflow, automation_workflows
    current = conn.execute(sa.select(w).where(w.c.id == workflow.id, w.c.is_current)).mappings().first()
    content = definition.content_hash()
    shown: dict[str, Any] = {"name": workflow.name, "status": workflow.status, "definition": definition.model_dump(mode="json")}
    shown["active_since"] = _active_since(current, workflow.status, now)
    if current is not None and current["status"] == "completed" and workflow.status == "active" and _is_over(workflow, now):
        shown |= {"status": "completed", "active_since": current["active_since"]}
    if current is not None and current["content_hash"] == content:
        version = int(current["version"])
        if all(current[name] == value for name, value in shown.items()):
            return WorkflowChange(workflow.id, "unchanged", version, shown["status"])
        conn.execute(sa.update(w).where(w.c.id == workflow.id, w.c.version == version).values(**shown))
        _write_interests(conn, workflow.id, now)
        _build(conn, definition, current, shown["status"], now)
        return WorkflowChange(workflow.id, "status", version, shown["status"])
    version = 1 + int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(w.c.version), 0)).where(w.c.id == workflow.id)).scalar_one())
    conn.execute(sa.update(w).where(w.c.id == workflow.id).values(is_current=False))
    conn.execute(
        sa.insert(w).values(
            id=workflow.id,
            version=version,
            is_current=True,
            category=workflow.category,
            topic=workflow.topic,
            priority=workflow.priority,
            content_hash=content,
            deployed_at=now,
            **shown,
        )
    )
    conn.execute(sa.insert(workflow_steps), step_rows(definition, version))
    _write_interests(conn, workflow.id, now)
    _build(conn, definition, current, shown["status"], now)
    return WorkflowChange(workflow.id, "new version" if version > 1 else "new", version, shown["status"])


def _active_since(current: Mapping[Any, Any] | None, status: str, now: datetime) -> datetime | None:
    """When the workflow became active; a new version of an active one keeps the time."""
    if status != "active":
        return None
    since: datetime | None = current["active_since"] or current["deployed_at"] if current and current["status"] == "active" else now
    return since


def _is_over(workflow: Workflow, now: datetime) -> bool:
    closes = closes_at(workflow)
    return closes is not None and closes <= now


def _build(conn: sa.Connection, definition: Definition, before: Mapping[Any, Any] | None, status: str, now: datetime) -> None:
    """What has to be computed for everybody: plans of new dates; and at activation, members that are asked in."""
    workflow = definition.workflow
    if status != "active":
        return
    known = Definition.model_validate(before["definition"]) if before and before["status"] == "active" else None
    planned = {date_uid(known, t) for t in known.workflow.triggers if isinstance(t, DateTrigger) and t.active} if known else set()
    there = {t.id for t in known.workflow.triggers if t.active} if known else set()
    for trigger in workflow.triggers:
        if not trigger.active:
            continue
        if isinstance(trigger, DateTrigger) and date_uid(definition, trigger) not in planned:
            request_build(conn, "date", f"{workflow.id}.{trigger.id}", now)
        if (
            isinstance(trigger, SegmentTrigger)
            and trigger.on == "enter"
            and workflow.entry.existing == "enter"
            and trigger.id not in there
            and not _waits_for_its_table(conn, trigger.segment)
        ):
            request_build(conn, "existing", f"{workflow.id}.{trigger.id}", now)


def _waits_for_its_table(conn: sa.Connection, segment_id: str) -> bool:
    """The members of a segment that is read from a table are known after the first look at it, which asks them in then."""
    s = segments.c
    unseen = sa.select(s.id).where(s.id == segment_id, s.kind == "table", s.refreshed_at.is_(None))
    return conn.scalar(unseen) is not None


def _write_interests(conn: sa.Connection, workflow_id: str, now: datetime) -> None:
    """Old versions keep their waits, goals and exits for those who are on them; only the current one has entries."""
    w = automation_workflows
    before = conn.execute(sa.select(interests).where(interests.c.workflow_id == workflow_id)).all()
    merged: dict[tuple[str, str, int], dict[str, Any]] = {}
    uids: dict[int, dict[str, int]] = {}
    for step in conn.execute(sa.select(workflow_steps).where(workflow_steps.c.workflow_id == workflow_id)):
        uids.setdefault(step.version, {})[step.step_key] = step.step_uid
    versions = [
        (row.version, Definition.model_validate(row.definition), row.is_current and row.status == "active")
        for row in conn.execute(sa.select(w).where(w.c.id == workflow_id).order_by(w.c.version))
    ]
    entering = {
        name for _, d, enters in versions if enters for name in trigger_events(d.workflow, [t for t in d.workflow.triggers if t.active])
    }
    for version, definition, enters in versions:
        for interest in interest_rows(definition, uids[version], current=enters, entering=entering):
            key = (interest["event_type"], interest["kind"], interest["statement_uid"])
            merged.setdefault(key, {**interest, "versions": []})["versions"].append(version)
    conn.execute(sa.delete(interests).where(interests.c.workflow_id == workflow_id))
    if merged:
        conn.execute(sa.insert(interests), list(merged.values()))
    # another release may name the rules of a version otherwise: what waits for them waits under the new name
    there = {version for row in before for version in row.versions}
    known = {row.statement_uid for row in before if row.kind == "watch"}
    renamed = {i["statement_uid"] for i in merged.values() if i["kind"] == "watch" and there.intersection(i["versions"])} - known
    if renamed:
        look_again(conn, now, uids=sorted(renamed))


def _archive_missing(conn: sa.Connection, present: set[str], now: datetime) -> list[WorkflowChange]:
    """A workflow that left the folder takes nobody in any more; those in it go on."""
    w = automation_workflows
    gone = conn.execute(
        sa.update(w)
        .where(w.c.is_current, w.c.status != "archived", w.c.id.not_in(present))
        .values(status="archived")
        .returning(w.c.id, w.c.version)
    ).all()
    for row in gone:
        _write_interests(conn, row.id, now)
    return [WorkflowChange(row.id, "archived", row.version, "archived") for row in gone]


def _grants(conn: sa.Connection, project: Project) -> list[str]:
    """GRANT SELECT for declared sources and tables of segments that this role may not read (or that are not there yet)."""
    wanted = []
    tables = [source.table for source in project.sources.values()]
    for table in dict.fromkeys([*tables, *(segment.table.table for segment in project.segments.values() if segment.table)]):
        readable = conn.execute(
            sa.text("SELECT CASE WHEN to_regclass(:t) IS NULL THEN false ELSE has_table_privilege(to_regclass(:t), 'SELECT') END"),
            {"t": table},
        ).scalar_one()
        if not readable:
            user = conn.execute(sa.text("SELECT quote_ident(current_user)")).scalar_one()
            schema = table.split(".")[0]
            wanted.append(f"GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON {table} TO {user};")
    return wanted
