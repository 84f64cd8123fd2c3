"""Tables of time, of what is deployed, of the intake and of the customers. Import them from `tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Computed, Double, Identity, Integer, Numeric, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, INTERVAL, JSONB, TIMESTAMP

from journey_pipelines.store.metadata import CLOCK, EFFECTIVE, SHARD, TIMESTAMPTZ, metadata

# Time and identity

engine_clock = Table(
    "engine_clock",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("wall_at", TIMESTAMPTZ, nullable=False),
    Column("engine_at", TIMESTAMPTZ, nullable=False),
    Column("rate", Double, nullable=False),
)

engine_identity = Table(
    "engine_identity",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("message_salt", Text, nullable=False),
    Column("hmac_inner", BYTEA, nullable=False),
    Column("hmac_outer", BYTEA, nullable=False),
)

# What is deployed

deployment = Table(
    "deployment",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("generation", BigInteger, nullable=False),
    Column("policies", JSONB, nullable=False),
    Column("catalogue", JSONB, nullable=False),
    Column("sources", JSONB, nullable=False),
    Column("deployed_at", TIMESTAMPTZ),
    Column("segments", JSONB, nullable=False, server_default=text("'{}'")),
    Column("watched_keys", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("named_events", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("named_segments", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("next_tick_at", TIMESTAMPTZ),
)

automation_workflows = Table(
    "automation_workflows",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("is_current", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("topic", Text),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("definition", JSONB, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("deployed_at", TIMESTAMPTZ, nullable=False),
    Column("active_since", TIMESTAMPTZ),
)

workflow_steps = Table(
    "workflow_steps",
    metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("step_key", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("step_uid", BigInteger, nullable=False),
    Column("entry_uid", BigInteger, nullable=False),
    Column("wait_kind", Text, nullable=False),
    Column("wait_months", Integer, nullable=False, server_default=text("0")),
    Column("wait_days", Integer, nullable=False, server_default=text("0")),
    Column("wait_elapsed", INTERVAL, nullable=False, server_default=text("'00:00:00'")),
)

interests = Table(
    "interests",
    metadata,
    Column("event_type", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("statement_uid", BigInteger, primary_key=True),
    Column("workflow_id", Text, nullable=False),
    Column("versions", ARRAY(Integer), nullable=False),
)

# Intake

engine_shards = Table(
    "engine_shards", metadata, Column("shard", SmallInteger, primary_key=True, autoincrement=False), Column("planned_until", TIMESTAMPTZ)
)

delivery_shards = Table("delivery_shards", metadata, Column("shard", SmallInteger, primary_key=True, autoincrement=False))

event_inbox = Table(
    "event_inbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False, server_default=text("'app'")),
    Column("source_event_id", Text),
    Column("customer_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("occurred_at", TIMESTAMPTZ, nullable=False, server_default=CLOCK),
    Column("payload", JSONB, nullable=False, server_default=text("'{}'")),
    Column("profile", JSONB),
    Column("received_at", TIMESTAMPTZ, nullable=False, server_default=CLOCK),
    Column("causation_id", BigInteger),
    Column("depth", SmallInteger, nullable=False, server_default=text("0")),
    Column("effective_at", TIMESTAMPTZ, Computed(EFFECTIVE, persisted=True)),
    Column("shard", SmallInteger, Computed(SHARD, persisted=True)),
    Column("journey_id", BigInteger),
)

event_keys = Table("event_keys", metadata, Column("key", BYTEA, primary_key=True), Column("seq", BigInteger, nullable=False))

customer_events = Table(
    "customer_events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("customer_id", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("occurred_at", TIMESTAMPTZ, nullable=False),
    Column("original_occurred_at", TIMESTAMPTZ),
    Column("received_at", TIMESTAMPTZ, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_event_id", Text),
    Column("payload", JSONB, nullable=False),
    Column("message_key", Text),
    Column("journey_id", BigInteger),
    Column("causation_id", BigInteger),
    Column("depth", SmallInteger, nullable=False, server_default=text("0")),
)

customer_event_stats = Table(
    "customer_event_stats",
    metadata,
    Column("customer_id", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("first_at", TIMESTAMPTZ, nullable=False),
    Column("last_at", TIMESTAMPTZ, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
)

event_quarantine = Table(
    "event_quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("inbox_id", BigInteger),
    Column("source", Text, nullable=False),
    Column("source_event_id", Text),
    Column("customer_id", Text),
    Column("type", Text),
    Column("occurred_at", TIMESTAMPTZ),
    Column("received_at", TIMESTAMPTZ),
    Column("payload", JSONB),
    Column("raw", Text),
    Column("reason", Text, nullable=False),
    Column("sqlstate", Text),
    Column("statement", Text),
    Column("quarantined_at", TIMESTAMPTZ, nullable=False),
)

event_sources = Table(
    "event_sources",
    metadata,
    Column("source_id", Text, primary_key=True),
    Column("cursor_value", TIMESTAMPTZ),
    Column("rows_read", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_refused", BigInteger, nullable=False, server_default=text("0")),
    Column("last_polled_at", TIMESTAMPTZ),
    Column("last_error", Text),
)

segment_changes = Table(
    "segment_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("segment_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("change", Text, nullable=False),
    Column("occurred_at", TIMESTAMPTZ, nullable=False, server_default=CLOCK),
    Column("shard", SmallInteger, Computed(SHARD, persisted=True)),
)

segment_memberships = Table(
    "segment_memberships",
    metadata,
    Column("segment_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("entered_at", TIMESTAMPTZ, nullable=False),
    Column("left_at", TIMESTAMPTZ),
    Column("source", Text, nullable=False),
)

# Customers

zone_offsets = Table(
    "zone_offsets",
    metadata,
    Column("zone", Text, primary_key=True),
    Column("utc_from", TIMESTAMPTZ, nullable=False),
    Column("utc_to", TIMESTAMPTZ, primary_key=True),
    Column("utc_offset", INTERVAL, nullable=False),
    Column("local_to", TIMESTAMP, nullable=False),
)

customer_profiles = Table(
    "customer_profiles",
    metadata,
    Column("customer_id", Text, primary_key=True),
    Column("shard", SmallInteger, nullable=False),
    Column("email_address", Text),
    Column("phone_number", Text),
    Column("push_token", Text),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("language", Text),
    Column("country", Text),
    Column("timezone", Text),
    Column("zone", Text),
    Column("zone_source", Text, nullable=False, server_default=text("'none'")),
    Column("subscription_status", Text),
    Column("lifetime_value", Numeric),
    Column("created_at", TIMESTAMPTZ),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'")),
    Column("updated_at", TIMESTAMPTZ, nullable=False),
)

channel_consents = Table(
    "channel_consents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("topic", Text),
    Column("state", Text, nullable=False),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("source", Text, nullable=False),
    Column("evidence", JSONB, nullable=False, server_default=text("'{}'")),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("address_hmac", BYTEA, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("source", Text, nullable=False),
)
