"""Statements about everybody of some shards; one customer who makes them fail never stops the others (engine.md, 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.statement import Statement
from journey_pipelines.engine.batch import Batch
from journey_pipelines.engine.bisect import DataError, attempt, halve
from journey_pipelines.engine.statements import run
from journey_pipelines.store.tables import customer_event_stats, customer_profiles, event_quarantine


def for_shards(batch: Batch, statement: Statement, shards: Sequence[int], **values: Any) -> int:
    """Run it for the customers of the shards; returns `asked` of its counts. Who makes it fail is in `event_quarantine`."""
    asked = 0

    def work(customers: Sequence[str] | None) -> dict[str, Any]:
        return run(
            batch.conn, statement, batch.values(shards=list(shards), customers=None if customers is None else list(customers)) | values
        )

    def done(counts: dict[str, Any]) -> None:
        nonlocal asked
        asked += counts.get("asked", 0)

    counts, wrong = attempt(batch.conn, lambda: work(None))
    if wrong is None:
        done(counts)
        return asked
    halve(batch.conn, _customers(batch, shards), work, done, lambda customer, error: _fail(batch, statement, customer, error))
    return asked


def _customers(batch: Batch, shards: Sequence[int]) -> list[str]:
    p, s = customer_profiles.c, customer_event_stats.c
    known = sa.union(
        sa.select(p.customer_id).where(p.shard.in_(shards)),
        sa.select(s.customer_id).where(s.shard.in_(shards)),
    )
    return sorted(batch.conn.scalars(known))


def _fail(batch: Batch, statement: Statement, customer: str, wrong: DataError) -> None:
    batch.report.failed += 1
    row = {
        "source": "engine", "customer_id": customer, "reason": wrong.message, "sqlstate": wrong.sqlstate, "statement": statement.name,
        "quarantined_at": batch.now,
    }  # fmt: skip
    batch.conn.execute(sa.insert(event_quarantine).values(row))
