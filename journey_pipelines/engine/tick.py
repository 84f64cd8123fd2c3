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
from journey_pipelines.engine.low_water import LowWater
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
    """A connection that runs batches: it keeps the compiled plans, and the low-water marks of its shards."""

    def __init__(self, engine: sa.Engine, *, shards: Sequence[int] = ALL_SHARDS, batch_size: int = 10_000) -> None:
        self._engine = engine
        self._shards = list(shards)
        self._size = batch_size
        # a small batch holds only as many shards as it has places for a customer's rounds: the others are free for other workers,
        # which would find none if each took all there are (8 drains with batches of 50: 3 of them moved nothing)
        many = max(1, batch_size // ROUNDS_PER_CUSTOMER)
        self._turns = deque(self._shards[start : start + many] for start in range(0, len(self._shards), many))
        self._plans: Plans | None = None
        self._water = LowWater()
        #: shards of which a look below the marks has found nothing, and nothing has moved since
        self._quiet: set[int] = set()

    def tick(self, now: datetime, *, exclusive: bool = False) -> TickReport:
        """Batches until one makes no progress. `exclusive`: events and timers strictly before `now` (replay's watermark)."""
        total = TickReport()
        self._water.forget()
        self._quiet.clear()
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
            shards = self._turns[0]
            report = self._transaction(shards, until, replaying=exclusive)
            if not report.progress and not self._water.complete and not self._quiet.issuperset(shards):
                # nothing above the marks, and below them was not looked at: that there is nothing is said once that was done
                report = self._transaction(shards, until, replaying=exclusive, insist=True)
            self._turns.rotate(-1)
            if report.progress:
                self._quiet.clear()
                break
            self._quiet.update(shards)
        return report

    def _transaction(self, shards: list[int], now: datetime, *, replaying: bool, insist: bool = False) -> TickReport:
        """A deadlock, a serialization failure or a lost connection runs it again, up to five times."""
        for attempt in range(1, _TRIES + 1):
            # a copy: nothing of a transaction that fails is remembered
            water, self._water = self._water.copy(), LowWater()
            try:
                report = self._batch(shards, now, water, replaying=replaying, insist=insist)
                self._water = water
                return report
            except DBAPIError as error:
                again = error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _AGAIN
                if attempt == _TRIES or not again:
                    raise
                time.sleep(0.2 * attempt)
        raise AssertionError("unreachable")

    def _batch(self, wanted: list[int], now: datetime, water: LowWater, *, replaying: bool, insist: bool) -> TickReport:
        report = TickReport()
        with self._engine.connect() as conn:
            session.batch_table(conn)
            with conn.begin():
                shards = session.lock_shards(conn, wanted)
                if not shards:
                    return report
                turn = session.take_turn(conn)
                session.hold_deployment(conn)
                if self._plans is None or self._plans.generation != generation(conn):
                    self._plans = load_plans(conn)
                    water.forget()
                water.begin(conn, shards, now, turn, insist=insist)
                batch = Batch(conn, self._plans, now, shards, self._size, report, stopped(conn), water=water)
                report.released += let_go(conn, shards, now, self._size)
                run_builds(batch)
                if report.released or report.built:
                    water.forget()
                if report.built:
                    # nothing is taken before everybody's state at the deploy is known
                    report.batches = 1
                    return report
                # a replay's clock jumps: no tick of a schedule is late
                boundary = next_boundary(batch, late=not replaying)
                if boundary is not None:
                    batch.now = boundary.at
                self._move(batch, before_tick=boundary is not None)
                if boundary is not None and not report.progress:
                    # everything up to the tick has happened, and the timers before it
                    plan(batch, boundary)
                    water.told(shards, boundary.at)
                if not report.progress and batch.plans.closing:
                    complete(conn, batch.plans.closing, batch.now)
        if report.progress:
            report.batches = 1
        return report

    @staticmethod
    def _move(batch: Batch, *, before_tick: bool) -> None:
        """Queues, rounds, timers."""
        moments_until = batch.now - _INSTANT if before_tick else batch.now
        if take(batch, moments_until):
            emitted = batch.report.emitted
            rounds.work_rounds(batch)
            if batch.report.emitted > emitted:
                # what a customer's rows that are left behind come before stays in the queue, from their time on
                batch.water.told(batch.shards)
        left: set[int] = set()
        if batch.report.rows_in or batch.report.segment_moves:
            values = {**batch.water.values(batch.shards), "now": batch.now, "moments_until": moments_until}
            left = {row.shard for row in run_fixed(batch.conn, "shards_left", values)}
        batch.now = moments_until
        advance.advance_due(batch, [shard for shard in batch.shards if shard not in left])


def tick(
    engine: sa.Engine, now: datetime, *, exclusive: bool = False, shards: Sequence[int] = ALL_SHARDS, batch_size: int = 10_000
) -> TickReport:
    """Everything that is due at `now`; see `Worker.tick`."""
    return Worker(engine, shards=shards, batch_size=batch_size).tick(now, exclusive=exclusive)
