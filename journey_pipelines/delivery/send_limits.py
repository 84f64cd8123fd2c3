"""`limits.sends` of a workflow: at most so many messages claimed in any window of that length; the others stay planned and leave later.

What was claimed is counted in `workflow_sends` by the engine's clock, a claim that comes to nothing too. Claims of a limited workflow go
one after the other: a lock and a count in one statement is no lock (engine.md, 23).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from journey_pipelines.store.moment_tables import workflow_sends
from journey_pipelines.store.tables import automation_workflows
from journey_pipelines.workflows.model import Rate
from journey_pipelines.workflows.rates import bucket_length, bucket_of, reach

#: beside the engine's own advisory locks (engine/sql/lock_limited.sql)
_LOCKS = 7_235_003

_LOCK = sa.text(
    "SELECT pg_advisory_xact_lock(:locks, hashtext(w.id)) FROM (SELECT DISTINCT u.id FROM unnest(:workflows) AS u (id) ORDER BY 1) AS w"
).bindparams(sa.bindparam("locks", _LOCKS), sa.bindparam("workflows", type_=ARRAY(sa.Text)))


class SendLimits:
    """The limits of the current versions, read once per dispatch."""

    def __init__(self, rates: Mapping[str, Rate]) -> None:
        self.rates = dict(rates)

    def __contains__(self, workflow_id: object) -> bool:
        return workflow_id in self.rates

    def rooms(self, conn: sa.Connection, now: datetime, workflows: Collection[str] | None = None) -> dict[str, int]:
        """Limited workflow -> how many of its messages may be claimed now."""
        asked = {name: rate for name, rate in self.rates.items() if workflows is None or name in workflows}
        if not asked:
            return {}
        s = workflow_sends.c
        window = sa.or_(*(sa.and_(s.workflow_id == name, s.at > _window_start(rate, now)) for name, rate in asked.items()))
        sent = {row.workflow_id: row.n for row in conn.execute(
            sa.select(s.workflow_id, sa.func.sum(s.sends).label("n")).where(window).group_by(s.workflow_id)
        )}  # fmt: skip
        return {name: max(0, rate.count - int(sent.get(name, 0))) for name, rate in asked.items()}

    def lock(self, conn: sa.Connection, workflows: Collection[str]) -> None:
        """Until this transaction ends nobody else claims messages of these."""
        limited = sorted(name for name in set(workflows) if name in self.rates)
        if limited:
            conn.execute(_LOCK, {"workflows": limited}).all()

    def fitting(self, rooms: Mapping[str, int], messages: Sequence[tuple[int, str]]) -> list[int]:
        """Ids of those (id, workflow), in their order, for whom there is room."""
        left = dict(rooms)
        chosen = []
        for message_id, workflow_id in messages:
            if workflow_id in left:
                if left[workflow_id] <= 0:
                    continue
                left[workflow_id] -= 1
            chosen.append(message_id)
        return chosen

    def note(self, conn: sa.Connection, now: datetime, claimed: Sequence[str]) -> None:
        """Count a claim: the workflow of each message that is being sent. Under `lock`."""
        for workflow_id, n in Counter(name for name in claimed if name in self.rates).items():
            rate = self.rates[workflow_id]
            row = insert(workflow_sends).values(workflow_id=workflow_id, at=bucket_of(now, bucket_length(rate)), sends=n)
            conn.execute(
                row.on_conflict_do_update(index_elements=["workflow_id", "at"], set_={"sends": workflow_sends.c.sends + row.excluded.sends})
            )
            s = workflow_sends.c
            conn.execute(sa.delete(workflow_sends).where(s.workflow_id == workflow_id, s.at <= _window_start(rate, now)))


def _window_start(rate: Rate, now: datetime) -> datetime:
    """Buckets after this lie in a window that ends at `now`, at least in part."""
    return bucket_of(now, bucket_length(rate)) - reach(rate) - bucket_length(rate)


def read_send_limits(conn: sa.Connection, workflows: Collection[str] | None = None) -> SendLimits:
    """Of the current versions that have a limit of sends."""
    w = automation_workflows.c
    sends: Any = w.definition["workflow"]["limits"]["sends"]
    query = sa.select(w.id, sends.label("sends")).where(w.is_current, sa.func.jsonb_typeof(sends) == "object")
    if workflows is not None:
        query = query.where(w.id.in_(workflows))
    return SendLimits({row.id: Rate.model_validate(row.sends) for row in conn.execute(query)})


def full_workflows(conn: sa.Connection, now: datetime) -> list[str]:
    """Workflows that have sent all that their limit allows for now. Only those that sent something lately are looked at."""
    sending = conn.scalars(sa.select(workflow_sends.c.workflow_id).distinct()).all()
    if not sending:
        return []
    rooms = read_send_limits(conn, sending).rooms(conn, now)
    return sorted(name for name, room in rooms.items() if room <= 0)
