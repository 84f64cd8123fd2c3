"""A tick: micro-batches, a transaction each, until nothing is left to do at one point in time."""

import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from journey_pipelines.engine import advance, rounds, session
from journey_pipelines.engine.batch import ROUNDS_PER_CUSTOMER, Batch
from journey_pipelines.engine.plans import Plans, generation, load_plans
from journey_pipelines.engine.reports import TickReport
from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.engine.take import take

ALL_SHARDS = tuple(range(64))
#: deadlock, serialization failure, lock not available: the batch is run again; so is one whose connection was lost
_AGAIN = {"40P01", "40001", "55P03"}
_TRIES = 5


class Worker:
    """A connection that runs batches: it keeps the compiled plans, and the low-water mark of what was due."""

    def __init__(self, engine: sa.Engine, *, shards: Sequence[int] = ALL_SHARDS, batch_size: int = 10_000) -> None:
        self._engine = engine
        self._shards = list(shards)
        self._size = batch_size
        # a small batch holds only as many shards as it has places for a customer's rounds: the others are free for other workers,
        # which would find none if each took all there are (8 drains with batches of 50: 3 of them moved nothing)
        many = max(1, batch_size // ROUNDS_PER_CUSTOMER)
        self._turns = deque(self._shards[start : start + many] for start in range(0, len(self._shards), many))
        self._plans: Plans | None = None
        self._low = advance.BEGINNING

    def tick(self, now: datetime, *, exclusive: bool = False) -> TickReport:
        """Batches until one makes no progress. `exclusive`: events and timers strictly before `now` (replay's watermark)."""
        total = TickReport()
        while True:
            report = self.batch(now, exclusive=exclusive)
            total.add(report)
            if not report.progress:
                return total

    def batch(self, now: datetime, *, exclusive: bool = False) -> TickReport:
        """One transaction that moves something, or none of the worker's shards has anything to move."""
        until = now - timedelta(microseconds=1) if exclusive else now  # timestamps have microseconds: before = at most one less
        report = TickReport()
        for _ in range(len(self._turns)):
            report = self._transaction(self._turns[0], until)
            self._turns.rotate(-1)
            if report.progress:
                break
        return report

    def _transaction(self, shards: list[int], now: datetime) -> TickReport:
        """A deadlock, a serialization failure or a lost connection runs it again, up to five times."""
        for attempt in range(1, _TRIES + 1):
            try:
                return self._batch(shards, now)
            except DBAPIError as error:
                again = error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _AGAIN
                if attempt == _TRIES or not again:
                    raise
                time.sleep(0.2 * attempt)
        raise AssertionError("unreachable")

    def _batch(self, wanted: list[int], now: datetime) -> TickReport:
        report = TickReport()
        with self._engine.connect() as conn:
            session.batch_table(conn)
            with conn.begin():
                shards = session.lock_shards(conn, wanted)
                if not shards:
                    return report
                session.hold_deployment(conn)
                if self._plans is None or self._plans.generation != generation(conn):
                    self._plans = load_plans(conn)
                batch = Batch(conn, self._plans, now, shards, self._size, report)
                report.segment_moves += _segments(batch)
                if take(batch):
                    rounds.work_rounds(batch)
                if report.rows_in:
                    left = {row.shard for row in run_fixed(conn, "shards_left", {"shards": shards, "now": now})}
                    self._low = advance.BEGINNING
                else:
                    left = set()
                claimed = advance.advance_due(batch, [shard for shard in shards if shard not in left], self._low)
            # nothing due up to now: the next question starts here, an hour back for what comes late
            self._low = advance.BEGINNING if claimed or left or len(shards) < len(self._shards) else now - timedelta(hours=1)
        if report.progress:
            report.batches = 1
        return report


def _segments(batch: Batch) -> int:
    row = run_fixed(batch.conn, "segments", {"shards": batch.shards, "now": batch.now, "row_limit": batch.size}).one()
    taken: int = row.taken
    return taken


def tick(
    engine: sa.Engine, now: datetime, *, exclusive: bool = False, shards: Sequence[int] = ALL_SHARDS, batch_size: int = 10_000
) -> TickReport:
    """Everything that is due at `now`; see `Worker.tick`."""
    return Worker(engine, shards=shards, batch_size=batch_size).tick(now, exclusive=exclusive)
