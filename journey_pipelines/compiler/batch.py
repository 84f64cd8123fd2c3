"""The batch: one micro-batch's events that make rounds, in a temporary table of the worker's session."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from journey_pipelines.compiler.statement import TS

#: a static segment's move and a profile's change make rounds as events do; they are not events, and not in the history
MOVE = "segment.move"
CHANGE = "customer.change"

#: round n holds everybody's n-th moment of the batch. journey_id: the journey an event belongs to; keys: profile keys that changed;
#: depth: effects in a row at one instant; newest_at: the newest of the customer's events that was known before the batch
batch_events = sa.Table(
    "batch_events",
    sa.MetaData(),
    sa.Column("seq", sa.BigInteger),
    sa.Column("customer_id", sa.Text),
    sa.Column("shard", sa.SmallInteger),
    sa.Column("type", sa.Text),
    sa.Column("occurred_at", TS),
    sa.Column("received_at", TS),
    sa.Column("payload", JSONB),
    sa.Column("profile", JSONB),
    sa.Column("journey_id", sa.BigInteger),
    sa.Column("round", sa.Integer),
    sa.Column("keys", ARRAY(sa.Text)),
    sa.Column("depth", sa.SmallInteger),
    sa.Column("newest_at", TS),
    prefixes=["TEMPORARY"],
)
