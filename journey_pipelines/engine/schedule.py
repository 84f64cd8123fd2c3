"""Schedules in the engine: a tick is an instant that everything before it has to reach first, then its audience is asked in.

Each shard knows up to where its ticks are planned (`engine_shards.planned_until`), and the worker that holds it moves that on in the
transaction that writes the audience, so a tick is planned once, whatever is killed or retried.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert

from journey_pipelines.engine.batch import Batch
from journey_pipelines.engine.calendar import AHEAD, MISSED, Tick, due
from journey_pipelines.engine.everybody import for_shards
from journey_pipelines.store.moment_tables import schedule_ticks
from journey_pipelines.store.tables import deployment, engine_shards

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
#: shards whose audience is asked in one transaction: with a million customers about 125,000
_SHARDS_AT_ONCE = 8
#: where nothing ticks, `planned_until` still follows, this far behind
_BEHIND = timedelta(days=1)


@dataclass(frozen=True)
class Boundary:
    """The next ticks of a batch's shards, all at one instant, and the shards that are not yet past it."""

    at: datetime
    ticks: list[Tick]
    shards: list[int]


def next_boundary(batch: Batch, *, late: bool) -> Boundary | None:
    """The earliest instant at which a schedule ticks for one of the batch's shards. `late`: ticks may have been missed."""
    calendar = batch.plans.calendar
    if not calendar.schedules:
        return None
    rows = batch.conn.execute(sa.select(engine_shards).where(engine_shards.c.shard.in_(batch.shards))).all()
    until = {row.shard: row.planned_until or _BEGINNING for row in rows}
    first = min(until.values())
    passed = calendar.between(first, batch.now)
    ticks = list(due(passed, batch.now, late=late, begun=_begun(batch, passed) if late else frozenset()))
    for tick in ticks:
        behind = sorted(shard for shard, planned in until.items() if planned < tick.at)
        if behind:
            return Boundary(tick.at, [other for other in ticks if other.at == tick.at], behind)
    if batch.now - first > _BEHIND:
        _planned(batch, batch.now, batch.shards)
    _next_tick(batch, late=late)
    return None


def _begun(batch: Batch, ticks: list[Tick]) -> frozenset[tuple[str, str, datetime]]:
    """Ticks that some shards have had: the others get them too, however late it is by now."""
    if not ticks or batch.now - ticks[0].at <= MISSED:
        return frozenset()
    t = schedule_ticks.c
    rows = batch.conn.execute(sa.select(t.workflow_id, t.trigger_id, t.tick_at).where(t.tick_at.between(ticks[0].at, ticks[-1].at)))
    return frozenset((row.workflow_id, row.trigger_id, row.tick_at) for row in rows)


def _next_tick(batch: Batch, *, late: bool) -> None:
    """For the doorbell: once no shard, of whatever worker, is behind."""
    d, calendar = deployment, batch.plans.calendar
    first = batch.conn.scalar(sa.select(sa.func.min(sa.func.coalesce(engine_shards.c.planned_until, _BEGINNING)))) or _BEGINNING
    if any(due(calendar.between(first, batch.now), batch.now, late=late)):
        return
    ahead = calendar.between(batch.now, batch.now + AHEAD)
    at = ahead[0].at if ahead else batch.now + AHEAD
    batch.conn.execute(sa.update(d).where(d.c.next_tick_at <= batch.now).values(next_tick_at=at))


def plan(batch: Batch, boundary: Boundary) -> None:
    """Ask the audiences of some of the boundary's shards in."""
    shards = boundary.shards[:_SHARDS_AT_ONCE]
    for tick in boundary.ticks:
        statement = batch.plans.tick(tick.workflow_id, tick.trigger.id)
        asked = for_shards(batch, statement, shards, tick_at=tick.at, zones=list(tick.zones))
        _log(batch, tick, shards, asked)
        batch.report.asked += asked
    _planned(batch, boundary.at, shards)
    # a tick that asks nobody is progress too: the batch after it goes on behind the boundary
    batch.report.planned_ticks += len(boundary.ticks)


def _log(batch: Batch, tick: Tick, shards: list[int], asked: int) -> None:
    t = schedule_ticks
    row: dict[str, Any] = {"workflow_id": tick.workflow_id, "trigger_id": tick.trigger.id, "tick_at": tick.at, "shard": shards[0]}
    new = pg_insert(t).values(**row, audience=asked, planned_at=batch.now)
    keys = [t.c.workflow_id, t.c.trigger_id, t.c.tick_at, t.c.shard]
    batch.conn.execute(new.on_conflict_do_update(index_elements=keys, set_={"audience": t.c.audience + new.excluded.audience}))


def _planned(batch: Batch, at: datetime, shards: list[int]) -> None:
    s = engine_shards
    later = sa.or_(s.c.planned_until.is_(None), s.c.planned_until < at)
    batch.conn.execute(sa.update(s).where(s.c.shard.in_(shards), later).values(planned_until=at))
