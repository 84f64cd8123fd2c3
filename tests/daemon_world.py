"""A project under the real Dagster daemon: the CLI, an app that INSERTs, servers on loopback, a clock that travels."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from servers.mail import MailServer
from servers.provider import Provider

from journey_pipelines.demo import prepare
from journey_pipelines.demo.processes import RUN_WORKER, Family, command
from journey_pipelines.store import tables as t
from journey_pipelines.store.clock import clock_now, set_clock

ROOT = Path(__file__).resolve().parents[1]
#: a day in three seconds
RATE = 28_800
#: seconds that anything may take, on a machine that does other things, too
PATIENCE = 120.0

_BLOCKED = "SELECT 1 FROM pg_locks WHERE relation = 'journeys.journey_transitions'::regclass AND NOT granted"
_EVENT = "INSERT INTO journeys.event_inbox (customer_id, type, payload, profile) VALUES (:c, :t, CAST(:e AS jsonb), CAST(:p AS jsonb))"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class DaemonWorld:
    """`project` is copied to `folder`; a webhook's `https://provider.test` is `provider`, and so is the provider of text messages.

    Time stands at `start`, at the wall's pace, until somebody travels.
    """

    def __init__(self, db: sa.Engine, project: Path, folder: Path, start: datetime, mail: MailServer, provider: Provider) -> None:
        self.db, self.mail, self.provider = db, mail, provider
        self._family = Family(folder)
        copy = folder / "project"
        shutil.copytree(project, copy)
        for path in copy.glob("*/workflow.yaml"):
            path.write_text(path.read_text().replace("https://provider.test", provider.url))
        home = folder / "dagster"
        home.mkdir()
        shutil.copyfile(ROOT / "dagster.yaml", home / "dagster.yaml")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("JOURNEYS_", "DAGSTER_"))}
        self._environment = ours | {
            "DATABASE_URL": db.url.render_as_string(hide_password=False),
            "JOURNEYS_DATA": str(folder / "data"),
            "JOURNEYS_PROJECT": str(copy),
            "JOURNEYS_SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
            "JOURNEYS_SMS_URL": f"{provider.url}/sms",
            "JOURNEYS_SENDER": "Alder <hello@alder.example>",
            "JOURNEYS_WEBHOOK_ALLOW": f"127.0.0.1:{provider.port}",
            "JOURNEYS_SENSORS": "running",
            "JOURNEYS_DAGSTER_URL": prepare.dagster_storage(db),
            "DAGSTER_HOME": str(home),
            "PYTHONWARNINGS": "ignore",
        }
        with db.begin() as conn:
            set_clock(conn, start)

    # -- what people do ----------------------------------------------------------------------------------------------

    def journeys(self, *arguments: str) -> str:
        """A command of the CLI, which must succeed; returns what it printed."""
        line = [sys.executable, "-c", "from journey_pipelines.cli import main; main()", *arguments]
        ended = subprocess.run(line, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=PATIENCE)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def event(self, customer: str, type_: str, payload: dict[str, Any], profile: dict[str, Any] | None = None) -> None:
        self._as_app(_EVENT, c=customer, t=type_, e=json.dumps(payload), p=None if profile is None else json.dumps(profile))

    def profile(self, customer: str, **values: Any) -> None:
        self._as_app("SELECT journeys.upsert_profile(:c, CAST(:p AS jsonb))", c=customer, p=json.dumps(values))

    def _as_app(self, statement: str, **values: Any) -> None:
        """With the rights of an app, and no others."""
        with self.db.begin() as conn:
            conn.execute(sa.text("SET LOCAL ROLE app_writer"))
            conn.execute(sa.text(statement), values)

    # -- the daemon --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        line = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(ROOT / "workspace.yaml")]
        self._family.start("daemon", line, self._environment)

    def start_and_kill(self) -> None:
        """Start the daemon and kill -9 the worker of its first drain in the middle of a batch, which has written and not committed."""
        with self.db.connect() as conn:
            conn.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            conn.execute(sa.text("LOCK TABLE journeys.journey_transitions IN SHARE MODE"))
            self.start()
            self.until("a drain writes transitions", lambda: self.rows(_BLOCKED))
            workers = [process for process in self._family.marked() if RUN_WORKER in command(process)]
            assert workers
            for process in workers:
                process.send_signal(signal.SIGKILL)
            psutil.wait_procs(workers, timeout=10)
            conn.rollback()

    def stop(self) -> None:
        """The daemon and all that it started, at once; its storage goes, too."""
        processes = self._family.marked()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)
        self._family.stop("daemon", patience=0)
        with self.db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(sa.text(f"DROP DATABASE IF EXISTS {self.db.url.database}_dagster WITH (FORCE)"))

    def travel(self, until: datetime) -> None:
        """Let the clock run fast up to a time, and at the wall's pace from there."""
        prepare.start_clock(self.db, RATE)
        with self.db.connect() as conn:
            while clock_now(conn) < until:
                time.sleep(0.02)
        prepare.rest_clock(self.db)

    def until(self, what: str, reached: Callable[[], object]) -> None:
        """Wait until `reached` says something true, while the daemon lives."""
        daemon, deadline = self._family.children["daemon"], time.monotonic() + PATIENCE
        while not reached():
            assert daemon.process.poll() is None, f"the daemon ended: {daemon.last_words()}"
            if time.monotonic() > deadline:
                left = self.rows("SELECT customer_id, channel, state, reason FROM journeys.messages WHERE state <> 'accepted'")
                refused = self.rows("SELECT customer_id, type, reason FROM journeys.event_quarantine")
                pytest.fail(f"not reached: {what}\nmessages: {left}\nquarantine: {refused}\n{daemon.last_words()}")
            time.sleep(0.1)

    # -- what came of it ---------------------------------------------------------------------------------------------

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.db.connect() as conn:
            return [tuple(row) for row in conn.execute(sa.text(statement), values)]

    def where(self, workflow: str, customer: str) -> str | None:
        """The step at which a customer's one journey waits, or why it has ended; None before it."""
        j = t.customer_journeys.c
        with self.db.connect() as conn:
            asked = sa.select(sa.func.coalesce(j.exit_reason, j.step_key)).where(j.workflow_id == workflow, j.customer_id == customer)
            return conn.execute(asked).scalar_one_or_none()

    def story(self, customer: str) -> list[str]:
        """A customer's transitions in the order of their own time, to the minute: `29 08:00 sale: -> night`."""
        tr = t.journey_transitions.c
        with self.db.connect() as conn:
            asked = sa.select(tr.at, tr.workflow_id, tr.from_step, tr.to_step).where(tr.customer_id == customer)
            rows = conn.execute(asked.order_by(tr.at, tr.at_seq, tr.id)).all()
        return [f"{at.astimezone(UTC):%d %H:%M} {workflow}: {start or ''} -> {end or 'end'}".replace(":  ->", ": ->")
                for at, workflow, start, end in rows]  # fmt: skip
