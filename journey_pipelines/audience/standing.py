"""What holds workflows back, for `journeys status`: holds, releases under way, open tasks, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.audience.tasks import count_open
from journey_pipelines.delivery.send_limits import SendLimits
from journey_pipelines.engine.holds import Hold, open_holds
from journey_pipelines.engine.resume import under_way
from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.store.moment_tables import workflow_entries
from journey_pipelines.store.tables import automation_workflows
from journey_pipelines.workflows.model import Limits, Rate
from journey_pipelines.workflows.rates import bucket_length, bucket_of, reach


@dataclass(frozen=True)
class LimitStatus:
    """A workflow's limit: `what` is in_flight, entries or sends; `left` more fit now."""

    workflow_id: str
    what: str
    limit: str
    left: int


@dataclass(frozen=True)
class Standing:
    """`resuming`: released workflows that still let people go, until when. `tasks`: open ones by workflow."""

    holds: list[Hold]
    resuming: Mapping[str, datetime]
    tasks: Mapping[str, int]
    limits: list[LimitStatus]


def standing(conn: sa.Connection, now: datetime) -> Standing:
    """As it is at `now`; reads only."""
    resuming = {name: until for name, (_, until) in under_way(conn).items()}
    return Standing(open_holds(conn), resuming, count_open(conn), _limits(conn, now))


def _limits(conn: sa.Connection, now: datetime) -> list[LimitStatus]:
    w = automation_workflows.c
    stored = w.definition["workflow"]["limits"]
    query = sa.select(w.id, stored.label("limits")).where(w.is_current, sa.func.jsonb_typeof(stored) == "object").order_by(w.id)
    found = []
    for row in conn.execute(query).all():
        limits = Limits.model_validate(row.limits)
        if limits.in_flight is not None:
            inside: int = run_fixed(conn, "operations/in_flight", {"workflow": row.id, "most": limits.in_flight}).scalar_one()
            found.append(LimitStatus(row.id, "in_flight", f"{limits.in_flight:,}", max(0, limits.in_flight - inside)))
        if limits.entries is not None:
            found.append(LimitStatus(row.id, "entries", _said(limits.entries), _entries_left(conn, row.id, limits.entries, now)))
        if limits.sends is not None:
            left = SendLimits({row.id: limits.sends}).rooms(conn, now)[row.id]
            found.append(LimitStatus(row.id, "sends", _said(limits.sends), left))
    return found


def _entries_left(conn: sa.Connection, workflow_id: str, rate: Rate, now: datetime) -> int:
    e = workflow_entries.c
    start = bucket_of(now, bucket_length(rate)) - reach(rate)
    entered = sa.select(sa.func.coalesce(sa.func.sum(e.entries), 0)).where(e.workflow_id == workflow_id, e.minute >= start)
    return max(0, rate.count - int(conn.execute(entered).scalar_one()))


def _said(rate: Rate) -> str:
    return f"{rate.count:,} in {rate.per}"
