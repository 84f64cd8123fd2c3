"""route + enter, and advance with one message each, for 200,000 customers; hand-written SQL fills the same tables beside it."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from benchmarks.database import execute, fresh, settle, timed
from benchmarks.figures import Figure, Wanted
from benchmarks.people import START
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.engine.tick import Worker
from journey_pipelines.workflows.load import load_project

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


def measure(server_url: str, customers: int) -> list[Figure]:
    """Customers a second of both, entering and advancing."""
    with tempfile.TemporaryDirectory() as folder, fresh(server_url, "bench_engine") as ours, fresh(server_url, "bench_hand") as theirs:
        write_project(Path(folder))
        project = load_project(folder)
        for engine in (ours, theirs):
            deploy(engine, project, START)
            _fill(engine, customers)
        worker = Worker(ours, batch_size=BATCH)
        uids = _uids(ours)
        later = START + timedelta(hours=2)
        # in turn, so that a machine that slows down slows both
        hand_enter = timed(lambda: _by_hand(theirs, "route_enter", START, uids, customers))
        our_enter = timed(lambda: worker.tick(START))
        hand_advance = timed(lambda: _by_hand(theirs, "advance", later, uids, customers))
        our_advance = timed(lambda: worker.tick(later))
        counts = {"engine": _counts(ours), "hand": _counts(theirs)}
    if counts["engine"] != counts["hand"]:
        raise SystemExit(f"the two did not fill the same tables alike: {counts}")
    least = Wanted(least=0.6)
    entries, advances = round(customers / our_enter), round(customers / our_advance)
    return [
        Figure("throughput: customers", customers, "customers"),
        Figure("throughput: entries", entries, "customers/s", Wanted(least=15_000), round(customers / hand_enter), "by hand", least),
        Figure("throughput: advances", advances, "customers/s", Wanted(least=8_000), round(customers / hand_advance), "by hand", least),
    ]


def _fill(engine: sa.Engine, customers: int) -> None:
    profiles = """
        INSERT INTO journeys.customer_profiles (customer_id, shard, email_address, first_name, subscription_status, updated_at)
        SELECT 'c' || n, journeys.shard_of('c' || n), 'c' || n || '@example.org', 'N' || n, 'active', %(at)s
          FROM generate_series(1, %(n)s) n
    """
    events = """
        INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type, occurred_at, received_at, payload)
        SELECT 'bench', n::text, 'c' || n, 'signup', %(at)s, %(at)s, jsonb_build_object('plan', 'gold', 'n', n)
          FROM generate_series(1, %(n)s) n
    """
    execute(engine, profiles, at=START, n=customers)
    execute(engine, events, at=START, n=customers)
    settle(engine)


def _uids(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as conn:
        rows = conn.exec_driver_sql("SELECT step_key, step_uid FROM journeys.workflow_steps WHERE workflow_id = 'bench'").all()
    found = {row.step_key: row.step_uid for row in rows}
    return {"first": found["hello"], "second": found["later"]}


def _by_hand(engine: sa.Engine, name: str, now: datetime, uids: dict[str, int], customers: int) -> None:
    text = (HERE / f"{name}.sql").read_text()
    for _ in range(-(-customers // BATCH)):
        execute(engine, text, now=now, size=BATCH, **uids)


def _counts(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as conn:
        return {table: conn.exec_driver_sql(f"SELECT count(*) FROM journeys.{table}").scalar_one() for table in TABLES}
