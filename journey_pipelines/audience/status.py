"""How things stand: workflows, inbox, messages, sources, the clock. Backlogs are counted up to a bound; journeys and the ledger in one scan
each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from journey_pipelines.audience.standing import Standing, standing
from journey_pipelines.store.tables import (
    automation_workflows,
    customer_journeys,
    deployment,
    engine_clock,
    event_inbox,
    event_quarantine,
    event_sources,
    messages,
    segment_changes,
)

# counting stops here: beyond it the figure is 'at least'
MOST = 1_000_000
_ACTIVE: sa.ColumnElement[str] = sa.literal_column("'active'")
_UNSENT = ("planned", "deferred", "retry")


@dataclass(frozen=True)
class WorkflowStatus:
    """The current version, and journeys of all versions: active ones by step, held ones, ended ones by reason."""

    workflow_id: str
    version: int
    status: str
    active: int
    held: int
    waiting_at: dict[str, int]
    ended: dict[str, int]


@dataclass(frozen=True)
class Backlog:
    """Rows that could be worked now (MOST at most are counted), the oldest one's time, and how far that lies back: seconds of the clock."""

    rows: int
    oldest: datetime | None
    lag_seconds: float


@dataclass(frozen=True)
class MessageCount:
    """Ledger rows of one channel, state and reason."""

    channel: str
    state: str
    reason: str | None
    n: int


@dataclass(frozen=True)
class Refused:
    """Quarantined events of one reason."""

    source: str
    reason: str
    n: int
    last_at: datetime


@dataclass(frozen=True)
class SourceStatus:
    """A declared event source: how far it was read."""

    source_id: str
    cursor: datetime | None
    rows_read: int
    rows_refused: int
    last_polled_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class Status:
    """`rate`: seconds of the clock a second of the wall. `later`: inbox rows that lie in the future. `in_doubt`: sends nobody knows the end
    of.
    """

    now: datetime
    rate: float
    generation: int
    deployed_at: datetime | None
    workflows: Sequence[WorkflowStatus]
    inbox: Backlog
    later: int
    segment_changes: int
    due: Backlog
    outbox: Backlog
    in_doubt: int
    messages: Sequence[MessageCount]
    refused: Sequence[Refused]
    sources: Sequence[SourceStatus]
    standing: Standing


def status(conn: sa.Connection, now: datetime) -> Status:
    """Everything at `now`, the clock's time; reads only."""
    clock = conn.execute(sa.select(engine_clock)).one()
    deployed = conn.execute(sa.select(deployment.c.generation, deployment.c.deployed_at, deployment.c.sources)).one()
    inbox, journey, message = event_inbox.c, customer_journeys.c, messages.c
    counts = _messages(conn)
    due = sa.and_(journey.status == _ACTIVE, journey.held_at.is_(None), journey.due_at <= now)
    waiting = sa.and_(_unsent(), message.send_after <= now)
    return Status(
        now=now,
        rate=clock.rate if clock.rate == 1 or now < clock.wall_at else 1.0,
        generation=deployed.generation,
        deployed_at=deployed.deployed_at,
        workflows=_workflows(conn),
        inbox=_backlog(conn, inbox.effective_at, inbox.effective_at <= now, now),
        later=_count(conn, sa.select(inbox.id).where(inbox.effective_at > now)),
        segment_changes=_count(conn, sa.select(segment_changes.c.id).where(segment_changes.c.occurred_at <= now)),
        due=_backlog(conn, journey.due_at, due, now),
        outbox=_backlog(conn, message.send_after, waiting, now),
        in_doubt=sum(count.n for count in counts if count.state == "in_doubt"),
        messages=counts,
        refused=_refused(conn),
        sources=_sources(conn, list(deployed.sources or {})),
        standing=standing(conn, now),
    )


def overdue(status: Status) -> bool:
    """Whether journeys are due since more than five minutes of the clock: a drain is missing or stuck."""
    return status.due.lag_seconds > timedelta(minutes=5).total_seconds()


def _unsent() -> sa.ColumnElement[bool]:
    # as the partial index says it
    return messages.c.state.in_([sa.literal_column(f"'{state}'") for state in _UNSENT])


def _count(conn: sa.Connection, rows: sa.Select[Any]) -> int:
    return int(conn.execute(sa.select(sa.func.count()).select_from(rows.limit(MOST).subquery())).scalar_one())


def _backlog(conn: sa.Connection, column: sa.ColumnElement[Any], condition: sa.ColumnElement[bool], now: datetime) -> Backlog:
    some = sa.select(column.label("at")).where(condition).limit(MOST).subquery()
    n, oldest = conn.execute(sa.select(sa.func.count(), sa.func.min(some.c.at))).one()
    return Backlog(n, oldest, max((now - oldest).total_seconds(), 0.0) if oldest else 0.0)


def _workflows(conn: sa.Connection) -> list[WorkflowStatus]:
    w, j = automation_workflows.c, customer_journeys.c
    place = sa.case((j.status == _ACTIVE, j.step_key), else_=j.exit_reason)
    grouped = sa.select(
        j.workflow_id, j.status, place.label("place"), sa.func.count().label("n"), sa.func.count(j.held_at).label("held")
    ).group_by(j.workflow_id, j.status, place)
    waiting: dict[str, dict[str, int]] = {}
    ended: dict[str, dict[str, int]] = {}
    held: dict[str, int] = {}
    for row in conn.execute(grouped.order_by(sa.text("n DESC"))):
        if row.status == "active":
            waiting.setdefault(row.workflow_id, {})[row.place] = row.n
            held[row.workflow_id] = held.get(row.workflow_id, 0) + row.held
        else:
            ended.setdefault(row.workflow_id, {})[row.place] = row.n
    return [
        WorkflowStatus(
            row.id,
            row.version,
            row.status,
            sum(waiting.get(row.id, {}).values()),
            held.get(row.id, 0),
            waiting.get(row.id, {}),
            ended.get(row.id, {}),
        )
        for row in conn.execute(sa.select(w.id, w.version, w.status).where(w.is_current).order_by(w.id))
    ]


def _messages(conn: sa.Connection) -> list[MessageCount]:
    m = messages.c
    rows = conn.execute(
        sa.select(m.channel, m.state, m.reason, sa.func.count())
        .group_by(m.channel, m.state, m.reason)
        .order_by(m.channel, m.state, m.reason)
    )
    # a reason may name an address or a provider's own words: the first 120 characters tell them apart
    merged: dict[tuple[str, str, str | None], int] = {}
    for channel, state, reason, n in rows:
        key = (channel, state, reason[:120] if reason else None)
        merged[key] = merged.get(key, 0) + n
    return [MessageCount(*key, n) for key, n in merged.items()]


def _refused(conn: sa.Connection) -> list[Refused]:
    q = event_quarantine.c
    newest = sa.select(q.source, q.reason, q.quarantined_at).order_by(q.id.desc()).limit(MOST).subquery().c
    rows = conn.execute(
        sa.select(newest.source, newest.reason, sa.func.count(), sa.func.max(newest.quarantined_at))
        .group_by(newest.source, newest.reason)
        .order_by(sa.func.count().desc(), newest.source, newest.reason)
        .limit(50)
    )
    return [Refused(*row) for row in rows]


def _sources(conn: sa.Connection, declared: list[str]) -> list[SourceStatus]:
    rows = {row["source_id"]: row for row in conn.execute(sa.select(event_sources)).mappings()}
    return [
        SourceStatus(name, row["cursor_value"], row["rows_read"], row["rows_refused"], row["last_polled_at"], row["last_error"])
        if (row := rows.get(name))
        else SourceStatus(name, None, 0, 0, None, "never read")
        for name in sorted({*declared, *rows})
    ]
