"""Holds: an operator's facts, in the database, which no deploy clears.

A held workflow is stopped like a paused one, but people go on entering: events, exits, goals and wakes are recorded, nobody advances past
a step, nothing is sent, due times stay. With `what='dispatch'` journeys go on and only sending waits. Holding costs nothing however many
are in it: a journey is parked when it comes due (advance). Letting the parked go again is `resume`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from journey_pipelines.engine import session
from journey_pipelines.engine.operator import OperationRefused, deployed_workflow, one_line
from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.store.moment_tables import operator_holds, resumptions

What = Literal["workflow", "dispatch"]
LONGEST_WHY = 500


@dataclass(frozen=True)
class Hold:
    """A row of operator_holds; workflow_id None = all workflows, released_at None = open."""

    id: int
    workflow_id: str | None
    what: str
    why: str
    held_by: str
    held_at: datetime
    released_at: datetime | None
    released_by: str | None

    @property
    def scope(self) -> str:
        """`workflow cart_recovery`, `all workflows`."""
        return f"workflow {self.workflow_id}" if self.workflow_id else "all workflows"


def stopped(conn: sa.Connection) -> frozenset[str]:
    """Workflows in which nobody advances, of all that are deployed: drafts, paused ones and those held. Read once per batch."""
    return frozenset(row.id for row in run_fixed(conn, "operations/stopped", {}))


def open_holds(conn: sa.Connection) -> list[Hold]:
    """Holds not released, oldest first."""
    return _read(conn, sa.select(operator_holds).where(operator_holds.c.released_at.is_(None)).order_by(operator_holds.c.id))


def past_holds(conn: sa.Connection, most: int = 50) -> list[Hold]:
    """The last that were released, the newest first."""
    h = operator_holds.c
    return _read(conn, sa.select(operator_holds).where(h.released_at.is_not(None)).order_by(h.released_at.desc(), h.id.desc()).limit(most))


def hold(conn: sa.Connection, workflow_id: str | None, *, why: str, by: str, now: datetime, what: What = "workflow") -> Hold:
    """Hold a workflow (None: all, those deployed later too). When the caller's transaction has committed, no batch that knew nothing of it
    runs any more; sends claimed before still leave.

    Raises OperationRefused where it is held already, or is not deployed.
    """
    said = one_line(why, "--why", LONGEST_WHY)
    if workflow_id is not None:
        deployed_workflow(conn, workflow_id)
    # running batches end first, new ones see the hold
    session.take_deployment(conn)
    h = operator_holds
    same = h.c.workflow_id.is_(None) if workflow_id is None else h.c.workflow_id == workflow_id
    there = _read(conn, sa.select(h).where(same, h.c.what == what, h.c.released_at.is_(None)))
    if there:
        raise OperationRefused(f"{there[0].scope} is held already, since {when(there[0].held_at)} by {there[0].held_by}: {there[0].why}")
    row = conn.execute(
        sa.insert(h).values(workflow_id=workflow_id, what=what, why=said, held_by=by[:128], held_at=now).returning(*h.c)
    ).mappings().one()  # fmt: skip
    if what == "workflow":
        # stopped again before all that were parked had gone
        conn.execute(sa.delete(resumptions).where(sa.true() if workflow_id is None else resumptions.c.workflow_id == workflow_id))
    return Hold(**row)


def close(conn: sa.Connection, workflow_id: str | None, *, by: str, now: datetime) -> list[Hold]:
    """Close the open holds of a workflow (None: those on all workflows, not those on a single one); returns them. Takes the deployment:
    no batch runs until the caller's transaction ends.

    Raises OperationRefused where there is none to close. What was parked stays so until `resume.begin`.
    """
    if workflow_id is not None:
        deployed_workflow(conn, workflow_id)
    session.take_deployment(conn)
    h = operator_holds
    mine = h.c.workflow_id.is_(None) if workflow_id is None else h.c.workflow_id == workflow_id
    closed = _read(
        conn,
        sa.update(h).where(mine, h.c.released_at.is_(None)).values(released_at=sa.func.greatest(now, h.c.held_at), released_by=by[:128])
        .returning(*h.c),
    )  # fmt: skip
    if not closed:
        raise OperationRefused(_nothing_held(conn, workflow_id))
    return closed


def _nothing_held(conn: sa.Connection, workflow_id: str | None) -> str:
    others = open_holds(conn)
    if workflow_id is None:
        single = sorted({hold.workflow_id for hold in others if hold.workflow_id})
        return "there is no hold on all workflows" + (f"; held one by one: {', '.join(single)}" if single else "")
    whole = next((hold for hold in others if hold.workflow_id is None), None)
    if whole is not None:
        return f"workflow {workflow_id} has no hold of its own; all workflows are held ({whole.why}): run `journeys release --all`"
    status = deployed_workflow(conn, workflow_id).status
    if status in ("paused", "draft"):
        return f"workflow {workflow_id} is not held but {status}: change `status` in its workflow.yaml and deploy"
    return f"workflow {workflow_id} is not held"


def when(at: datetime) -> str:
    """A time as these commands print it."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _read(conn: sa.Connection, query: sa.Executable) -> list[Hold]:
    return [Hold(**row) for row in conn.execute(query).mappings()]
