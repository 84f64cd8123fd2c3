"""Route, first half: rows leave the queues, into the history and into the batch's rounds, exactly once (architecture.md, D7)."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from journey_pipelines.engine.batch import ROUNDS_PER_CUSTOMER, Batch
from journey_pipelines.engine.bisect import DataError, attempt, halve
from journey_pipelines.engine.statements import run_fixed


def take(batch: Batch, moments_until: datetime) -> int:
    """Take a prefix of every shard's queues; returns the number of rows that make rounds."""
    batch.moments_until = moments_until
    per_shard = max(ROUNDS_PER_CUSTOMER, -(-batch.size // len(batch.shards)))
    counts, wrong = attempt(batch.conn, lambda: _take(batch, batch.shards, per_shard))
    if wrong is not None:
        return sum(_take_around(batch, shard, per_shard) for shard in batch.shards)
    _mark(batch, batch.shards, counts)
    return _count(batch, counts)


def absorb(batch: Batch, number: int) -> bool:
    """What the batch wrote for its own customers becomes rounds from `number` on, each in its place; whether there was anything.

    What cannot be taken stays in its queue, for a batch that finds it there and refuses it.
    """
    found = 0

    def done(counts: dict[str, Any]) -> None:
        nonlocal found
        found += _count(batch, counts)

    counts, wrong = attempt(batch.conn, lambda: _take(batch, batch.shards, 0, absorbing=True))
    if wrong is None:
        done(counts)
    else:
        # what cannot be taken now may lie below the marks
        batch.water.forget()
        customers = [row.customer_id for row in batch.conn.exec_driver_sql("SELECT customer_id FROM batch_customers ORDER BY 1")]

        def part(some: Sequence[str]) -> dict[str, Any]:
            return _take(batch, batch.shards, 0, absorbing=True, only=some)

        halve(batch.conn, customers, part, done, lambda *_: None)
    if not found:
        return False
    run_fixed(batch.conn, "renumber", {"round": number})
    return True


def _take(batch: Batch, shards: list[int], per_shard: int, *, absorbing: bool = False, only: Sequence[str] | None = None) -> dict[str, Any]:
    if batch.plans.effects and not batch.marks:
        batch.marks = dict(run_fixed(batch.conn, "marks", {}).mappings().one())
    values = {"now": batch.now, "per_shard": per_shard, "per_customer": ROUNDS_PER_CUSTOMER, "absorb": absorbing}
    values |= batch.water.values(shards)
    values["moments_until"] = batch.moments_until or batch.now
    marks = batch.marks or dict.fromkeys(("inbox_mark", "change_mark", "moment_mark"), 0)
    return dict(
        run_fixed(batch.conn, "take", {**values, "track": batch.plans.effects, "only": None if only is None else list(only), **marks})
        .mappings()
        .one()
    )


def _mark(batch: Batch, shards: list[int], counts: dict[str, Any]) -> None:
    """Below what was taken nothing is left; journeys that this batch's rows bring are due at their times at the earliest."""
    places = zip(counts["end_ats"] or (), counts["end_places"] or (), strict=True)
    batch.water.took(shards, dict(zip(counts["end_shards"] or (), places, strict=True)), batch.moments_until or batch.now)
    if counts["came"] is not None:
        batch.water.came(shards, counts["came"])


def _count(batch: Batch, counts: dict[str, Any]) -> int:
    report = batch.report
    report.rows_in += counts["taken"]
    report.segment_moves += counts["moved"]
    report.quarantined += counts["quarantined"]
    report.routed += counts["routed"]
    report.lag_seconds = max(report.lag_seconds, counts["lag_seconds"] or 0.0)
    in_rounds: int = counts["in_rounds"]
    return in_rounds


def _take_around(batch: Batch, shard: int, per_shard: int) -> int:
    """A shard whose prefix cannot be taken as a whole: halve the prefix; a single row that fails goes to quarantine."""
    wrong: DataError | None
    while True:
        oldest = _oldest(batch, shard)
        counts, wrong = attempt(batch.conn, partial(_take, batch, [shard], per_shard))
        if wrong is None:
            _mark(batch, [shard], counts)
            return _count(batch, counts)
        # an app may have committed an older row meanwhile: only what was the oldest before and after is what failed
        if per_shard == 1 and oldest == _oldest(batch, shard):
            break
        per_shard = max(1, per_shard // 2)
    if oldest is None:
        return 0
    queue, tid = oldest
    values = {"queue": queue, "tid": tid, "now": batch.now, "sqlstate": wrong.sqlstate, "error": wrong.message}
    run_fixed(batch.conn, "refuse", values)
    batch.report.rows_in += 1
    batch.report.quarantined += 1
    return 0


def _oldest(batch: Batch, shard: int) -> tuple[str, str] | None:
    row = run_fixed(batch.conn, "oldest", {"shard": shard, "now": batch.now}).first()
    return (row.queue, row.tid) if row else None
