"""A tick with nothing due and 1,000,000 parked journeys; and how long the code location takes to load."""

import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.database import fresh
from benchmarks.throughput import START, write_project
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.engine.tick import Worker
from journey_pipelines.workflows.load import load_project


def measure(server_url: str, parked: int = 1_000_000) -> dict[str, Any]:
    """Milliseconds of a tick (median of 20, and the first, which compiles and connects)."""
    with tempfile.TemporaryDirectory() as folder, fresh(server_url, "bench_idle") as engine:
        write_project(Path(folder))
        deploy(engine, load_project(folder), START)
        with engine.begin() as conn:
            conn.exec_driver_sql(
                """
                INSERT INTO journeys.customer_journeys
                       (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq,
                        entered_at, entered_seq)
                SELECT 'bench', 1, 'c' || n, journeys.shard_of('c' || n), 'signup', 'later', s.step_uid, %(at)s, n,
                       %(at)s::timestamptz + interval '30 days', 9223372036854775807, %(at)s, n
                  FROM generate_series(1, %(n)s) n, journeys.workflow_steps s WHERE s.step_key = 'later'
                """,
                {"at": START, "n": parked},
            )
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql("VACUUM ANALYZE journeys.customer_journeys")
        worker = Worker(engine)
        times = []
        for n in range(21):
            started = time.perf_counter()
            report = worker.tick(START + timedelta(minutes=n))
            times.append((time.perf_counter() - started) * 1000)
            assert not report.progress
    return {"parked": parked, "first_tick_ms": round(times[0], 1), "idle_tick_ms": round(median(times[1:]), 1)}


def code_location() -> dict[str, Any]:
    """Seconds until a fresh interpreter has the definitions (median of 3)."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-W", "ignore", "-c", "from journey_pipelines.definitions import defs"], check=True)
        times.append(time.perf_counter() - started)
    return {"code_location_seconds": round(median(times), 2)}
