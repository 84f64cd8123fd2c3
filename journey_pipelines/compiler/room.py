"""Limits in the entry statement: of those who would enter, as many as there is room for, by time.

The engine asks first how many want to enter (`wanted`), works out what each bucket of time may take (`engine.limits`), and passes it to the
entry (`roomy`). Entries are counted at the time at which they happen, so that a replay of a year keeps the limit as the year would have.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from journey_pipelines.compiler.statement import ROOM, TS, run_time
from journey_pipelines.workflows.model import Limits
from journey_pipelines.workflows.rates import ORIGIN, entry_bucket

#: beside ROOM (all that may enter at once): what each bucket may take; buckets that are not named take nobody
BUCKETS = run_time("room_buckets", ARRAY(TS))
QUOTAS = run_time("room_quotas", ARRAY(sa.BigInteger))


def bucket(at: Any, limits: Limits | None) -> sa.ColumnElement[Any]:
    """When the bucket of a time begins, as `rates.bucket_of` says."""
    length = sa.literal(entry_bucket(limits), sa.Interval())
    return sa.func.date_bin(length, at, sa.literal(ORIGIN, TS), type_=TS)


def wanted(asking: sa.Select[Any], limits: Limits) -> sa.Select[Any]:
    """(bucket, n) of those asking (customer_id, occurred_at, seq)."""
    a = asking.subquery("asking").c
    at = bucket(a.occurred_at, limits).label("bucket")
    return sa.select(at, sa.func.count().label("n")).group_by(at)


def roomy(asking: sa.Select[Any], limits: Limits) -> sa.CTE:
    """customer_id of those asking for whom there is room: of each bucket the first, of all of them the first ROOM."""
    a = asking.subquery("asking").c
    if limits.entries is None:
        chosen = sa.select(a.customer_id).order_by(a.occurred_at, a.seq).limit(ROOM)
    else:
        at = bucket(a.occurred_at, limits)
        nth = sa.func.row_number().over(partition_by=at, order_by=(a.occurred_at, a.seq))
        ranked = sa.select(a.customer_id, a.occurred_at, a.seq, at.label("bucket"), nth.label("nth")).subquery("ranked")
        quota = sa.func.unnest(BUCKETS, QUOTAS).table_valued(sa.column("at", TS), sa.column("quota", sa.BigInteger)).render_derived("quota")
        chosen = (
            sa.select(ranked.c.customer_id)
            .select_from(ranked.join(quota, quota.c.at == ranked.c.bucket))
            .where(ranked.c.nth <= quota.c.quota)
            .order_by(ranked.c.occurred_at, ranked.c.seq)
            .limit(ROOM)
        )
    return chosen.cte("roomy").prefix_with("MATERIALIZED", dialect="postgresql")


def entered_by_bucket(entered: Any, limits: Limits | None) -> sa.ColumnElement[Any]:
    """For the entry's row of counts: {bucket as text: n} of the CTE `entered` (column entered_at); NULL where nobody entered."""
    at = bucket(entered.c.entered_at, limits).label("at")
    each = sa.select(sa.cast(at, sa.Text).label("at"), sa.func.count().label("n")).select_from(entered).group_by(at).subquery("each")
    return sa.select(sa.func.jsonb_object_agg(each.c.at, each.c.n)).scalar_subquery().label("entered_by")
