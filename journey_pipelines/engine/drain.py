"""A drain: ticks under the engine's clock until nothing was due for a while, or the time budget ends.

A Dagster run takes seconds to start; draining and lingering makes a doorbell's delay a matter of the first event only.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.engine.reports import DrainReport, TickReport
from journey_pipelines.engine.tick import ALL_SHARDS, Worker
from journey_pipelines.store.clock import clock_now

#: seconds between two looks while nothing is due
_PAUSE = 0.25


def drain(
    engine: sa.Engine,
    *,
    shards: Sequence[int] = ALL_SHARDS,
    batch_size: int = 10_000,
    budget: float = 45.0,
    linger: float = 10.0,
    now: datetime | None = None,
    on_batch: Callable[[TickReport], None] | None = None,
    before_batch: Callable[[datetime], int] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> DrainReport:
    """Run batches for at most `budget` seconds of the wall; stop when nothing was due for `linger` seconds.

    `now` fixes the time (tests, `journeys run --once`); None reads the engine's clock before each batch. `before_batch` is called with
    the time before each look, for event sources; it returns how many rows it wrote to the inbox.
    """
    worker = Worker(engine, shards=shards, batch_size=batch_size)
    total = DrainReport()
    started = idle_since = time.monotonic()
    while True:
        at = now
        if at is None:
            with engine.connect() as conn:
                at = clock_now(conn)
        if before_batch is not None:
            before_batch(at)
        report = worker.batch(at)
        total.add(report)
        if on_batch is not None and report.progress:
            on_batch(report)
        clock = time.monotonic()
        if report.progress:
            idle_since = clock
        elif clock - idle_since >= linger:
            total.stopped_reason = "idle"
            return total
        if clock - started >= budget:
            total.stopped_reason = "budget"
            return total
        if not report.progress:
            sleep(min(_PAUSE, max(0.0, linger - (clock - idle_since))))
