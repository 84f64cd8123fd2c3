"""`make bench`: every measurement, as a table and as JSON on the last line."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import idle, latency, throughput
from benchmarks.database import bench_server


def main() -> int:
    out = Console()
    figures: dict[str, Any] = {}
    with bench_server() as url:
        for name, measure in (("throughput", throughput.measure), ("idle", idle.measure)):
            out.print(f"measuring {name} ...")
            figures |= measure(url)
    out.print("measuring the code location ...")
    figures |= idle.code_location()
    out.print("measuring the latency through Dagster, three minutes and a half ...")
    figures |= latency.measure()
    wanted = {
        "entries_ratio": 0.6, "advances_ratio": 0.6, "entries_per_second": 15_000, "advances_per_second": 8_000,
        "idle_tick_ms": -50, "code_location_seconds": -3, "latency_p50_seconds": -8,
    }  # fmt: skip
    table = Table("figure", "measured", "wanted")
    missed = []
    for key, value in figures.items():
        goal = wanted.get(key)
        met = goal is None or (value >= goal if goal > 0 else value <= -goal)
        if not met:
            missed.append(key)
        shown = "" if goal is None else f"{'>=' if goal > 0 else '<='} {abs(goal):,}"
        table.add_row(key, f"{value:,}", shown, style=None if met else "red")
    out.print(table)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if missed else 0


sys.exit(main())
