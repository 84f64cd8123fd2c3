"""`make bench`: every measurement, or those named, as a table and as JSON on the last line.

`python -m benchmarks --quick` shows in a minute that all of them work; its sizes say nothing about speed, so nothing is judged then.
"""

import argparse
import resource
import sys
from collections.abc import Callable
from dataclasses import fields, replace

from rich.console import Console

from benchmarks import branch, idle, latency, many, segment, throughput
from benchmarks.database import bench_server
from benchmarks.figures import Figure, as_json, as_table
from benchmarks.sizes import FULL, QUICK, Sizes

#: name -> what it measures on a server, and how long it takes at full size
ON_A_SERVER: dict[str, tuple[Callable[[str, Sizes], list[Figure]], str]] = {
    "throughput": (lambda url, sizes: throughput.measure(url, sizes.throughput), "a minute"),
    "branch": (lambda url, sizes: branch.measure(url, sizes.branch), "three minutes"),
    "idle": (lambda url, sizes: idle.measure(url, sizes.parked, sizes.rounds), "three minutes"),
    "many": (lambda url, sizes: many.measure(url, sizes.workflows, sizes.due), "three minutes"),
    "segment": (lambda url, sizes: segment.measure(url, sizes.segment), "two minutes"),
}
#: those that need no server of ours, or start their own
BY_ITSELF: dict[str, tuple[Callable[[Sizes], list[Figure]], str]] = {
    "code": (lambda sizes: idle.code_location(), "seconds"),
    "latency": (lambda sizes: latency.measure(sizes.latency_seconds), "through Dagster, four minutes"),
}


def main() -> int:
    names, sizes, judged = _arguments()
    out = Console(width=None if sys.stdout.isatty() else 140)
    figures: list[Figure] = []
    if any(name in ON_A_SERVER for name in names):
        with bench_server() as url:
            for name in names:
                if name in ON_A_SERVER:
                    measure, long = ON_A_SERVER[name]
                    out.print(f"measuring {name} ({long} at full size) ...")
                    figures += measure(url, sizes)
    for name in names:
        if name in BY_ITSELF:
            measure_alone, long = BY_ITSELF[name]
            out.print(f"measuring {name} ({long}) ...")
            figures += measure_alone(sizes)
    figures.append(Figure("memory: most this process took", round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), "MB"))
    out.print(as_table(figures, judged=judged))
    sys.stdout.write(as_json(figures, judged=judged) + "\n")
    return 1 if judged and any(figure.met is False for figure in figures) else 0


def _arguments() -> tuple[list[str], Sizes, bool]:
    """Names in the order they run, sizes, and whether what was wanted is judged."""
    everything = [*ON_A_SERVER, *BY_ITSELF]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast it is, beside hand-written SQL in the same run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure; all of it without one: {', '.join(everything)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing judged")
    for field in fields(Sizes):
        full = getattr(FULL, field.name)
        many_of = isinstance(full, tuple)
        kind = float if isinstance(full, float) else int
        default = " ".join(map(str, full)) if many_of else full
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, nargs="+" if many_of else None, metavar="N", help=f"default {default}")
    given = parser.parse_args()
    unknown = sorted({*given.names} - {*everything})
    if unknown:
        parser.error(f"nothing is called {', '.join(unknown)}; there are: {', '.join(everything)}")
    chosen = {f.name: value for f in fields(Sizes) if (value := getattr(given, f.name)) is not None}
    chosen = {name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items()}
    sizes = replace(QUICK if given.quick else FULL, **chosen)
    return [name for name in everything if not given.names or name in given.names], sizes, not given.quick


if __name__ == "__main__":
    sys.exit(main())
