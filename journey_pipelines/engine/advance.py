"""Advance journeys: discover which steps have some due, then run one statement per step (engine.md, 15)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from journey_pipelines.engine.batch import Batch
from journey_pipelines.engine.bisect import DataError, attempt, halve
from journey_pipelines.engine.statements import run, run_fixed

BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
#: passes over one round's customers: a journey makes at most this many steps without waiting before the next event is looked at
_PASSES = 1000


def advance_due(batch: Batch, shards: list[int], low: datetime) -> int:
    """Journeys of these shards that are due at `now`, up to the batch's size; returns how many were claimed."""
    if not shards:
        return 0
    claimed = 0
    for row in run_fixed(batch.conn, "discover", {"now": batch.now, "low": low, "shards": shards}).all():
        left = batch.size - claimed
        if left <= 0:
            break
        claimed += _scan(batch, row.step_uid, shards, left)
    return claimed


def advance_round(batch: Batch, number: int, *, after: bool) -> None:
    """Timers of a round's customers before its events; with `after`, also those at the events themselves: the woken."""
    for _ in range(_PASSES):
        rows = run_fixed(batch.conn, "timers", {"round": number, "after": after}).all()
        moved = sum(_chosen(batch, row.step_uid, row.ids) for row in rows)
        if not moved:
            return


def _scan(batch: Batch, uid: int, shards: list[int], limit: int) -> int:
    step = batch.plans.step(uid)
    if step is None:
        return 0
    values = batch.values(shards=shards, row_limit=limit)
    counts, wrong = attempt(batch.conn, lambda: run(batch.conn, step.scan, values))
    if wrong is None:
        return _count(batch, counts)
    rows = run_fixed(batch.conn, "due_ids", {"step_uid": uid, "now": batch.now, "shards": shards, "row_limit": limit})
    return _chosen(batch, uid, [row.id for row in rows])


def _chosen(batch: Batch, uid: int, ids: Sequence[int]) -> int:
    step = batch.plans.step(uid)
    if step is None:
        return 0
    moved = 0

    def work(some: Sequence[int]) -> dict[str, Any]:
        return run(batch.conn, step.chosen, batch.values(ids=list(some)))

    def done(counts: dict[str, Any]) -> None:
        nonlocal moved
        moved += _count(batch, counts)

    def fail(journey_id: int, wrong: DataError) -> None:
        nonlocal moved
        moved += 1
        batch.report.failed += 1
        run_fixed(batch.conn, "fail_journey", {"id": journey_id, "now": batch.now, "sqlstate": wrong.sqlstate, "error": wrong.message})

    for start in range(0, len(ids), batch.size):
        halve(batch.conn, ids[start : start + batch.size], work, done, fail)
    return moved


def _count(batch: Batch, counts: dict[str, Any]) -> int:
    report = batch.report
    report.advanced += counts["moved"]
    report.ended += counts["ended"]
    report.planned += counts["planned"]
    report.conflicts += counts["conflicts"]
    moved: int = counts["moved"]
    return moved
