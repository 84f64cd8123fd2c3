"""What the tables of schema `journeys` share: their metadata, and the expressions of columns that the database fills in."""

from __future__ import annotations

from sqlalchemy import MetaData, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

metadata = MetaData(schema="journeys")

TIMESTAMPTZ = TIMESTAMP(timezone=True)
CLOCK = text("journeys.clock_now()")
SHARD = "((('x' || substr(md5(customer_id), 1, 15))::bit(60)::bigint % 64)::smallint)"
EFFECTIVE = "least(occurred_at, ((received_at AT TIME ZONE 'UTC') + interval '5 minutes') AT TIME ZONE 'UTC')"
