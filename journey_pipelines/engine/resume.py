"""Letting go what was parked while a workflow was held or paused: evenly over a time, never in a burst.

A release writes a row of `resumptions`; each batch then lets those go whose instant has come. `on_resume: reschedule` (default) moves an
overdue step to its instant, `skip` leaves out what it would have done. Times that lie ahead do not move.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from journey_pipelines.delivery.silence import silent_workflows
from journey_pipelines.engine import holds
from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.store.moment_tables import resumptions
from journey_pipelines.store.tables import automation_workflows

#: so many parked journeys and overdue messages a minute, where nobody says otherwise
PER_MINUTE = 1_000
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(hours=6)


@dataclass(frozen=True)
class Resumption:
    """A released workflow: `parked` journeys and `overdue` messages go on between `from_at` and `until_at`."""

    workflow_id: str
    from_at: datetime
    until_at: datetime
    policy: str
    parked: int
    overdue: int


@dataclass(frozen=True)
class Release:
    """`closed` holds, what goes on because of it, the open holds that still stop something of it, and what of it git pauses."""

    closed: Sequence[holds.Hold]
    resumed: Sequence[Resumption]
    still: Sequence[holds.Hold]
    paused: Sequence[str]


def default_spread(waiting: int) -> timedelta:
    """A minute for every 1,000 that wait, at least a minute, at most six hours."""
    return min(LONGEST, max(SHORTEST, timedelta(minutes=-(-waiting // PER_MINUTE))))


def release(conn: sa.Connection, workflow_id: str | None, *, by: str, now: datetime, spread: timedelta | None = None) -> Release:
    """Close the holds of a workflow (None: the hold on all) and let go what waits, over `spread` (zero: at once, None: by how many).

    Raises OperationRefused where there is no hold. What another hold, or git, still stops stays stopped.
    """
    stopped, silent = holds.stopped(conn), _silent(conn)
    closed = holds.close(conn, workflow_id, by=by, now=now)
    resumed = begin(conn, stopped - holds.stopped(conn), silent - _silent(conn), now, spread=spread)
    still = [hold for hold in holds.open_holds(conn) if workflow_id is None or hold.workflow_id in (None, workflow_id)]
    paused = sorted(_paused(conn) & (stopped if workflow_id is None else {workflow_id}))
    return Release(closed, resumed, still, paused)


def begin(
    conn: sa.Connection, moving: Collection[str], sending: Collection[str], now: datetime, *, spread: timedelta | None = None
) -> list[Resumption]:
    """The journeys of the workflows `moving` are not stopped any more, the messages of those `sending` may leave again: what is overdue of
    either goes from `now` on. Workflows of which nothing waits are left out of the answer.

    The caller holds the deployment (`session.take_deployment`): no batch may run meanwhile.
    """
    if not moving and not sending:
        return []
    if moving:
        run_fixed(conn, "operations/park_overdue", {"workflows": sorted(moving), "now": now})
    begun = []
    for row in run_fixed(conn, "operations/waiting_for_release", {"workflows": sorted({*moving, *sending}), "now": now}).all():
        parked = row.parked if row.workflow_id in moving else 0
        overdue = row.overdue if row.workflow_id in sending else 0
        if parked or overdue:
            until = now + (default_spread(parked + overdue) if spread is None else spread)
            begun.append(Resumption(row.workflow_id, now, until, row.policy or "reschedule", parked, overdue))
    for one in begun:
        _write(conn, one)
    return begun


def _write(conn: sa.Connection, one: Resumption) -> None:
    if one.parked:
        values = {"from_at": one.from_at, "until_at": one.until_at, "policy": one.policy}
        statement = insert(resumptions).values(workflow_id=one.workflow_id, **values)
        conn.execute(statement.on_conflict_do_update(index_elements=["workflow_id"], set_=values))
    if one.overdue:
        span = round((one.until_at - one.from_at) / timedelta(microseconds=1))
        run_fixed(conn, "operations/spread_messages", {"workflow": one.workflow_id, "from_at": one.from_at, "span": span})


@dataclass(frozen=True)
class Standstill:
    """Workflows that nobody advances in, and those nothing is sent from, at one moment."""

    stopped: frozenset[str]
    silent: frozenset[str]


def standstill(conn: sa.Connection) -> Standstill:
    """As it is now: what deploy remembers before it writes."""
    return Standstill(holds.stopped(conn), frozenset(_silent(conn)))


def after_deploy(conn: sa.Connection, before: Standstill, now: datetime) -> list[Resumption]:
    """Deploy has written its workflows: those that stood still `before` it and do not any more are let go, and those stopped now let
    nobody go any longer. The caller holds the deployment.
    """
    after = standstill(conn)
    if after.stopped:
        conn.execute(sa.delete(resumptions).where(resumptions.c.workflow_id.in_(after.stopped)))
    return begin(conn, before.stopped - after.stopped, before.silent - after.silent, now)


def let_go(conn: sa.Connection, shards: Sequence[int], now: datetime, limit: int = 10_000) -> int:
    """A batch's part: parked journeys of `shards` whose instant has come are due from then on; returns how many, at most `limit` of each
    workflow. Nothing to do is one look at an empty table.
    """
    if conn.execute(sa.select(resumptions.c.workflow_id).where(resumptions.c.from_at <= now).limit(1)).first() is None:
        return 0
    released: int = run_fixed(conn, "operations/let_go", {"shards": list(shards), "now": now, "row_limit": limit}).scalar_one()
    if not released:
        run_fixed(conn, "operations/resumed", {"now": now})
    return released


def under_way(conn: sa.Connection) -> dict[str, tuple[datetime, datetime]]:
    """Released workflows that still let people go: from when until when."""
    return {row.workflow_id: (row.from_at, row.until_at) for row in conn.execute(sa.select(resumptions))}


def _silent(conn: sa.Connection) -> frozenset[str]:
    return frozenset(conn.scalars(silent_workflows()))


def _paused(conn: sa.Connection) -> frozenset[str]:
    w = automation_workflows.c
    return frozenset(conn.scalars(sa.select(w.id).where(w.is_current, w.status.in_(("draft", "paused")))))
