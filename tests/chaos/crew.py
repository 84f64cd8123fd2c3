"""Drains as the tests start them: a crew of processes, each with its pid, its end and its report."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CREW = Path(__file__).with_name("drain_crew.py")


def seeded() -> random.Random:
    """The seed is printed with a failure; SEED sets it."""
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**6))
    sys.stdout.write(f"SEED={seed}\n")
    return random.Random(seed)


class Crew:
    """Running drains: `pids` by worker; `reports()` waits for their end."""

    def __init__(self, process: subprocess.Popen[str], size: int) -> None:
        self.process = process
        lines = [self._line() for _ in range(size)]
        self.pids = [line["pid"] for line in lines]
        self.size = size

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        assert text, self.process.stderr.read() if self.process.stderr else ""
        found: dict[str, Any] = json.loads(text)
        return found

    def results(self) -> list[dict[str, Any]]:
        """status and report by worker."""
        ended = sorted((self._line() for _ in range(self.size)), key=lambda line: line["worker"])
        assert self.process.wait(30) == 0
        return ended

    def reports(self) -> list[dict[str, Any]]:
        """The figures of workers that all ended well."""
        ended = self.results()
        assert [line["status"] for line in ended] == [0] * self.size, self.process.stderr.read() if self.process.stderr else ""
        return [line["report"] for line in ended]


@contextmanager
def crew(url: str, *workers: dict[str, Any]) -> Iterator[Crew]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, str(CREW)], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"url": url, "workers": workers}))
    process.stdin.close()
    started: Crew | None = None
    try:
        started = Crew(process, len(workers))
        yield started
    finally:
        if process.poll() is None:
            for pid in [*(started.pids if started else ()), process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        process.wait()
        for output in (process.stdout, process.stderr):
            if output is not None:
                output.close()


def wait_for(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found
