"""What operators' commands share: who asked, which workflow is meant, and how one is told that something cannot be done."""

from __future__ import annotations

import getpass

import sqlalchemy as sa

from journey_pipelines.store.tables import automation_workflows
from journey_pipelines.workflows.problems import nearest


class OperationRefused(Exception):
    """An operator asked for what cannot be; the text says what was expected, what was found and what to do. Nothing was changed."""


def deployed_workflow(conn: sa.Connection, workflow_id: str) -> sa.Row:
    """The current version's row (id, version, status, definition). Raises OperationRefused for a workflow that is not deployed."""
    w = automation_workflows.c
    row = conn.execute(sa.select(w.id, w.version, w.status, w.definition).where(w.id == workflow_id, w.is_current)).first()
    if row is not None:
        return row
    known = list(conn.scalars(sa.select(w.id).where(w.is_current).order_by(w.id)))
    if not known:
        raise OperationRefused(f"no workflow {workflow_id!r}: none is deployed; run `journeys deploy`")
    raise OperationRefused(f"no workflow {workflow_id!r} is deployed; there are: {', '.join(known)}.{nearest(workflow_id, known)}")


def operator_name() -> str:
    """Who runs this process; `unknown` where the system has no name for them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def one_line(text: str, what: str, longest: int) -> str:
    """A person's words for a text column: trimmed, one line. Raises OperationRefused where nothing is left, or too much."""
    said = " ".join(text.split())
    if not said or "\x00" in said:
        raise OperationRefused(f"{what} must say something, got {text!r}")
    if len(said) > longest:
        raise OperationRefused(f"{what} must have at most {longest:,} characters, got {len(said):,}")
    return said
