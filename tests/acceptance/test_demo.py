"""The demo as a user runs it: a verdict at the end, Ctrl-C that leaves nothing behind, a second run that goes on, workers killed meanwhile.

Always on an embedded server of its own, so that it needs nothing and disturbs nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from journey_pipelines.demo.processes import Family
from journey_pipelines.store import server

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]


class Demo:
    """Programs of the demo, run with a data folder of their own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        foreign = ("DATABASE_URL", "DURATION", "JOURNEYS_PROJECT", "JOURNEYS_REPORTS")
        self.environment = {name: value for name, value in os.environ.items() if name not in foreign} | {"JOURNEYS_DATA": str(data)}
        self.output = data.with_suffix(".txt")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            command = [sys.executable, "-m", "journey_pipelines.demo", *arguments]
            return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=output, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str, process: subprocess.Popen[bytes], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.said():
            assert process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"journey_pipelines.demo.{module}", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60)

    def left(self) -> list[psutil.Process]:
        return Family(self.data / "demo").marked()


@pytest.fixture
def demo() -> Iterator[Demo]:
    data = Path(tempfile.mkdtemp(prefix="journeys-demo-"))
    data.chmod(0o755)
    demo = Demo(data)
    yield demo
    Family(data / "demo").sweep()
    server.wipe(data)
    shutil.rmtree(data, ignore_errors=True)
    demo.output.unlink(missing_ok=True)


def test_a_verdict_ctrl_c_and_a_second_run(demo: Demo) -> None:
    process = demo.start("--pace", "25")
    demo.wait_for("Ctrl-C stops everything", process)
    for what in ("Dagster UI", "Sandbox inbox", "Latest report", "journeys person", "kill -9 $("):
        assert what in demo.said()
    second = subprocess.run(
        [sys.executable, "-m", "journey_pipelines.demo"], cwd=ROOT, env=demo.environment, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1 and "a demo runs already" in second.stdout
    time.sleep(10)
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 0, demo.said()
    assert demo.left() == [] and not server.status(demo.data).running
    journal = demo.data / "demo" / "shop" / "events.jsonl"
    before = journal.read_text().count("\n")

    # An unattended run on the same data, its workers and its code server killed while it works.
    process = demo.start("--pace", "25", "--duration", "45")
    demo.wait_for("everything answers", process)
    killed = 0
    for attempt in range(6):
        time.sleep(4)
        pids = demo.run("workers", *(["--code-server"] if attempt == 3 else [])).stdout.split()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
                killed += 1
    assert killed >= 2, demo.said()
    assert process.wait(420) == 0, demo.said()
    said = demo.said()
    assert "all well:" in said and "starting it again" in said
    assert re.search(r"^│\s+0\s+0\s+0\s+0\s+│$", said, re.MULTILINE), said
    report = re.search(r"Report +(\S+/report\.html)", said)
    assert report is not None and Path(report[1]).exists()
    assert demo.left() == [] and not server.status(demo.data).running
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(lines) > before > 0
    assert len({(line["source"], line["id"]) for line in lines}) == len(lines), "the second run used ids of the first"


def test_a_busy_port_is_named(demo: Demo) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        process = demo.start("--inbox-port", str(port))
        assert process.wait(60) == 1
    assert f"port {port} for the sandbox's inbox is busy; choose another with --inbox-port" in demo.said()
    assert demo.left() == []


def test_what_a_user_can_get_wrong_is_a_sentence(demo: Demo) -> None:
    demo.environment["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
    process = demo.start("--duration", "5")
    assert process.wait(60) == 1
    assert "error:" in demo.said() and "Traceback" not in demo.said()
    assert demo.start("--duration", "soon").wait(60) == 2
    assert "Traceback" not in demo.said()
