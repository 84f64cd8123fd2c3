"""Advance journeys: discover which steps have some due, then run one statement per step (engine.md, 15)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from journey_pipelines.engine.batch import Batch
from journey_pipelines.engine.bisect import DataError, attempt, halve
from journey_pipelines.engine.statements import run, run_fixed
from journey_pipelines.engine.take import absorb

#: passes over one round's customers: one person's journeys that write the profile go one after the other; more is a loop that never waits
_PASSES = 100_000


def advance_due(batch: Batch, shards: list[int]) -> int:
    """Journeys of these shards that are due at `now`, up to the batch's size; returns how many were claimed."""
    if not shards:
        return 0
    low = batch.water.due_from(shards)
    claimed, first = _in_order(batch, shards, low) if batch.plans.emitting else _step_by_step(batch, shards, low)
    batch.water.went(shards, first, batch.now)
    if claimed and batch.plans.effects:
        batch.water.told(batch.shards, first)
    return claimed


def _step_by_step(batch: Batch, shards: list[int], low: datetime) -> tuple[int, datetime | None]:
    """How many were claimed, and since when the first was due."""
    claimed, rows = 0, run_fixed(batch.conn, "discover", {"now": batch.now, "low": low, "shards": shards}).all()
    for row in rows:
        left = batch.size - claimed
        if left <= 0:
            break
        claimed += _scan(batch, row.step_uid, shards, left, row.first)
    return claimed, min((row.first for row in rows), default=None)


def _in_order(batch: Batch, shards: list[int], low: datetime) -> tuple[int, datetime | None]:
    """As `_step_by_step`. Of each customer what is due up to a step that may tell something; once one did, that is looked at before what is
    due behind it.
    """
    claimed, first = 0, None
    for _ in range(_PASSES):
        values = {"now": batch.now, "low": low, "shards": shards, "row_limit": batch.size - claimed, "emitting": batch.plans.emitting}
        before = batch.report.emitted
        rows = run_fixed(batch.conn, "due_first", values).all()
        # what goes on is due again no earlier than it was: the first pass has the first of all
        first = first or min((row.first for row in rows), default=None)
        moved = sum(_chosen(batch, row.step_uid, row.ids) for row in rows)
        claimed += moved
        if not moved or claimed >= batch.size or batch.report.emitted > before:
            break
    return claimed, first


def advance_round(batch: Batch, number: int, *, after: bool) -> None:
    """Timers of a round's customers before its events; with `after`, also those at the events themselves: the woken."""
    ordered = bool(batch.plans.emitting) and not after
    for _ in range(_PASSES):
        before = batch.report.emitted
        values: dict[str, Any] = {"round": number, "emitting": batch.plans.emitting} if ordered else {"round": number, "after": after}
        question = "timers_first" if ordered else "timers"
        rows = run_fixed(batch.conn, question, values).all()
        moved = sum(_chosen(batch, row.step_uid, row.ids) for row in rows)
        if not moved:
            return
        if ordered and batch.report.emitted > before:
            absorb(batch, number)
    raise RuntimeError(f"journeys still move after {_PASSES:,} passes at one place in time")


def _scan(batch: Batch, uid: int, shards: list[int], limit: int, first: datetime) -> int:
    step = batch.plans.step(uid)
    if step is None:
        return 0
    if _is_stopped(batch, uid):
        return _park(batch, [row.id for row in _due_ids(batch, uid, shards, limit, first)])
    values = batch.values(shards=shards, row_limit=limit, due_from=first)
    counts, wrong = attempt(batch.conn, lambda: run(batch.conn, step.scan, values))
    if wrong is None:
        return _count(batch, counts)
    return _chosen(batch, uid, [row.id for row in _due_ids(batch, uid, shards, limit, first)])


def _due_ids(batch: Batch, uid: int, shards: list[int], limit: int, first: datetime) -> Sequence[Any]:
    values = {"step_uid": uid, "now": batch.now, "shards": shards, "row_limit": limit, "due_from": first}
    return run_fixed(batch.conn, "due_ids", values).all()


def _is_stopped(batch: Batch, uid: int) -> bool:
    """Working out a wait moves nobody, and is done in a stopped workflow too: a journey that waits hears the events it waits for."""
    place = batch.plans.places.get(uid)
    return place is not None and place.workflow_id in batch.stopped and not place.arriving


def _park(batch: Batch, ids: Sequence[int]) -> int:
    """Nobody advances in a workflow that is held or paused: who comes due leaves the index of what is due, until it is released."""
    parked = run_fixed(batch.conn, "park", {"ids": list(ids), "now": batch.now}).rowcount
    batch.report.parked += parked
    return parked


def _chosen(batch: Batch, uid: int, ids: Sequence[int]) -> int:
    step = batch.plans.step(uid)
    if step is None:
        return 0
    if _is_stopped(batch, uid):
        return _park(batch, ids)
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
        batch.report.emitted += "journey.ended" in batch.plans.named
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
    report.emitted += counts.get("emitted", 0) + sum(n or 0 for name, n in counts.items() if name.startswith("writes_"))
    moved: int = counts["moved"]
    return moved
