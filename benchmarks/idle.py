"""A tick, and the doorbells, with nothing due and more and more parked journeys; and how long the code location takes to load."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa

from benchmarks.database import execute, fresh, settle, timed
from benchmarks.figures import Figure, Wanted
from benchmarks.people import START
from benchmarks.throughput import write_project
from journey_pipelines.engine import doorbells
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.engine.tick import Worker
from journey_pipelines.workflows.load import load_project

_ROWS = 1_000_000
_TICKS = 25
#: due in the month that begins a day after the ticks that are measured, in no order
_PARK = """
INSERT INTO journeys.customer_journeys
       (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at, entered_seq)
SELECT 'bench', 1, 'c' || n, journeys.shard_of('c' || n), 'signup', 'later', s.step_uid, %(at)s, n,
       %(at)s::timestamptz + interval '1 day' + interval '1 second' * (n::bigint * 7919 %% 2592000), 9223372036854775807, %(at)s, n
  FROM generate_series(%(first)s::integer, %(last)s::integer) n, journeys.workflow_steps s WHERE s.step_key = 'later'
"""
_INDEXES = """
SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
  FROM pg_index i WHERE i.indrelid = 'journeys.customer_journeys'::regclass AND NOT i.indisprimary
"""
_BYTES = "SELECT pg_total_relation_size('journeys.customer_journeys')"


def measure(server_url: str, parked: Sequence[int], rounds: int) -> list[Figure]:
    """Milliseconds of a tick, of a new worker's first one, and of the doorbells, at each number of parked journeys."""
    figures: list[Figure] = []
    smallest: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, fresh(server_url, "bench_idle") as engine:
        write_project(Path(folder))
        deploy(engine, load_project(folder), START)
        there, loading = 0, 0.0
        for wanted in parked:
            loading += timed(partial(_park, engine, there + 1, wanted))
            there = wanted
            settle(engine)
            for name, milliseconds in _measure(engine, rounds).items():
                most = Wanted(most=50) if name == "tick" else None
                base = smallest.setdefault(name, milliseconds)
                flat = None if base == milliseconds or name == "first tick" else Wanted(most=1.5)
                against = f"with {parked[0]:,}" if wanted != parked[0] else ""
                beside = base if against else None
                figures.append(Figure(f"idle: {name}, {wanted:,} parked", milliseconds, "ms", most, beside, against, flat))
        with engine.connect() as conn:
            size = conn.exec_driver_sql(_BYTES).scalar_one()
    figures.append(Figure("idle: loading the parked", round(loading, 2), "s"))
    figures.append(Figure("idle: table and indexes", round(size / 1e6, 1), "MB"))
    return figures


def _park(engine: sa.Engine, first: int, last: int) -> None:
    """Journeys `first` to `last`. Many go in faster without indexes, which are built again from the whole table."""
    with engine.connect() as conn:
        indexes = conn.exec_driver_sql(_INDEXES).all() if last - first > _ROWS else []
    for index in indexes:
        execute(engine, f"DROP INDEX {index.name}")
    for start in range(first, last + 1, _ROWS):
        execute(engine, _PARK, at=START, first=start, last=min(last, start + _ROWS - 1))
    for index in indexes:
        with engine.begin() as conn:
            conn.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
            conn.exec_driver_sql(index.definition)


def _measure(engine: sa.Engine, rounds: int) -> dict[str, float]:
    worker = Worker(engine)

    def tick(now: datetime) -> None:
        assert not worker.tick(now).progress

    bells: list[Callable[[sa.Connection, datetime], Any]] = [
        doorbells.inbox_waiting,
        doorbells.segment_changes_waiting,
        doorbells.moments_waiting,
        doorbells.journeys_due,
    ]
    first = timed(partial(tick, START)) * 1000
    with engine.connect() as conn:

        def ring(now: datetime) -> None:
            assert not any(bell(conn, now) for bell in bells)

        return {"first tick": round(first, 1), "tick": _quietest(tick, rounds), "doorbells": _quietest(ring, rounds)}


def _quietest(work: Callable[[datetime], None], rounds: int) -> float:
    """Milliseconds: the least median of rounds half a second apart, because somebody else's work of a second must not look like growth."""
    medians = []
    for _ in range(rounds):
        times = [timed(partial(work, START + timedelta(minutes=minute))) for minute in range(_TICKS)]
        medians.append(median(times) * 1000)
        time.sleep(0.5)
    return round(min(medians), 2)


def code_location() -> list[Figure]:
    """Seconds until a fresh interpreter has the definitions (median of 3)."""
    command = [sys.executable, "-W", "ignore", "-c", "from journey_pipelines.definitions import defs"]
    times = [timed(lambda: subprocess.run(command, check=True)) for _ in range(3)]
    return [Figure("code location: load", round(median(times), 2), "s", Wanted(most=3))]
