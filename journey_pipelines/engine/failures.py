"""Journeys that ended with an error: which, why, and letting them try again where they failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.engine import session
from journey_pipelines.engine.operator import OperationRefused, deployed_workflow
from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.engine.watches import look_again
from journey_pipelines.store.hashes import shard_of
from journey_pipelines.store.tables import customer_journeys

#: journeys a transaction
BATCH = 5_000


@dataclass(frozen=True)
class Failure:
    """A journey that ended at `step_key` because a statement could not digest it; `sqlstate` and `error` are the database's words."""

    journey_id: int
    workflow_id: str
    version: int
    customer_id: str
    entry_key: str
    step_key: str
    ended_at: datetime
    sqlstate: str | None
    error: str | None


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one step with one message."""

    workflow_id: str
    step_key: str
    sqlstate: str | None
    error: str | None
    journeys: int
    first_at: datetime
    last_at: datetime


@dataclass
class Retried:
    """`retried` journeys are active again; `refused`: journey id -> why not."""

    retried: int = 0
    refused: dict[int, str] = field(default_factory=dict)

    def reasons(self) -> list[tuple[str, int]]:
        """Reasons of refusal with how many journeys, the most frequent first."""
        return Counter(self.refused.values()).most_common()


def failures(conn: sa.Connection, workflow_id: str | None = None, most: int = 100) -> list[Failure]:
    """The last journeys that ended with an error, newest first."""
    given = {"workflow": workflow_id, "most": most}
    return [Failure(**row) for row in run_fixed(conn, "operations/failed", given).mappings()]


def failure_groups(conn: sa.Connection, workflow_id: str | None = None) -> list[FailureGroup]:
    """All of them by workflow, step and message, the most frequent first."""
    return [FailureGroup(**row) for row in run_fixed(conn, "operations/failed_groups", {"workflow": workflow_id}).mappings()]


def failed_ids(conn: sa.Connection, workflow_id: str) -> list[int]:
    """Every journey of a workflow that ended with an error. Raises OperationRefused for a workflow that is not deployed."""
    deployed_workflow(conn, workflow_id)
    j = customer_journeys.c
    failed = j.exit_reason == sa.literal_column("'error'")
    return list(conn.scalars(sa.select(j.id).where(j.workflow_id == workflow_id, failed).order_by(j.id)))


def retry(engine: sa.Engine, ids: Sequence[int], *, by: str, now: datetime, batch: int = BATCH) -> Retried:
    """Journeys that ended with an error go on at the step where they failed, due at `now` (or when their workflow is not stopped).

    Refused: journeys that are not there or ended otherwise, and those of whose customer and key another is active, unless the workflow's
    re-entry is `always`; of several failed ones of a customer and key the last goes on. In transactions of at most `batch`.
    """
    total = Retried()
    wanted = sorted(set(ids), reverse=True)
    for start in range(0, len(wanted), batch):
        with engine.begin() as conn:
            _retry(conn, sorted(wanted[start : start + batch]), by, now, total)
    return total


def _retry(conn: sa.Connection, ids: list[int], by: str, now: datetime, total: Retried) -> None:
    j = customer_journeys.c
    customers = conn.scalars(sa.select(j.customer_id).where(j.id.in_(ids))).all()
    # as an engine transaction does, but waiting: journeys belong to whoever holds their customers' shards
    session.wait_for_shards(conn, sorted({shard_of(customer) for customer in customers}))
    good = []
    for row in run_fixed(conn, "operations/retry_ask", {"ids": ids}).all():
        reason = _refusal(row)
        if reason is None:
            good.append(row.id)
        else:
            total.refused[row.id] = reason
    if good:
        total.retried += run_fixed(conn, "operations/retry", {"ids": good, "by": by[:128], "now": now}).scalar_one()
        look_again(conn, now, ids=good)


def _refusal(row: sa.Row) -> str | None:
    if row.status is None:
        return "there is no such journey"
    if row.status == "active":
        return "it is active"
    if row.exit_reason != "error":
        return f"it ended as {row.exit_reason}: only journeys that ended with an error can be retried"
    if row.reentry == "always":
        return None
    if row.another:
        return "its customer is in the workflow again, with the same key"
    if row.older:
        return "a later journey of its customer and key is retried in its place"
    return None


def parse_ids(words: Sequence[str]) -> list[int]:
    """Journey ids as typed. Raises OperationRefused for anything else."""
    wrong = [word for word in words if not (word.isascii() and word.isdigit() and len(word) < 19)]
    if wrong:
        raise OperationRefused(f"expected ids of journeys (whole numbers) or one workflow, got {', '.join(map(repr, wrong[:5]))}")
    return [int(word) for word in words]
