"""A tick: micro-batches, a transaction each, until nothing is left to do at one point in time."""

import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from journey_pipelines.engine import advance, rounds, session
from journey_pipelines.engine.batch import ROUNDS_PER_CUSTOMER, Batch
from journey_pipelines.engine.builds import run_builds
from journey_pipelines.engine.completed import complete
from journey_pipelines.engine.holds import stopped
from journey_pipelines.engine.plans import Plans, generation, load_plans
from journey_pipelines.engine.reports import TickReport
from journey_pipelines.engine.resume import let_go
from journey_pipelines.engine.schedule import next_boundary, plan
from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.engine.take import take

ALL_SHARDS = tuple(range(64))
#: deadlock, serialization failure, lock not available: the batch is run again; so is one whose connection was lost
_AGAIN = {"40P01", "40001", "55P03"}
_TRIES = 5
#: timestamps have microseconds: before = at most one less
_INSTANT = timedelta(microseconds=1)


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
        until = now - _INSTANT if exclusive else now
        report = TickReport()
        for _ in range(len(self._turns)):
            report = self._transaction(self._turns[0], until, replaying=exclusive)
            self._turns.rotate(-1)
            if report.progress:
                break
        return report

    def _transaction(self, shards: list[int], now: datetime, *, replaying: bool) -> TickReport:
        """A deadlock, a serialization failure or a lost connection runs it again, up to five times."""
        for attempt in range(1, _TRIES + 1):
            try:
                return self._batch(shards, now, replaying=replaying)
            except DBAPIError as error:
                again = error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _AGAIN
                if attempt == _TRIES or not again:
                    raise
                time.sleep(0.2 * attempt)
        raise AssertionError("unreachable")

    def _batch(self, wanted: list[int], now: datetime, *, replaying: bool) -> TickReport:
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
                batch = Batch(conn, self._plans, now, shards, self._size, report, stopped(conn))
                report.released += let_go(conn, shards, now, self._size)
                if report.released:
                    self._low = advance.BEGINNING
                run_builds(batch)
                if report.built:
                    # nothing is taken before everybody's state at the deploy is known
                    report.batches = 1
                    return report
                # a replay's clock jumps: no tick of a schedule is late
                boundary = next_boundary(batch, late=not replaying)
                if boundary is not None:
                    batch.now = boundary.at
                idle = self._move(batch, before_tick=boundary is not None)
                if boundary is not None and not report.progress:
                    # everything up to the tick has happened, and the timers before it
                    plan(batch, boundary)
                if not report.progress and batch.plans.closing:
                    complete(conn, batch.plans.closing, batch.now)
            # nothing due up to now: the next question starts here, an hour back for what comes late
            quiet = idle and boundary is None and len(shards) == len(self._shards)
            self._low = now - timedelta(hours=1) if quiet else advance.BEGINNING
        if report.progress:
            report.batches = 1
        return report

    def _move(self, batch: Batch, *, before_tick: bool) -> bool:
        """Queues, rounds, timers; whether nothing was due and no shard has rows left."""
        moments_until = batch.now - _INSTANT if before_tick else batch.now
        if take(batch, moments_until):
            rounds.work_rounds(batch)
        left: set[int] = set()
        if batch.report.rows_in or batch.report.segment_moves:
            values = {"shards": batch.shards, "now": batch.now, "moments_until": moments_until}
            left = {row.shard for row in run_fixed(batch.conn, "shards_left", values)}
            self._low = advance.BEGINNING
        batch.now = moments_until
        claimed = advance.advance_due(batch, [shard for shard in batch.shards if shard not in left], self._low)
        return not claimed and not left


def tick(
    engine: sa.Engine, now: datetime, *, exclusive: bool = False, shards: Sequence[int] = ALL_SHARDS, batch_size: int = 10_000
) -> TickReport:
    """Everything that is due at `now`; see `Worker.tick`."""
    return Worker(engine, shards=shards, batch_size=batch_size).tick(now, exclusive=exclusive)
