"""Who a step's statements are about: every journey column of them comes from here (engine.md, 8).

Two ways to claim: `scan` takes what is due in the worker's shards, `chosen` takes journeys by id (a round's timers and woken journeys, and
the halves of a batch that failed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.statement import DUE_FROM, IDS, LIMIT, NOW, SHARDS, Statement, compile_statement, lit
from journey_pipelines.store.tables import customer_journeys

_COLUMNS = (
    "id", "customer_id", "shard", "workflow_id", "version", "entry_key", "trigger_id", "visit", "held_out", "entered_at", "entered_seq",
    "at", "at_seq", "due_at", "due_seq", "due_was", "skip", "arrived_seq", "depth",
)  # fmt: skip


@dataclass(frozen=True)
class StepStatements:
    """A step's program: advance (or let arrive) who is due, by scan or by id. Each is compiled when it is first wanted: 20 ms, and most
    workers want one of the two.
    """

    uid: int
    name: str
    query: Callable[[sa.CTE], sa.Select[Any]]
    one_each: bool = False

    @cached_property
    def scan(self) -> Statement:
        """What is due in the worker's shards."""
        return compile_statement(self.name, self.query(claimed(self.uid, by_id=False, one_each=self.one_each)))

    @cached_property
    def chosen(self) -> Statement:
        """Journeys by id."""
        return compile_statement(self.name, self.query(claimed(self.uid, by_id=True, one_each=self.one_each)))


def claimed(uid: int, *, by_id: bool, one_each: bool = False) -> sa.CTE:
    """The journeys that carry `uid` and are due; `one_each`: of each customer only the first."""
    t = customer_journeys
    # by id through the primary key and nothing else: without statistics the planner would rather read everybody parked at the step
    given = sa.func.unnest(IDS).table_valued(sa.column("id", sa.BigInteger)).render_derived("given")
    j = sa.select(t).where(t.c.id == given.c.id).limit(lit(1)).lateral("j") if by_id else t
    query = sa.select(*(j.c[name] for name in _COLUMNS)).where(
        j.c.step_uid == sa.literal_column(str(uid), sa.BigInteger), j.c.status == lit("active"), j.c.held_at.is_(None)
    )
    if by_id:
        query = query.select_from(given.join(j, sa.true()))
    else:
        query = query.where(j.c.due_at <= NOW, j.c.due_at >= DUE_FROM, j.c.shard == sa.any_(SHARDS)).order_by(j.c.due_at).limit(LIMIT)
    due = query.cte("due").prefix_with("MATERIALIZED", dialect="postgresql")
    if not one_each:
        return due
    d = due.c
    return (
        sa.select(due)
        .distinct(d.customer_id)
        .order_by(d.customer_id, d.due_at, d.due_seq, d.id)
        .cte("due_one_each")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )


def count_of(rows: Any) -> sa.ScalarSelect[int]:
    """How many rows a CTE has."""
    return sa.select(sa.func.count()).select_from(rows).scalar_subquery()
