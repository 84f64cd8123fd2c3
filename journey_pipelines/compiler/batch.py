"""The batch: one micro-batch's events that make rounds, in a temporary table of the worker's session."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.compiler.statement import TS

#: round n holds everybody's n-th event of the batch; journey_id is set where the event belongs to a message we sent
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
    prefixes=["TEMPORARY"],
)
