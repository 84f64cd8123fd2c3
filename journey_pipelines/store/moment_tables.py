"""Tables of segments, schedules, moments and holds, in the metadata of `tables`. What a column means: the COMMENTs of migration 0003."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Computed, Double, Identity, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from journey_pipelines.store.metadata import SHARD, TIMESTAMPTZ, metadata

segments = Table(
    "segments", metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("definition", JSONB, nullable=False),
    Column("uid", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("deployed_at", TIMESTAMPTZ, nullable=False),
    Column("refreshed_at", TIMESTAMPTZ),
    Column("last_error", Text),
)  # fmt: skip

engine_builds = Table(
    "engine_builds", metadata,
    Column("kind", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("asked_at", TIMESTAMPTZ, nullable=False),
)  # fmt: skip

customer_changes = Table(
    "customer_changes", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("received_at", TIMESTAMPTZ, nullable=False),
    Column("keys", ARRAY(Text), nullable=False),
    Column("depth", SmallInteger, nullable=False, server_default=text("0")),
    Column("shard", SmallInteger, Computed(SHARD, persisted=True)),
)  # fmt: skip

customer_moments = Table(
    "customer_moments", metadata,
    Column("customer_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("known_at", TIMESTAMPTZ, nullable=False),
)  # fmt: skip

schedule_ticks = Table(
    "schedule_ticks", metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("trigger_id", Text, primary_key=True),
    Column("tick_at", TIMESTAMPTZ, primary_key=True),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("audience", BigInteger, nullable=False),
    Column("planned_at", TIMESTAMPTZ, nullable=False),
)  # fmt: skip

operator_holds = Table(
    "operator_holds", metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("workflow_id", Text),
    Column("what", Text, nullable=False, server_default=text("'workflow'")),
    Column("why", Text, nullable=False),
    Column("held_by", Text, nullable=False),
    Column("held_at", TIMESTAMPTZ, nullable=False),
    Column("released_at", TIMESTAMPTZ),
    Column("released_by", Text),
)  # fmt: skip

resumptions = Table(
    "resumptions", metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("from_at", TIMESTAMPTZ, nullable=False),
    Column("until_at", TIMESTAMPTZ, nullable=False),
    Column("policy", Text, nullable=False),
)  # fmt: skip

workflow_entries = Table(
    "workflow_entries", metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("minute", TIMESTAMPTZ, primary_key=True),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("entries", BigInteger, nullable=False),
)  # fmt: skip

workflow_sends = Table(
    "workflow_sends", metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("at", TIMESTAMPTZ, primary_key=True),
    Column("sends", BigInteger, nullable=False),
)  # fmt: skip

best_time_prior = Table(
    "best_time_prior", metadata,
    Column("hour", SmallInteger, primary_key=True, autoincrement=False),
    Column("weight", Double, nullable=False),
)  # fmt: skip
