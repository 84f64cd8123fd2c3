"""Deploy, the segments' part: what is in them is computed for everybody where a definition is new, shard by shard, by the next batches.

A changed definition is a new version of the segment: its members are corrected, and nobody is told, because nobody did anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert

from journey_pipelines.compiler.identity import segment_uid
from journey_pipelines.compiler.named import Named, named_by
from journey_pipelines.compiler.segments import segment_words
from journey_pipelines.expressions import dependencies
from journey_pipelines.store.moment_tables import engine_builds, segments
from journey_pipelines.store.tables import automation_workflows, interests
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.load import Project
from journey_pipelines.workflows.model import ConditionTrigger
from journey_pipelines.workflows.triggers import condition_segment

_SHARDS = range(64)


@dataclass(frozen=True)
class Dynamic:
    """A segment with a condition: a named one, or that of a condition trigger."""

    id: str
    when: str
    types: Mapping[str, str]

    @property
    def uid(self) -> int:
        return segment_uid(self.id, self.when, self.types)


def dynamic_segments(project: Project) -> list[Dynamic]:
    """Named ones with `when`, and the unnamed ones of condition triggers."""
    attributes = project.catalogue.attributes
    found = [Dynamic(s.id, s.when, _types(s.when, attributes)) for s in project.segments.values() if s.when]
    for loaded in project.workflows:
        definition = loaded.definition
        for trigger in definition.workflow.triggers:
            if isinstance(trigger, ConditionTrigger):
                segment_id = condition_segment(definition.workflow.id, trigger.id)
                found.append(Dynamic(segment_id, trigger.condition, _types(trigger.condition, definition.catalogue)))
    return found


def _types(when: str, attributes: Mapping[str, str]) -> dict[str, str]:
    return {key: attributes[key] for key in sorted(dependencies(when).customer_keys) if key in attributes}


def deploy_segments(conn: sa.Connection, project: Project, now: datetime) -> bool:
    """Write segments, their words and what has to be built; whether anything changed."""
    dynamic = dynamic_segments(project)
    rows: dict[str, dict[str, Any]] = {
        d.id: {"kind": "dynamic", "uid": d.uid, "definition": {"when": d.when, "types": dict(d.types)}} for d in dynamic
    }
    for segment in project.segments.values():
        if not segment.when:
            kind = "table" if segment.table else "static"
            every = segment.table.every.elapsed().total_seconds() if segment.table else None
            rows[segment.id] = {
                "kind": kind,
                "uid": 0,
                "definition": {"segment": segment.model_dump(mode="json"), "every_seconds": every},
            }
    there = {row["id"]: row for row in conn.execute(sa.select(segments)).mappings()}
    changed = False
    for segment_id, row in rows.items():
        old = there.get(segment_id)
        if old is not None and old["status"] == "active" and all(old[key] == value for key, value in row.items()):
            continue
        changed = True
        new = pg_insert(segments).values(id=segment_id, status="active", deployed_at=now, **row)
        update: dict[str, Any] = {name: new.excluded[name] for name in ("kind", "definition", "uid", "status", "deployed_at")}
        if old is not None and _is_another(old, row):
            # another table, or one that was away: its first look is a build again
            update["refreshed_at"] = None
        conn.execute(new.on_conflict_do_update(index_elements=[segments.c.id], set_=update))
        if row["kind"] == "dynamic" and (old is None or old["uid"] != row["uid"] or old["status"] != "active"):
            request_build(conn, "segment", segment_id, now)
    gone = [segment_id for segment_id, row in there.items() if segment_id not in rows and row["status"] == "active"]
    if gone:
        conn.execute(sa.update(segments).where(segments.c.id.in_(gone)).values(status="archived"))
        conn.execute(sa.delete(engine_builds).where(engine_builds.c.kind == "segment", engine_builds.c.ref.in_(gone)))
    if changed or gone:
        _write_words(conn, dynamic)
    return changed or bool(gone)


def _is_another(old: Mapping[Any, Any], new: Mapping[str, Any]) -> bool:
    """Whether what is known of the table that a segment is read from says nothing of the one it is read from now."""
    if old["status"] != "active" or old["kind"] != new["kind"]:
        return True
    return new["kind"] == "table" and old["definition"]["segment"]["table"] != new["definition"]["segment"]["table"]


def _write_words(conn: sa.Connection, dynamic: Iterable[Dynamic]) -> None:
    conn.execute(sa.delete(interests).where(interests.c.kind == "segment"))
    rows = [
        {"event_type": word, "kind": "segment", "statement_uid": d.uid, "workflow_id": d.id, "versions": []}
        for d in dynamic
        for word in sorted(segment_words(d.uid, d.when, d.types))
    ]
    if rows:
        conn.execute(sa.insert(interests), rows)


def request_build(conn: sa.Connection, kind: str, ref: str, at: datetime) -> None:
    """A computation for everybody as of `at`, a row per shard."""
    rows = [{"kind": kind, "ref": ref, "shard": shard, "asked_at": at} for shard in _SHARDS]
    new = pg_insert(engine_builds).values(rows)
    keys = [engine_builds.c.kind, engine_builds.c.ref, engine_builds.c.shard]
    conn.execute(new.on_conflict_do_update(index_elements=keys, set_={"asked_at": new.excluded.asked_at}))


def request_all(conn: sa.Connection, at: datetime) -> None:
    """Everything that is computed of customers, for everybody: their history has changed behind the engine's back (an import)."""
    for row in conn.execute(sa.select(segments.c.id).where(segments.c.kind == "dynamic", segments.c.status == "active")):
        request_build(conn, "segment", row.id, at)
    w = automation_workflows.c
    for workflow in conn.execute(sa.select(w.id, w.definition).where(w.is_current, w.status == "active")):
        for trigger in workflow.definition["workflow"]["triggers"]:
            if trigger.get("kind") == "date" and trigger.get("active", True):
                request_build(conn, "date", f"{workflow.id}.{trigger['id']}", at)


def request_existing(conn: sa.Connection, segment_id: str, at: datetime) -> None:
    """Members found at the first look at a segment's table are asked into the workflows that want those who are in already."""
    w = automation_workflows.c
    for workflow in conn.execute(sa.select(w.id, w.definition).where(w.is_current, w.status == "active")):
        document = workflow.definition["workflow"]
        for trigger in document["triggers"] if document["entry"].get("existing") == "enter" else ():
            if trigger.get("kind") == "segment" and trigger["segment"] == segment_id and trigger.get("on", "enter") == "enter":
                request_build(conn, "existing", f"{workflow.id}.{trigger['id']}", at)


def named(project: Project, stored: Iterable[Definition]) -> Named:
    """What the project and every version that people are in name."""
    dynamic = {d.id: (d.when, d.types) for d in dynamic_segments(project)}
    return named_by(stored, dynamic)
