"""route + enter, and advance with one message each, for 200,000 customers; hand-written SQL fills the same tables beside it."""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.database import fresh
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.engine.tick import Worker
from journey_pipelines.workflows.load import load_project

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
BATCH = 10_000
HERE = Path(__file__).parent
#: tables that both must have filled alike
TABLES = (
    "customer_events", "event_keys", "customer_event_stats", "journey_admissions", "customer_journeys", "journey_context",
    "journey_transitions", "messages",
)  # fmt: skip

WORKFLOW = """
workflow: bench
triggers:
  - event: signup
steps:
  - id: hello
    wait: 1 hour
    do:
      - send_email: {template: hello, subject: "Welcome to {{ event.plan | default('us') }}"}
  - id: later
    wait: 24 hours
    next: end
"""


def write_project(folder: Path, workflow: str = WORKFLOW) -> None:
    """A project of one workflow, with the template that it names."""
    (folder / "bench").mkdir()
    (folder / "bench" / "workflow.yaml").write_text(workflow)
    (folder / "bench" / "hello.html").write_text("<p>Hello {{ customer.first_name | default('you') }}</p>")


def measure(server_url: str, customers: int = 200_000) -> dict[str, Any]:
    """Rates per second of both, and engine / hand-written."""
    with tempfile.TemporaryDirectory() as folder, fresh(server_url, "bench_engine") as ours, fresh(server_url, "bench_hand") as theirs:
        write_project(Path(folder))
        project = load_project(folder)
        for engine in (ours, theirs):
            deploy(engine, project, START)
            _fill(engine, customers)
        worker = Worker(ours, batch_size=BATCH)
        uids = _uids(ours)
        # in turn, so that a machine that slows down slows both
        hand_enter = _timed(lambda: _by_hand(theirs, "route_enter", START, uids, customers))
        our_enter = _timed(lambda: worker.tick(START))
        hand_advance = _timed(lambda: _by_hand(theirs, "advance", START + timedelta(hours=2), uids, customers))
        our_advance = _timed(lambda: worker.tick(START + timedelta(hours=2)))
        counts = {"engine": _counts(ours), "hand": _counts(theirs)}
    if counts["engine"] != counts["hand"]:
        raise SystemExit(f"the two did not fill the same tables alike: {counts}")
    return {
        "customers": customers,
        "entries_per_second": round(customers / our_enter),
        "entries_by_hand_per_second": round(customers / hand_enter),
        "entries_ratio": round(hand_enter / our_enter, 2),
        "advances_per_second": round(customers / our_advance),
        "advances_by_hand_per_second": round(customers / hand_advance),
        "advances_ratio": round(hand_advance / our_advance, 2),
    }


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _fill(engine: sa.Engine, customers: int) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql(
            """
            INSERT INTO journeys.customer_profiles (customer_id, shard, email_address, first_name, subscription_status, updated_at)
            SELECT 'c' || n, journeys.shard_of('c' || n), 'c' || n || '@example.org', 'N' || n, 'active', %(at)s
              FROM generate_series(1, %(n)s) n
            """,
            {"at": START, "n": customers},
        )
        conn.exec_driver_sql(
            """
            INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type, occurred_at, received_at, payload)
            SELECT 'bench', n::text, 'c' || n, 'signup', %(at)s, %(at)s, jsonb_build_object('plan', 'gold', 'n', n)
              FROM generate_series(1, %(n)s) n
            """,
            {"at": START, "n": customers},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM ANALYZE")


def _uids(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as conn:
        rows = conn.exec_driver_sql("SELECT step_key, step_uid FROM journeys.workflow_steps WHERE workflow_id = 'bench'").all()
    found = {row.step_key: row.step_uid for row in rows}
    return {"first": found["hello"], "second": found["later"]}


def _by_hand(engine: sa.Engine, name: str, now: datetime, uids: dict[str, int], customers: int) -> None:
    text = (HERE / f"{name}.sql").read_text()
    for _ in range(-(-customers // BATCH)):
        with engine.begin() as conn:
            conn.exec_driver_sql(text, {"now": now, "size": BATCH, **uids})


def _counts(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as conn:
        return {table: conn.exec_driver_sql(f"SELECT count(*) FROM journeys.{table}").scalar_one() for table in TABLES}
