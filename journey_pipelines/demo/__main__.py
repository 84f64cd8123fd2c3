"""`python -m journey_pipelines.demo`: the whole product on this machine, until Ctrl-C, or for --duration seconds and a verdict."""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    console = Console(highlight=False)
    console.print("[bold]journey-pipelines demo[/]: a shop, its customers, and the journeys they are on")
    # After the first line: what comes next takes a second to import.
    from journey_pipelines.demo.run import run

    return run(options, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m journey_pipelines.demo", description=__doc__)
    duration = os.environ.get("DURATION") or None
    parser.add_argument("--duration", type=_seconds, default=duration, help="run unattended for so many seconds, then print a verdict")
    parser.add_argument("--rate", type=float, default=600.0, help="how much faster than the wall the demo's clock runs (default 600)")
    parser.add_argument("--seed", type=int, default=7, help="the same seed makes the same customers (default 7)")
    parser.add_argument("--pace", type=float, default=14.0, help="events a second the shop writes itself (default 14)")
    parser.add_argument("--port", type=int, help="the Dagster UI (default 3000, or the next free one)")
    parser.add_argument("--inbox-port", type=int, help="the sandbox's web inbox and HTTP provider (default 8025, or the next free one)")
    parser.add_argument("--smtp-port", type=int, help="the sandbox's SMTP server (default 2525, or the next free one)")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 7 * 86400:
        raise argparse.ArgumentTypeError(f"expected seconds above 0 and at most a week, got {text}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
