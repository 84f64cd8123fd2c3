"""Pids to try the demo's promise on: `kill -9 $(python -m journey_pipelines.demo.workers)` kills the run workers of the running demo.

With --code-server the pid of the code server, which the demo has started again. Nobody else's processes are ever named.
"""

from __future__ import annotations

import argparse
import sys

from journey_pipelines.demo.processes import CODE_SERVER, RUN_WORKER, Family, command
from journey_pipelines.settings import settings


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m journey_pipelines.demo.workers", description="Pids of the running demo's run workers.")
    parser.add_argument("--code-server", action="store_true", help="the code server's pid instead")
    options = parser.parse_args(argv)
    wanted = CODE_SERVER if options.code_server else RUN_WORKER
    pids = [str(process.pid) for process in Family(settings().data / "demo").marked() if wanted in command(process)]
    if not pids:
        sys.stderr.write("no code server is there\n" if options.code_server else "no run is going on; try again in a few seconds\n")
        return 1
    sys.stdout.write(" ".join(pids) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
