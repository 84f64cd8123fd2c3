"""Processes that the demo starts, and the promise that none of them outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

# Every process of a demo inherits this: it finds those that left their parent and their group.
MARK = "JOURNEYS_DEMO_FOLDER"
_LAST_LINES = 12

# How Dagster's processes look from outside: the server that loads the code, and what it spawns for each run.
CODE_SERVER = "dagster api grpc"
CODE_SERVER_KEEPER = "dagster code-server start"
RUN_WORKER = "multiprocessing.spawn import spawn_main"


@dataclass
class Child:
    """A started program, leader of its own session, so that a Ctrl-C at the terminal reaches only the demo itself."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """The last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
        except OSError:
            return ""


class Family:
    """The children of one demo folder."""

    def __init__(self, folder: Path) -> None:
        self._mark = str(folder.resolve())
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self.children: dict[str, Child] = {}
        self.patient = True

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {**environment, MARK: self._mark}

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a program; its output goes to logs/NAME.log, which keeps the run before as NAME.log.1."""
        log = self._logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment(environment),
                start_new_session=True,
                preexec_fn=_default_signals,
            )
        self.children[name] = Child(name, process, log)
        return self.children[name]

    def dead(self) -> list[Child]:
        """Children that ended though nobody stopped them."""
        return [child for child in self.children.values() if child.process.poll() is not None]

    def stop(self, name: str, *, patience: float, first: signal.Signals = signal.SIGTERM) -> None:
        """End one child: `first`, then after `patience` seconds SIGTERM and SIGKILL to whatever is left of its group."""
        child = self.children.pop(name, None)
        if child is None:
            return
        members = _with_descendants(child.process.pid)
        if child.process.poll() is None:
            child.process.send_signal(first)
        deadline = time.monotonic() + patience
        while child.process.poll() is None and self.patient and time.monotonic() < deadline:
            time.sleep(0.05)
        for number, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
            if _end(members, number, seconds):
                break
        child.process.wait()

    def commands(self, name: str) -> list[str]:
        """The command lines of a child's descendants, zombies left out."""
        return [command(p) for p in _with_descendants(self.children[name].process.pid)[1:] if _lives(p)]

    def sweep(self) -> list[str]:
        """End every process that carries this folder's mark; returns what they were. Its own caller never carries it."""
        found = self.marked()
        ended = [f"{p.pid} {command(p)[:80]}" for p in found]
        if not _end(found, signal.SIGTERM, 3.0):
            _end(found, signal.SIGKILL, 3.0)
        return ended

    def marked(self) -> list[psutil.Process]:
        """The living processes of this folder, whoever their parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def _default_signals() -> None:
    """A demo started in the background ignores SIGINT, and so would all that it starts: Dagster could not be asked to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _with_descendants(pid: int) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []


def _end(processes: list[psutil.Process], number: signal.Signals, seconds: float) -> bool:
    """Signal those that live and wait; whether all have gone."""
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [p for p in alive if _lives(p)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def command(process: psutil.Process) -> str:
    """Its command line, '' when it has gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
