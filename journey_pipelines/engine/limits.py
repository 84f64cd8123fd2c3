"""`limits` of a workflow: how many may be in it at once (in_flight), and enter it in a time (entries).

Who would enter beyond a limit does not, and is counted (`TickReport.limited`). A lock and a count in one statement is no lock
(engine.md, 23): the batch locks the limited workflows first, then counts, then enters, and keeps the lock until it commits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.workflows.model import Limits
from journey_pipelines.workflows.rates import allowances, reach

#: more than anybody enters in one statement
NO_LIMIT = 2**62


@dataclass(frozen=True)
class Room:
    """How many may enter now: at most `total`, and of each bucket of time at most its quota (no quota: nobody)."""

    total: int
    quotas: Mapping[datetime, int] = field(default_factory=dict)

    def values(self, came: Mapping[datetime, int] | None = None) -> dict[str, object]:
        """The run-time parameters of a limited entry statement (`compiler.room`); `came`: who has entered since, by bucket, where the
        statement runs in parts.
        """
        came = came or {}
        left = [max(0, quota - came.get(bucket, 0)) for bucket, quota in self.quotas.items()]
        return {"room": max(0, self.total - sum(came.values())), "room_buckets": list(self.quotas), "room_quotas": left}


def lock(conn: sa.Connection, workflows: Collection[str]) -> None:
    """Until this transaction ends nobody else enters these workflows. A batch locks all that it is sure to need at once; those that it
    meets on its way may make two batches wait for each other, and then one of them is run again.
    """
    if workflows:
        run_fixed(conn, "operations/lock_limited", {"workflows": list(workflows)}).all()


def room(conn: sa.Connection, workflow_id: str, limits: Limits, wanted: Mapping[datetime, int]) -> Room:
    """Room in a workflow, locked until this transaction ends. `wanted`: bucket -> who would enter (`compiler.room.wanted`); only asked for
    where `limits.entries` is set.
    """
    lock(conn, [workflow_id])
    total = NO_LIMIT
    if limits.in_flight is not None:
        inside: int = run_fixed(conn, "operations/in_flight", {"workflow": workflow_id, "most": limits.in_flight}).scalar_one()
        total = max(0, limits.in_flight - inside)
    if limits.entries is None or not wanted:
        return Room(total)
    far = reach(limits.entries)
    given = {"workflow": workflow_id, "low": min(wanted) - far, "high": max(wanted) + far}
    counted = {row.minute: row.entries for row in run_fixed(conn, "operations/entries_near", given)}
    return Room(total, allowances(limits.entries, counted, wanted))


def note_entries(conn: sa.Connection, entered: Mapping[str, Mapping[datetime, int]], slot: int) -> None:
    """Count who entered: workflow -> bucket of the entry's own time -> journeys. `slot`: the lowest shard that the batch holds, which no
    other worker holds.
    """
    rows = [(workflow, minute, n) for workflow, minutes in entered.items() for minute, n in minutes.items() if n]
    if not rows:
        return
    workflows, minutes, entries = zip(*rows, strict=True)
    given = {"workflows": list(workflows), "minutes": list(minutes), "entries": list(entries), "slot": slot}
    run_fixed(conn, "operations/note_entries", given).one()
