"""Drains in processes of their own, to be raced, stopped and killed: one interpreter imports, then forks a child for each.

stdin: {"url": ..., "workers": [{"shards": [..], "batch_size": n, "now": iso or null, "linger": s, "budget": s, "idle_timeout": s,
"signal": name, "at": n}, ...]}. All begin at once. `signal` is what the worker sends itself after its n-th statement, commits counted.
stdout: a line {"worker": i, "pid": p} for each, then {"worker": i, "status": exit code or minus the signal, "report": figures or null}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.engine.drain import drain
from journey_pipelines.store.connect import make_engine


def main() -> None:
    order = json.load(sys.stdin)
    go, start = os.pipe()
    outputs: dict[int, tuple[int, int]] = {}
    for number, worker in enumerate(order["workers"]):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(start)
            _work(order["url"], number, worker, go, write)
        os.close(write)
        outputs[pid] = number, read
        _say(worker=number, pid=pid)
    os.close(start)
    while outputs:
        pid, status = os.wait()
        number, read = outputs.pop(pid)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        _say(worker=number, status=os.waitstatus_to_exitcode(status), report=json.loads(said) if said else None)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _work(url: str, number: int, worker: dict[str, Any], go: int, write: int) -> None:
    """Never returns."""
    try:
        engine = make_engine(url, application_name=f"drain-{number}", idle_in_transaction_timeout=worker.get("idle_timeout", 30.0))
        if "signal" in worker:
            _signal_at(engine, getattr(signal, worker["signal"]), worker["at"])
        os.read(go, 1)  # ends when all have been forked
        now = datetime.fromisoformat(worker["now"]) if worker.get("now") else None
        report = drain(
            engine,
            shards=worker.get("shards", range(64)),
            batch_size=worker.get("batch_size", 10_000),
            linger=worker.get("linger", 0.0),
            budget=worker.get("budget", 60.0),
            now=now,
        )
        engine.dispose()
        os.write(write, json.dumps(report.figures()).encode())
        os._exit(0)
    except BaseException as error:
        os.write(2, f"worker {number}: {type(error).__name__}: {error}\n".encode())
        os._exit(1)


def _signal_at(engine: sa.Engine, number: signal.Signals, at: int) -> None:
    done = 0

    def step(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == at:
            os.kill(os.getpid(), number)

    sa.event.listen(engine, "after_cursor_execute", step)
    sa.event.listen(engine, "commit", step)


if __name__ == "__main__":
    main()
