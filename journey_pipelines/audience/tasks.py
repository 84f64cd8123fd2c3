"""Tasks that workflows created for people: which are open, and closing one.

Closing writes the event `task.done` of the task's journey in the same transaction: a wait for it goes on, and `steps.<id>.outcome` is
known from then on, unless the journey has passed that wait already: such a task is given up. A closed task stays closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from journey_pipelines.engine.operator import OperationRefused, one_line
from journey_pipelines.store.tables import event_inbox, tasks

TaskStatus = Literal["open", "closed"]
LONGEST_OUTCOME, LONGEST_NOTE = 128, 2_000


@dataclass(frozen=True)
class Task:
    """A row of tasks: what is to be done, for which customer's journey and step. created_at is the step's place in time."""

    id: int
    journey_id: int
    step_key: str
    action_id: str
    visit: int
    workflow_id: str
    customer_id: str
    title: str
    body: str | None
    assignee: str | None
    due_at: datetime | None
    status: str
    created_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    outcome: str | None
    note: str | None


def list_tasks(
    conn: sa.Connection,
    *,
    workflow_id: str | None = None,
    assignee: str | None = None,
    status: TaskStatus | None = "open",
    most: int = 100,
) -> list[Task]:
    """Open ones by when they are due, those without a date last; closed ones (and all, status None) the latest first."""
    t = tasks.c
    query = sa.select(*(t[name] for name in Task.__dataclass_fields__)).limit(most)
    if workflow_id is not None:
        query = query.where(t.workflow_id == workflow_id)
    if assignee is not None:
        query = query.where(t.assignee == assignee)
    if status is not None:
        query = query.where(t.status == sa.literal_column(f"'{status}'"))
    order: Sequence[sa.ColumnElement] = (t.due_at.asc().nulls_last(), t.id) if status == "open" else (t.id.desc(),)
    return [Task(**row) for row in conn.execute(query.order_by(*order)).mappings()]


def count_open(conn: sa.Connection) -> dict[str, int]:
    """Open tasks by workflow."""
    t = tasks.c
    open_ = t.status == sa.literal_column("'open'")
    rows = conn.execute(sa.select(t.workflow_id, sa.func.count().label("n")).where(open_).group_by(t.workflow_id).order_by(t.workflow_id))
    return {row.workflow_id: row.n for row in rows}


def close_task(
    conn: sa.Connection, task_id: int, *, by: str, now: datetime, outcome: str = "done", note: str | None = None
) -> tuple[Task, bool]:
    """Close a task; the task as it is now, and whether this call closed it (a second one changes nothing). The caller commits.

    `outcome` is a word that the workflow may compare, `note` is for people. Raises OperationRefused for a task that is not there.
    """
    result = one_line(outcome, "--outcome", LONGEST_OUTCOME)
    said = one_line(note, "--note", LONGEST_NOTE) if note is not None else None
    t = tasks
    columns = [t.c[name] for name in Task.__dataclass_fields__]
    closing = (
        sa.update(t)
        .where(t.c.id == task_id, t.c.status == sa.literal_column("'open'"))
        .values(status="closed", closed_at=now, closed_by=by[:128], outcome=result, note=said)
        .returning(*columns)
    )
    row = conn.execute(closing).mappings().first()
    if row is None:
        found = conn.execute(sa.select(*columns).where(t.c.id == task_id)).mappings().first()
        if found is None:
            raise OperationRefused(f"there is no task {task_id}; `journeys tasks` lists those that are open")
        return Task(**found), False
    task = Task(**row)
    conn.execute(sa.insert(event_inbox).values(_event(task, now)))
    return task, True


def _event(task: Task, now: datetime) -> dict[str, object]:
    payload = {
        "step": task.step_key,
        "action": task.action_id,
        "workflow": task.workflow_id,
        "task_id": task.id,
        "outcome": task.outcome,
        "note": task.note,
        "visit": task.visit,
        "created_at": task.created_at.isoformat(),
    }
    return {
        "source": "tasks",
        "source_event_id": str(task.id),
        "customer_id": task.customer_id,
        "type": "task.done",
        "occurred_at": now,
        "received_at": now,
        "payload": payload,
        "journey_id": task.journey_id,
    }
