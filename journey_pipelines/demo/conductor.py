"""Starts the demo in order, watches over it, and takes it down again: nothing it started outlives it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import httpx
import sqlalchemy as sa
from rich.console import Console

from journey_pipelines.demo import prepare
from journey_pipelines.demo.ports import choose
from journey_pipelines.demo.processes import CODE_SERVER, CODE_SERVER_KEEPER, Family
from journey_pipelines.demo.webserver import Webserver, WebserverError
from journey_pipelines.settings import Settings
from journey_pipelines.store import server
from journey_pipelines.store.connect import make_engine
from journey_pipelines.store.migrate import migrate

UP_WITHIN = 180.0


class DemoError(RuntimeError):
    """The demo cannot start or go on; the text says what to do."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for; a port that is None is chosen."""

    rate: float
    seed: int
    pace: float
    port: int | None
    inbox_port: int | None
    smtp_port: int | None


class Conductor:
    """A running demo, as a context: entering starts everything, leaving stops it, in whatever state it is."""

    def __init__(self, options: Options, settings: Settings, console: Console) -> None:
        self.options = options
        self.console = console
        self.data = settings.data.resolve()
        self.folder = self.data / "demo"
        self.reports = settings.reports.resolve()
        self.root = _project_root()
        self._settings = settings
        self._began = time.monotonic()
        self._own_server = False
        self._clock_runs = False
        self._lock: IO[str] | None = None
        self._family: Family | None = None
        self._engine: sa.Engine | None = None
        self._webserver: Webserver | None = None
        self._look_again = 0.0
        self._dagster: tuple[list[str], dict[str, str]] = ([], {})
        self.stopping = False
        self.inbox_url = ""

    @property
    def engine(self) -> sa.Engine:
        assert self._engine is not None
        return self._engine

    @property
    def family(self) -> Family:
        assert self._family is not None
        return self._family

    @property
    def webserver(self) -> Webserver:
        assert self._webserver is not None
        return self._webserver

    def __enter__(self) -> Conductor:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop()

    def say(self, text: str) -> None:
        """A line of progress, with the seconds since the beginning."""
        self.console.print(f"[dim]{time.monotonic() - self._began:6.1f} s[/]  {text}", soft_wrap=True)

    def close_shop(self) -> None:
        """No more customers, and nobody opens or clicks any more."""
        self.family.stop("shop", patience=10)
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{self.inbox_url}/control", json={"reactions": "off"}, timeout=5)

    def hurry(self) -> None:
        """Wait for nobody any more."""
        if self._family is not None:
            self._family.patient = False

    def rest_clock(self) -> None:
        prepare.rest_clock(self.engine)
        self._clock_runs = False

    def look_after(self) -> None:
        """See that everybody lives: DemoError for a child that ended by itself; a code server that was killed is started again.

        `dagster code-server start` starts another server only when it is asked to reload; and where it was killed itself, `dagster dev`
        does not notice at all, so that all of Dagster is started again.
        """
        for child in self.family.dead():
            raise DemoError(f"{child.name} ended by itself with {child.process.returncode}; the end of {child.log}:\n{child.last_words()}")
        now = time.monotonic()
        if now < self._look_again:
            return
        lines = self.family.commands("dagster")
        served, kept = (any(words in line for line in lines) for words in (CODE_SERVER, CODE_SERVER_KEEPER))
        self._look_again = now + (2.0 if served and kept else 15.0)
        if not kept:
            self.say("the code server's keeper is gone; starting Dagster again")
            self.family.stop("dagster", patience=5, first=signal.SIGINT)
            self._start_dagster()
        elif not served:
            self.say("the code server is gone; starting it again")
            with contextlib.suppress(httpx.HTTPError, WebserverError):
                self.webserver.reload()

    def _start_dagster(self) -> None:
        command, environment = self._dagster
        self.family.start("dagster", command, environment)
        self._await("dagster", self.webserver.missing)

    def _start(self) -> None:
        self._alone()
        self._family = Family(self.folder)
        if left := self._family.sweep():
            self.say(f"ended {len(left)} processes that an earlier demo had left behind")
        ports = self._ports()
        with self._step("PostgreSQL"):
            url = self._database()
        self._engine = make_engine(url, application_name="demo conductor", pool_size=2)
        with self._step("tables and roles"):
            migrate(self._engine)
            self._first_of_all()
            shop_url = prepare.shop_role(self._engine, self.folder / "shop.password")
            storage = prepare.dagster_storage(self._engine)
        smtp, inbox, dagster = ports["smtp"], ports["inbox"], ports["dagster"]
        self.inbox_url = f"http://127.0.0.1:{inbox}"
        environment = self._environment(url, storage, smtp, inbox)
        shop_environment = {**os.environ, "SHOP_DATABASE_URL": shop_url}
        with self._step("the shop's tables and the workflows"):
            with self._engine.connect() as conn:
                reader = conn.scalar(sa.text("SELECT current_user"))
            self._call("shop --prepare", [*_shop(self.folder), "--prepare", "--reader", reader], shop_environment)
            self._call("deploy", [sys.executable, "-c", "from journey_pipelines.cli import main; main()", "deploy"], environment)
        with self._step("the channel sandbox"):
            command = [sys.executable, "-m", "journey_pipelines.demo.sandbox", "--folder", str(self.folder / "sandbox")]
            command += ["--port", str(inbox), "--smtp-port", str(smtp), "--seed", str(self.options.seed)]
            self.family.start("sandbox", command, shop_environment)
            self._await("sandbox", lambda: None if _answers(f"{self.inbox_url}/healthz") else "it does not answer yet")
        with self._step("Dagster"):
            self._dagster_home(storage)
            command = [sys.executable, "-m", "dagster", "dev", "-w", str(self.root / "workspace.yaml")]
            command += ["-h", "127.0.0.1", "-p", str(dagster)]
            self._webserver, self._dagster = Webserver(f"http://127.0.0.1:{dagster}"), (command, environment)
            self._start_dagster()
        with self._step("the shop"):
            command = [*_shop(self.folder), "--seed", str(self.options.seed), "--pace", str(self.options.pace), "--sandbox", self.inbox_url]
            self.family.start("shop", command, shop_environment)
            journal = self.folder / "shop" / "events.jsonl"
            size = journal.stat().st_size if journal.exists() else 0
            self._await("shop", lambda: None if journal.exists() and journal.stat().st_size > size else "nobody has come in yet")
        self._write_running(url, ports)

    def _stop(self) -> None:
        """Take everything down; whatever fails on the way, the rest is tried."""
        self.stopping = True
        family = self._family
        if family is not None and family.children:
            self.say("stopping")
        with contextlib.ExitStack() as rest:
            rest.callback(self._unlock)
            rest.callback(self._stop_server)
            rest.callback(self._dispose)
            if family is not None:
                rest.callback(family.sweep)
                # Dagster ends its own processes when interrupted, runs included; what it leaves the sweep takes.
                rest.callback(family.stop, "sandbox", patience=5)
                rest.callback(family.stop, "dagster", patience=15, first=signal.SIGINT)
                rest.callback(family.stop, "shop", patience=5)

    def _dispose(self) -> None:
        if self._webserver is not None:
            self._webserver.close()
        if self._engine is not None:
            try:
                if self._clock_runs:
                    self.rest_clock()
            finally:
                self._engine.dispose()

    def _stop_server(self) -> None:
        (self.folder / "running.json").unlink(missing_ok=True)
        if self._own_server:
            server.stop(self.data)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _alone(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise DemoError(f"a demo runs already in {self.folder}; stop it with Ctrl-C, or set JOURNEYS_DATA to another folder") from None

    def _database(self) -> str:
        if self._settings.database_url is not None:
            return self._settings.database_url
        # Somebody's `journeys db start` stays; a server of our own ends with us, even if we are killed.
        self._own_server = not server.status(self.data).running
        return server.start(self.data, while_pid=os.getpid() if self._own_server else None)

    def _first_of_all(self) -> None:
        aside = prepare.claim_journals(self.engine, self.folder)
        if aside is not None:
            self.say(f"the journals found here tell of another database; they are in {aside}")
        # Before anything is dated: the defaults of what comes in ask the clock.
        prepare.start_clock(self.engine, self.options.rate)
        self._clock_runs = True

    def _ports(self) -> dict[str, int]:
        asked, taken = self.options, set[int]()
        ports = {}
        for name, what, option, wanted, default in (
            ("dagster", "the Dagster UI", "--port", asked.port, 3000),
            ("inbox", "the sandbox's inbox", "--inbox-port", asked.inbox_port, 8025),
            ("smtp", "the sandbox's SMTP server", "--smtp-port", asked.smtp_port, 2525),
        ):
            ports[name] = choose(what, option, wanted, default, taken)
            taken.add(ports[name])
            if wanted is None and ports[name] != default:
                self.say(f"port {default} is busy: {what} is on {ports[name]}")
        return ports

    def _environment(self, url: str, storage: str, smtp: int, inbox: int) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": url,
            "JOURNEYS_DATA": str(self.data),
            "JOURNEYS_PROJECT": str(self._settings.project.resolve()),
            "JOURNEYS_REPORTS": str(self.reports),
            "JOURNEYS_SMTP_URL": f"smtp://127.0.0.1:{smtp}",
            "JOURNEYS_SMS_URL": f"http://127.0.0.1:{inbox}/sms",
            "JOURNEYS_PUSH_URL": f"http://127.0.0.1:{inbox}/push",
            "JOURNEYS_SENDER": os.environ.get("JOURNEYS_SENDER") or "Fern & Finch <hello@shop.example>",
            "JOURNEYS_SENSORS": "running",
            "JOURNEYS_DAGSTER_URL": storage,
            "DAGSTER_HOME": str(self.data / "dagster"),
            # `dagster dev` announces that it will be superseded; that is no news for whoever looks at the demo
            "PYTHONWARNINGS": "ignore",
            "PYTHONUNBUFFERED": "1",
        }

    def _dagster_home(self, storage: str) -> None:
        home = self.data / "dagster"
        home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / "dagster.yaml", home / "dagster.yaml")

    def _call(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Run a program to its end; DemoError with its words when it fails."""
        ended = subprocess.run(command, env=self.family.environment(environment), capture_output=True, text=True, timeout=120)
        if ended.returncode != 0:
            raise DemoError(f"{name} failed:\n{(ended.stdout + ended.stderr).strip()}")

    def _await(self, name: str, missing: Callable[[], str | None]) -> None:
        """Wait until `missing` answers None; DemoError when the child dies or three minutes pass."""
        began = said = time.monotonic()
        while (lacking := missing()) is not None:
            for child in self.family.dead():
                raise DemoError(f"{child.name} ended with {child.process.returncode}; the end of {child.log}:\n{child.last_words()}")
            if time.monotonic() - said > 5:
                said = time.monotonic()
                self.say(f"[dim]{lacking}[/]")
            if time.monotonic() - began > UP_WITHIN:
                child = self.family.children[name]
                raise DemoError(f"{name} is not up after {UP_WITHIN:.0f} s: {lacking}; the end of {child.log}:\n{child.last_words()}")
            time.sleep(0.1)

    def _write_running(self, url: str, ports: dict[str, int]) -> None:
        path = self.folder / "running.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"pid": os.getpid(), "database_url": url, "ports": ports}, file)

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        self.say(f"starting {what} ...")
        yield
        self.say(f"[green]✓[/] {what}, {time.monotonic() - began:.1f} s")


def _shop(folder: Path) -> list[str]:
    return [sys.executable, "-m", "journey_pipelines.demo.shop", "--folder", str(folder / "shop")]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def _project_root() -> Path:
    """Where workspace.yaml and dagster.yaml are: the working directory, else the checkout this file belongs to."""
    for candidate in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (candidate / "workspace.yaml").exists() and (candidate / "dagster.yaml").exists():
            return candidate
    raise DemoError(f"workspace.yaml and dagster.yaml are not in {Path.cwd()}; run the demo from a checkout of the project")
