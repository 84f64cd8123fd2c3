"""Through the daemon: event INSERT to message accepted by an SMTP server, at a steady rate, at the wall's pace."""

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import sqlalchemy as sa

from benchmarks.database import bench_server
from benchmarks.figures import Figure, Wanted
from benchmarks.throughput import write_project
from journey_pipelines.demo.ports import choose
from journey_pipelines.demo.prepare import dagster_storage, shop_role
from journey_pipelines.demo.processes import Family
from journey_pipelines.demo.webserver import Webserver
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.store.clock import clock_now
from journey_pipelines.store.connect import database_url, ensure_database, make_engine
from journey_pipelines.store.migrate import migrate
from journey_pipelines.workflows.load import load_project

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = """
workflow: bench
triggers:
  - event: signup
steps:
  - id: hello
    do:
      - send_email: {template: hello, subject: "Welcome to {{ event.plan | default('us') }}"}
"""
_SECONDS = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY s), percentile_cont(0.95) WITHIN GROUP (ORDER BY s), max(s)
  FROM (SELECT extract(epoch FROM m.accepted_at - e.received_at)::double precision AS s
          FROM journeys.messages m JOIN journeys.customer_journeys j ON j.id = m.journey_id
          JOIN journeys.customer_events e ON e.seq = j.entered_seq
         WHERE m.state = 'accepted') AS x
"""


def measure(seconds: float, per_second: float = 20.0) -> list[Figure]:
    """Seconds from INSERT to accepted: p50, p95 and the longest; the real `dagster dev`, its sensors and runs."""
    with tempfile.TemporaryDirectory(prefix="journeys-latency-") as name, bench_server() as server_url:
        folder = Path(name)
        project = folder / "project"
        project.mkdir()
        write_project(project, WORKFLOW)
        (project / "policies.yaml").write_text("consent:\n  email: customer.subscription_status == 'active'\n")
        url = ensure_database(database_url(server_url), "bench_latency")
        engine = make_engine(url)
        migrate(engine)
        with engine.connect() as conn:
            now = clock_now(conn)
        deploy(engine, load_project(project), now)
        family = Family(folder)
        try:
            dagster = _start(family, folder, project, engine, url)
            while dagster.missing() is not None:
                time.sleep(0.5)
            sent = _insert(url, seconds, per_second)
            return [Figure("latency: events", sent, "events"), *_wait_and_read(engine, sent)]
        finally:
            family.stop("dagster", patience=15, first=signal.SIGINT)
            family.stop("sandbox", patience=5)
            family.sweep()
            engine.dispose()


def _start(family: Family, folder: Path, project: Path, engine: sa.Engine, url: str) -> Webserver:
    taken: set[int] = set()
    ports = []
    for default in (3900, 3925, 3950):
        ports.append(choose("the benchmark", "-", None, default, taken))
        taken.add(ports[-1])
    ui, inbox, smtp = ports
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "JOURNEYS_DATA": str(folder),
        "JOURNEYS_PROJECT": str(project),
        "JOURNEYS_SMTP_URL": f"smtp://127.0.0.1:{smtp}",
        "JOURNEYS_SENDER": "bench@example.org",
        "JOURNEYS_SENSORS": "running",
        "JOURNEYS_DAGSTER_URL": dagster_storage(engine),
        "DAGSTER_HOME": str(folder / "dagster"),
        "SHOP_DATABASE_URL": shop_role(engine, folder / "password"),
        "PYTHONWARNINGS": "ignore",
    }
    (folder / "dagster").mkdir()
    shutil.copyfile(ROOT / "dagster.yaml", folder / "dagster" / "dagster.yaml")
    sandbox = [sys.executable, "-m", "journey_pipelines.demo.sandbox", "--folder", str(folder / "sandbox")]
    family.start("sandbox", [*sandbox, "--port", str(inbox), "--smtp-port", str(smtp), "--seed", "1"], environment)
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(ui)]
    family.start("dagster", command, environment)
    return Webserver(f"http://127.0.0.1:{ui}")


def _insert(url: str, seconds: float, per_second: float) -> int:
    started = time.monotonic()
    n = 0
    address = database_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as conn:
        while time.monotonic() - started < seconds:
            n += 1
            profile = f'{{"email_address": "c{n}@example.org", "subscription_status": "active"}}'
            conn.execute(
                "INSERT INTO journeys.event_inbox (customer_id, type, payload, profile) VALUES (%s, 'signup', '{\"plan\": \"gold\"}', %s)",
                [f"c{n}", profile],
            )
            time.sleep(max(0.0, started + n / per_second - time.monotonic()))
    return n


def _wait_and_read(engine: sa.Engine, sent: int) -> list[Figure]:
    deadline = time.monotonic() + 90
    while True:
        with engine.connect() as conn:
            accepted, p50, p95, longest = conn.exec_driver_sql(_SECONDS).one()
        if accepted >= sent or time.monotonic() > deadline:
            break
        time.sleep(1)
    if not accepted:
        raise SystemExit("no message was accepted: look at the log of dagster dev")
    return [
        Figure("latency: accepted", accepted, "messages", Wanted(least=sent)),
        Figure("latency: median", round(p50, 2), "s", Wanted(most=8)),
        Figure("latency: p95", round(p95, 2), "s"),
        Figure("latency: longest", round(longest, 2), "s"),
    ]
