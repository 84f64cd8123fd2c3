"""Segments that somebody else builds: a table (a dbt model, say) is compared with the members every so often, in one statement.

The differences go where apps write theirs, `segment_changes`, and are transitions like those. The first look at a table is a build: who is
found in it then has not just come, and is told to nobody. A table that is empty, or gone, changes nothing: a model that is being rebuilt
must not make everybody leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.exc import DBAPIError

from journey_pipelines.engine.deploy_segments import request_existing
from journey_pipelines.store.moment_tables import segments
from journey_pipelines.store.tables import segment_changes, segment_memberships
from journey_pipelines.workflows.segments import Segment

# 42 = syntax or access rule, 0A = feature not supported: a wrong declaration or a missing right
_DECLARATION = ("42", "0A")
_COUNTED = {"preserve_rowcount": True}


@dataclass(frozen=True)
class SegmentRefresh:
    """One comparison: customers who come and go (or were found at the first look); `error` if the table could not be used."""

    segment_id: str
    moves: int = 0
    built: bool = False
    error: str | None = None


def refresh_segments(engine: sa.Engine, now: datetime) -> list[SegmentRefresh]:
    """Compare each table whose time has come; one transaction each, and one process at a time."""
    with engine.connect() as conn:
        waiting = [row.id for row in conn.execute(sa.select(segments.c.id).where(_due(now)).order_by(segments.c.id))]
    return [report for segment_id in waiting if (report := _refresh(engine, segment_id, now)) is not None]


def refresher(engine: sa.Engine, *, every: float = 5.0) -> Callable[[datetime], int]:
    """For `drain(before_batch=...)`: looks at most once in `every` seconds of the wall. Returns the number of changes written."""
    last = -every

    def refresh(now: datetime) -> int:
        nonlocal last
        if time.monotonic() - last < every:
            return 0
        last = time.monotonic()
        return sum(report.moves for report in refresh_segments(engine, now))

    return refresh


def tables_waiting(conn: sa.Connection, now: datetime) -> bool:
    """Is there a table to be compared? A doorbell's question."""
    return conn.scalar(sa.select(segments.c.id).where(_due(now)).limit(1)) is not None


def _due(now: datetime) -> sa.ColumnElement[bool]:
    s = segments.c
    every = sa.cast(s.definition["every_seconds"].astext, sa.Double) * sa.literal_column("interval '1 second'")
    return sa.and_(s.kind == "table", s.status == "active", sa.or_(s.refreshed_at.is_(None), s.refreshed_at + every <= now))


def _refresh(engine: sa.Engine, segment_id: str, now: datetime) -> SegmentRefresh | None:
    with engine.begin() as conn:
        query = sa.select(segments).where(segments.c.id == segment_id, _due(now)).with_for_update(skip_locked=True)
        row = conn.execute(query).one_or_none()
        if row is None:
            return None
        segment = Segment.model_validate(row.definition["segment"])
        if conn.scalar(sa.select(segment_changes.c.id).where(segment_changes.c.segment_id == segment_id).limit(1)) is not None:
            # the differences found before are not taken yet, and would be found again
            return None
        try:
            with conn.begin_nested():
                report = _compare(conn, segment, now, first=row.refreshed_at is None)
        except DBAPIError as error:
            if not (getattr(error.orig, "sqlstate", None) or "").startswith(_DECLARATION):
                raise
            assert segment.table is not None
            said = str(error.orig).splitlines()[0]
            report = SegmentRefresh(segment_id, error=f"segment {segment_id}: {segment.table.table} cannot be read as declared: {said}")
        done: dict[str, Any] = {"last_error": report.error}
        if report.error is None or row.refreshed_at is not None:
            done["refreshed_at"] = now
        conn.execute(sa.update(segments).where(segments.c.id == segment_id).values(done))
        if report.built:
            request_existing(conn, segment_id, now)
    return report


def _compare(conn: sa.Connection, segment: Segment, now: datetime, *, first: bool) -> SegmentRefresh:
    table = segment.table
    assert table is not None
    schema, _, name = table.table.rpartition(".")
    column = sa.cast(sa.column(table.column), sa.Text)
    rows = sa.table(name, sa.column(table.column), schema=schema or None)
    theirs = (
        sa.select(column.label("customer_id"))
        .select_from(rows)
        .where(sa.func.length(column).between(1, 128))
        .distinct()
        .cte("theirs")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    m = segment_memberships
    if first:
        new = pg_insert(m).from_select(
            ["segment_id", "customer_id", "entered_at", "source"],
            sa.select(
                sa.literal(segment.id, sa.Text), theirs.c.customer_id, sa.literal(now, m.c.entered_at.type), sa.literal("built", sa.Text)
            ),
        )
        return SegmentRefresh(segment.id, conn.execute(new.on_conflict_do_nothing(), execution_options=_COUNTED).rowcount, built=True)
    ours = sa.select(m.c.customer_id).where(m.c.segment_id == segment.id, m.c.left_at.is_(None)).subquery("ours")
    if conn.scalar(sa.select(sa.func.count()).select_from(theirs)) == 0 and conn.scalar(sa.select(ours.c.customer_id).limit(1)) is not None:
        return SegmentRefresh(
            segment.id, error=f"segment {segment.id}: {table.table} is empty; its members stay until it holds somebody again"
        )
    both = theirs.join(ours, ours.c.customer_id == theirs.c.customer_id, full=True)
    change = sa.case((ours.c.customer_id.is_(None), sa.literal("enter", sa.Text)), else_=sa.literal("leave", sa.Text))
    moves = sa.insert(segment_changes).from_select(
        ["segment_id", "customer_id", "change", "occurred_at"],
        sa.select(
            sa.literal(segment.id, sa.Text),
            sa.func.coalesce(theirs.c.customer_id, ours.c.customer_id),
            change,
            sa.literal(now, segment_changes.c.occurred_at.type),
        )
        .select_from(both)
        .where(sa.or_(theirs.c.customer_id.is_(None), ours.c.customer_id.is_(None))),
    )
    return SegmentRefresh(segment.id, conn.execute(moves, execution_options=_COUNTED).rowcount)
