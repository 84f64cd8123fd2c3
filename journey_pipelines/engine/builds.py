"""What a deploy left to be computed for everybody, shard by shard: members of segments, plans of dates, members asked in at activation.

Computed as of the deploy, and before anything else is taken: a transition after it is one, whenever the engine comes to run.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.compiler.named import in_order
from journey_pipelines.engine.batch import Batch
from journey_pipelines.engine.everybody import for_shards
from journey_pipelines.store.moment_tables import engine_builds

#: shards computed in one transaction: with a million customers about 125,000
_SHARDS_AT_ONCE = 8
_KINDS = ("segment", "date", "existing")


def run_builds(batch: Batch) -> None:
    """The builds of a few of the batch's shards; nested segments after those they name, members asked in last."""
    b = engine_builds
    waiting = batch.conn.execute(sa.select(b).where(b.c.shard.in_(batch.shards), b.c.asked_at <= batch.now).order_by(b.c.shard)).all()
    if not waiting:
        return
    shards = sorted({row.shard for row in waiting})[:_SHARDS_AT_ONCE]
    wanted: dict[tuple[str, str, datetime], list[int]] = {}
    for row in waiting:
        if row.shard in shards:
            wanted.setdefault((row.kind, row.ref, row.asked_at), []).append(row.shard)
    rank = {segment_id: n for n, segment_id in enumerate(in_order({name: found[1] for name, found in batch.plans.segments.items()}))}
    for kind, ref, at in sorted(wanted, key=lambda key: (_KINDS.index(key[0]), rank.get(key[1], 0), key[1])):
        statement = batch.plans.build(kind, ref)
        if statement is not None:
            batch.report.asked += for_shards(batch, statement, wanted[kind, ref, at], now=at)
    batch.conn.execute(sa.delete(b).where(b.c.shard.in_(shards), b.c.asked_at <= batch.now))
    batch.report.built += len(shards)
