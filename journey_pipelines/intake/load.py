"""Batches of rows into the database: COPY into a temporary table, then one INSERT that numbers equal lines and leaves out what is known.

Memory does not grow with the file: how often each line was seen is counted in a temporary table of the session, on the server's disk, not
in Python (a dict of hashes needs about 100 bytes a line).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
import sqlalchemy as sa

from journey_pipelines.engine.deploy_segments import request_all
from journey_pipelines.engine.watches import look_again
from journey_pipelines.intake import load_statements as sql
from journey_pipelines.intake.mapping import Event
from journey_pipelines.intake.readers import Row
from journey_pipelines.store.tables import engine_shards

SOURCE_PREFIX = "import"
# data exceptions, CHECKs, program limits: the row's fault; anything else is ours or the server's
_ROWS_FAULT = ("22", "23514", "54")


@dataclass(frozen=True, slots=True)
class Line:
    """One event of the file. `history`: it becomes history at once and triggers nothing."""

    row: Row
    source: str
    event: Event
    history: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows of a batch: `queued` in the inbox, `history` straight into history, `known` from before, `refused` by the database with its
    reason.
    """

    queued: int = 0
    history: int = 0
    known: int = 0
    refused: tuple[tuple[Line, str], ...] = ()

    def __add__(self, other: "Loaded") -> "Loaded":
        return Loaded(self.queued + other.queued, self.history + other.history, self.known + other.known, self.refused + other.refused)


@contextmanager
def loading(engine: sa.Engine, *, replayed: bool = False) -> Iterator["Loader"]:
    """A Loader on a connection of its own; its temporary tables end with it.

    `replayed`: received_at = occurred_at whatever the clock says. Otherwise received_at is never later than the clock, so that a row from
    2099 is clamped at intake like any other (engine.md, 1).
    """
    with engine.connect().execution_options(preserve_rowcount=True) as conn:
        try:
            with conn.begin():
                sql.session_tables.create_all(conn, checkfirst=False)
                conn.execute(sql.remember_queued(SOURCE_PREFIX))
                conn.execute(sa.text("ANALYZE import_queued"))
            yield Loader(conn, replayed)
        finally:
            # they would stay with the pooled connection
            conn.invalidate()


class Loader:
    """Takes batches in file order, one transaction each; the identity order in the inbox is the file's order."""

    def __init__(self, conn: sa.Connection, replayed: bool) -> None:
        self._conn = conn
        self._replayed = replayed

    def load(self, lines: Sequence[Line], now: datetime) -> Loaded:
        """One batch. Rows that the database refuses are found by halving the batch and come back with its reason."""
        if not lines:
            return Loaded()
        try:
            with self._conn.begin():
                return self._load(lines, now)
        except (sa.exc.DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            sqlstate = getattr(cause, "sqlstate", None) or ""
            if not sqlstate.startswith(_ROWS_FAULT):
                raise
            if len(lines) == 1:
                return Loaded(refused=((lines[0], f"refused by the database: {str(cause).splitlines()[0]} ({sqlstate})"),))
        middle = len(lines) // 2
        return self.load(lines[:middle], now) + self.load(lines[middle:], now)

    def _load(self, lines: Sequence[Line], now: datetime) -> Loaded:
        history = sum(line.history for line in lines)
        if history:
            # the customers' statistics belong to whoever holds their shards; a drain passes by what we hold (engine.md, 5)
            self._conn.execute(sa.select(engine_shards.c.shard).order_by(engine_shards.c.shard).with_for_update()).all()
        self._copy(lines)
        self._conn.execute(sql.NUMBER_EQUAL_LINES, {"now": now, "replayed": self._replayed})
        kept = queued = 0
        if history:
            kept = self._conn.execute(sql.INTO_HISTORY).scalar_one()
            for n in range(1, (self._conn.execute(sql.PATCH_ROUNDS).scalar_one() or 0) + 1):
                self._conn.execute(sql.APPLY_PATCHES, {"round": n})
            # segments, dates and rules of customers whose history has changed behind the engine's back
            request_all(self._conn, now)
            look_again(self._conn, now, customers=sorted({line.event.customer_id for line in lines if line.history}))
        if history < len(lines):
            queued = self._conn.execute(sql.INTO_INBOX).rowcount
        return Loaded(queued, kept, len(lines) - queued - kept)

    def _copy(self, lines: Sequence[Line]) -> None:
        driver = self._conn.connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor, cursor.copy(sql.COPY_BATCH) as copy:
            for pos, line in enumerate(lines):
                event = line.event
                copy.write_row(
                    (
                        pos,
                        line.row.hash,
                        line.source,
                        event.customer_id,
                        event.type,
                        event.occurred_at,
                        event.payload,
                        event.profile,
                        line.history,
                    )
                )
