"""`journeys run`: drain and dispatch in turn, in one process."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import sqlalchemy as sa

from journey_pipelines.engine.drain import drain
from journey_pipelines.engine.reports import DrainReport

Dispatcher = Callable[[float], Any]


def loop(
    engine: sa.Engine,
    *,
    mode: Literal["once", "until_idle", "forever"],
    batch_size: int,
    dispatcher: Dispatcher | None,
    before_batch: Callable[[Any], int] | None = None,
    budget: float = 10.0,
) -> Iterator[tuple[DrainReport, Any]]:
    """Yield (drain report, dispatch report or None) for each turn.

    `once`: one turn. `until_idle`: until a turn moved no journey and claimed no message. `forever`: the caller's interrupt ends it.
    """
    while True:
        drained = drain(engine, batch_size=batch_size, budget=budget, linger=0.0, before_batch=before_batch)
        sent = dispatcher(budget) if dispatcher is not None else None
        yield drained, sent
        if mode == "once":
            return
        if not drained.progress and not (sent is not None and sent.claimed):
            if mode == "until_idle":
                return
            time.sleep(0.5)
