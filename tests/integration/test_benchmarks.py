"""The benchmarks work, and their hand-written baselines still write what the engine writes. How fast either is, no test can say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bench(server_url: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """The figures of `python -m benchmarks --quick` and all that it said."""
    command = [sys.executable, "-m", "benchmarks", "--quick", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "DATABASE_URL": server_url}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.parametrize(
    ("name", "sizes", "figures"),
    [
        ("throughput", ["--throughput", "500"], {"throughput: entries", "throughput: advances"}),
        ("branch", ["--branch", "2000"], {"branch: rate"}),
        ("idle", ["--parked", "200", "1000"], {"idle: tick, 200 parked", "idle: tick, 1,000 parked", "idle: doorbells, 1,000 parked"}),
        ("many", ["--workflows", "2", "--due", "40"], {"many: idle tick", "many: 40 due, compiled"}),
        ("segment", ["--segment", "2000"], {"segment: changes followed"}),
    ],
)
def test_a_measurement_at_a_small_size(server_url: str, name: str, sizes: list[str], figures: set[str]) -> None:
    """It compares what both wrote, and ends with an error where they differ."""
    found, said = bench(server_url, name, *sizes)
    assert figures <= found.keys()
    assert all(figure["value"] > 0 for figure in found.values())
    assert not any("met" in figure for figure in found.values()), "a small size says nothing about speed"
    assert f"measuring {name}" in said


def test_what_is_not_there_is_named() -> None:
    command = [sys.executable, "-m", "benchmarks", "speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "nothing is called speed; there are: throughput, branch, idle, many, segment, code, latency" in done.stderr
