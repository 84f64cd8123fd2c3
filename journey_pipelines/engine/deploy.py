"""Deploy: what the project's folder holds becomes what the engine runs.

A workflow whose content hash changed gets a new version; journeys stay on theirs. One transaction, while no batch runs: an event
is routed wholly before or wholly after it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from journey_pipelines.compiler.identity import interest_rows, step_rows
from journey_pipelines.compiler.plan import statements
from journey_pipelines.engine import session
from journey_pipelines.engine.policies import message_lives
from journey_pipelines.store.tables import automation_workflows, deployment, interests, workflow_steps
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.load import Project
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


def deploy(engine: sa.Engine, project: Project, now: datetime) -> DeployReport:
    """Store the project. Raises ProjectHasErrors, and then nothing has changed. Deploying the same folder twice changes nothing."""
    if project.errors:
        raise ProjectHasErrors(project.errors)
    with engine.begin() as conn:
        session.take_deployment(conn)
        row = conn.execute(sa.select(deployment).with_for_update()).mappings().one()
        report = DeployReport(int(row["generation"]))
        for loaded in project.workflows:
            report.changes.append(_deploy_workflow(conn, loaded.definition, project, now))
        report.changes += _archive_missing(conn, {loaded.workflow.id for loaded in project.workflows})
        documents = {
            "policies": project.policies.model_dump(mode="json"),
            "catalogue": project.catalogue.model_dump(mode="json"),
            "sources": {name: source.model_dump(mode="json") for name, source in project.sources.items()},
        }
        report.grants = _grants(conn, project)
        if any(c.change != "unchanged" for c in report.changes) or any(row[name] != value for name, value in documents.items()):
            report.generation += 1
            conn.execute(sa.update(deployment).values(generation=report.generation, deployed_at=now, **documents))
    return report


def _deploy_workflow(conn: sa.Connection, definition: Definition, project: Project, now: datetime) -> WorkflowChange:
    workflow, w = definition.workflow, automation_workflows
    current = conn.execute(sa.select(w).where(w.c.id == workflow.id, w.c.is_current)).mappings().first()
    content = definition.content_hash()
    shown: dict[str, Any] = {"name": workflow.name, "status": workflow.status}
    if current is not None and current["content_hash"] == content:
        version = int(current["version"])
        if all(current[name] == value for name, value in shown.items()):
            return WorkflowChange(workflow.id, "unchanged", version, workflow.status)
        conn.execute(sa.update(w).where(w.c.id == workflow.id, w.c.version == version).values(**shown))
        _write_interests(conn, workflow.id)
        return WorkflowChange(workflow.id, "status", version, workflow.status)
    version = 1 + int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(w.c.version), 0)).where(w.c.id == workflow.id)).scalar_one())
    # compile all of it before anything is stored: what cannot be compiled is not deployed
    for _ in statements(definition, version, brand=project.policies.brand, expires=message_lives(project.policies)):
        pass
    conn.execute(sa.update(w).where(w.c.id == workflow.id).values(is_current=False))
    conn.execute(
        sa.insert(w).values(
            id=workflow.id,
            version=version,
            is_current=True,
            category=workflow.category,
            topic=workflow.topic,
            priority=workflow.priority,
            definition=definition.model_dump(mode="json"),
            content_hash=content,
            deployed_at=now,
            **shown,
        )
    )
    conn.execute(sa.insert(workflow_steps), step_rows(definition, version))
    _write_interests(conn, workflow.id)
    return WorkflowChange(workflow.id, "new version" if version > 1 else "new", version, workflow.status)


def _write_interests(conn: sa.Connection, workflow_id: str) -> None:
    """Old versions keep their waits, goals and exits for those who are on them; only the current one has entries."""
    w = automation_workflows
    merged: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in conn.execute(sa.select(w).where(w.c.id == workflow_id).order_by(w.c.version)).mappings():
        definition = Definition.model_validate(row["definition"])
        enters = row["is_current"] and row["status"] == "active"
        for interest in interest_rows(definition, current=enters):
            key = (interest["event_type"], interest["kind"], interest["statement_uid"])
            merged.setdefault(key, {**interest, "versions": []})["versions"].append(row["version"])
    conn.execute(sa.delete(interests).where(interests.c.workflow_id == workflow_id))
    if merged:
        conn.execute(sa.insert(interests), list(merged.values()))


def _archive_missing(conn: sa.Connection, present: set[str]) -> list[WorkflowChange]:
    """A workflow that left the folder takes nobody in any more; those in it go on."""
    w = automation_workflows
    gone = conn.execute(
        sa.update(w)
        .where(w.c.is_current, w.c.status != "archived", w.c.id.not_in(present))
        .values(status="archived")
        .returning(w.c.id, w.c.version)
    ).all()
    for row in gone:
        _write_interests(conn, row.id)
    return [WorkflowChange(row.id, "archived", row.version, "archived") for row in gone]


def _grants(conn: sa.Connection, project: Project) -> list[str]:
    """GRANT SELECT for declared sources that this role may not read (or that are not there yet)."""
    wanted = []
    for source in project.sources.values():
        readable = conn.execute(
            sa.text("SELECT CASE WHEN to_regclass(:t) IS NULL THEN false ELSE has_table_privilege(to_regclass(:t), 'SELECT') END"),
            {"t": source.table},
        ).scalar_one()
        if not readable:
            user = conn.execute(sa.text("SELECT quote_ident(current_user)")).scalar_one()
            schema = source.table.split(".")[0]
            wanted.append(f"GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON {source.table} TO {user};")
    return wanted
