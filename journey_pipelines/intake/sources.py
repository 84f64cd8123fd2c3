"""Event sources: tables of apps that nobody may change, read into the inbox from a cursor column on (architecture.md, D7).

Best effort, and this is what it means: a row whose transaction commits later than `overlap` after the value of its cursor column is missed,
a row that is changed without its cursor column is not read again, and a row is one event for ever: its id counts once. Everything else is
safe: a poll is one transaction, reading twice adds nothing, and a row that cannot become an event goes to quarantine while the others go
on.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import DBAPIError

from journey_pipelines.engine.bisect import DataError, attempt, halve
from journey_pipelines.intake.source_statements import SourceStatements
from journey_pipelines.intake.table_segments import refresher
from journey_pipelines.store.tables import deployment, event_sources
from journey_pipelines.workflows.project import EventSource

POLL_ROWS = 10_000
_TIME_TYPES = ("timestamptz", "timestamp", "date")
# what a wrong declaration or a missing right looks like: 42 = syntax or access rule, 0A = feature not supported
_DECLARATION = ("42", "0A")


@dataclass(frozen=True)
class SourceReport:
    """One source's poll: rows put into the inbox, rows refused, whether the limit was reached; `error` if it could not be read at all."""

    source_id: str
    read: int = 0
    refused: int = 0
    more: bool = False
    error: str | None = None


class _Unreadable(Exception):
    """The source's table cannot be read as declared; says why and what to do."""


def poll_sources(engine: sa.Engine, now: datetime, *, limit: int = POLL_ROWS) -> list[SourceReport]:
    """Read each deployed source once, at most `limit` rows each. One transaction a source; a source that another process reads is left to
    it.
    """
    with engine.connect() as conn:
        sources = _deployed(conn)
    return [report for source_id, source in sources.items() if (report := _poll(engine, source_id, source, now, limit)) is not None]


def poller(engine: sa.Engine, *, every: float = 1.0, limit: int = POLL_ROWS) -> Callable[[datetime], int]:
    """For `drain(before_batch=...)`: polls at most once in `every` seconds of the wall, at once where the last poll left rows behind.

    Returns the number of rows written to the queues. Tables of segments are looked at on the same occasion.
    """
    last = -every
    more = False
    refresh = refresher(engine)

    def poll(now: datetime) -> int:
        nonlocal last, more
        moved = refresh(now)
        if not more and time.monotonic() - last < every:
            return moved
        reports = poll_sources(engine, now, limit=limit)
        last, more = time.monotonic(), any(report.more for report in reports)
        return moved + sum(report.read for report in reports)

    return poll


def sources_waiting(conn: sa.Connection, now: datetime) -> list[str]:
    """The sources that have new rows: a doorbell's question. A source that cannot be read is not in the list; the next poll records why."""
    waiting = []
    cursors = dict(conn.execute(sa.select(event_sources.c.source_id, event_sources.c.cursor_value)).tuples().all())
    for source_id, source in _deployed(conn).items():
        try:
            with conn.begin_nested():
                statements = _statements(conn, source_id, source)
                values = {"now": now, "since": _since(source, cursors.get(source_id)), "ids": None}
                if conn.execute(statements.waiting(), values).scalar_one():
                    waiting.append(source_id)
        except (_Unreadable, DBAPIError):
            continue
    return waiting


def _deployed(conn: sa.Connection) -> dict[str, EventSource]:
    stored: Mapping[str, Any] = conn.execute(sa.select(deployment.c.sources)).scalar_one_or_none() or {}
    return {source_id: EventSource.model_validate(document) for source_id, document in stored.items()}


def _poll(engine: sa.Engine, source_id: str, source: EventSource, now: datetime, limit: int) -> SourceReport | None:
    with engine.begin() as conn:
        conn.execute(pg.insert(event_sources).values(source_id=source_id).on_conflict_do_nothing())
        state = conn.execute(
            sa.select(event_sources).where(event_sources.c.source_id == source_id).with_for_update(skip_locked=True)
        ).one_or_none()
        if state is None:
            return None
        report, reached = SourceReport(source_id), None
        try:
            with conn.begin_nested():
                statements = _statements(conn, source_id, source)
                values = {"now": now, "since": _since(source, state.cursor_value), "row_limit": limit, "ids": None}
                report, reached = _take(conn, statements, source_id, values, limit)
        except _Unreadable as error:
            report = SourceReport(source_id, error=str(error))
        except DBAPIError as error:
            if not (getattr(error.orig, "sqlstate", None) or "").startswith(_DECLARATION):
                raise
            report = SourceReport(
                source_id, error=f"source {source_id}: {source.table} cannot be read as declared: {str(error.orig).splitlines()[0]}"
            )
        cursor = max((at for at in (reached, state.cursor_value) if at is not None), default=None)
        conn.execute(
            sa.update(event_sources)
            .where(event_sources.c.source_id == source_id)
            .values(
                cursor_value=cursor,
                rows_read=event_sources.c.rows_read + report.read,
                rows_refused=event_sources.c.rows_refused + report.refused,
                last_polled_at=now,
                last_error=report.error,
            )
        )
    return report


def _take(
    conn: sa.Connection, statements: SourceStatements, source_id: str, values: dict[str, Any], limit: int
) -> tuple[SourceReport, datetime | None]:
    taken, wrong = attempt(conn, lambda: conn.execute(statements.take(), values).one())
    if wrong is None:
        return SourceReport(source_id, taken.rows - taken.refused, taken.refused, taken.rows >= limit), taken.cursor_at
    # a row that no predicate foresees, e.g. a json column with \u0000, fails the whole read: halve down to it
    new = conn.execute(statements.new_ids(), values).all()
    read = refused = 0

    def work(ids: Sequence[str]) -> Any:
        return conn.execute(statements.take(), {**values, "ids": list(ids)}).one()

    def done(row: Any) -> None:
        nonlocal read, refused
        read, refused = read + row.rows - row.refused, refused + row.refused

    def fail(event_id: str, error: DataError) -> None:
        nonlocal refused
        refused += 1
        conn.execute(statements.quarantine(), {**values, "ids": [event_id], "error": error.message, "sqlstate": error.sqlstate})

    halve(conn, [row.event_id for row in new], work, done, fail)
    return SourceReport(source_id, read, refused, len(new) >= limit), max((row.cursor_at for row in new), default=None)


def _since(source: EventSource, cursor: datetime | None) -> datetime | None:
    return None if cursor is None else cursor - source.overlap.elapsed()


_COLUMNS = sa.text(
    """
    SELECT a.attname, t.typname
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
     WHERE a.attrelid = to_regclass(:name) AND a.attnum > 0 AND NOT a.attisdropped
    """
)


def _statements(conn: sa.Connection, source_id: str, source: EventSource) -> SourceStatements:
    types: dict[str, str] = dict(conn.execute(_COLUMNS, {"name": source.table}).tuples().all())
    if not types:
        raise _Unreadable(f"source {source_id}: there is no table {source.table} that this role can see")
    missing = [name for name in _named(source) if name not in types]
    if missing:
        raise _Unreadable(f"source {source_id}: {source.table} has no column {', '.join(missing)}; it has {', '.join(sorted(types))}")
    for role, column in (("cursor", source.cursor), ("occurred_at", source.occurred_at)):
        if types[column] not in _TIME_TYPES:
            wanted = ", ".join(_TIME_TYPES)
            raise _Unreadable(f"source {source_id}: {role} {source.table}.{column} is {types[column]}, expected a column of type {wanted}")
    return SourceStatements(source_id, source, types[source.cursor])


def _named(source: EventSource) -> Iterator[str]:
    yield from (source.id, source.customer_id, source.occurred_at, source.cursor, *source.payload)
    if source.type_column:
        yield source.type_column
