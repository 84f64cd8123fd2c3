"""Every table of schema `journeys` as a SQLAlchemy Core table, under its own name: `tables.messages`.

The migrations are the truth: they hold the CHECKs, indexes, functions and rights. Here are columns, types, keys and
defaults, as far as statements need them; a test compares the two. Which column means what is said by the COMMENTs of the migration.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Double,
    Identity,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, INTERVAL, JSONB, TIMESTAMP

metadata = MetaData(schema="journeys")

TIMESTAMPTZ = TIMESTAMP(timezone=True)
_CLOCK = text("journeys.clock_now()")
SHARD = "((('x' || substr(md5(customer_id), 1, 15))::bit(60)::bigint % 64)::smallint)"
_EFFECTIVE = "least(occurred_at, ((received_at AT TIME ZONE 'UTC') + interval '5 minutes') AT TIME ZONE 'UTC')"

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
    Column("occurred_at", TIMESTAMPTZ, nullable=False, server_default=_CLOCK),
    Column("payload", JSONB, nullable=False, server_default=text("'{}'")),
    Column("profile", JSONB),
    Column("received_at", TIMESTAMPTZ, nullable=False, server_default=_CLOCK),
    Column("causation_id", BigInteger),
    Column("depth", SmallInteger, nullable=False, server_default=text("0")),
    Column("effective_at", TIMESTAMPTZ, Computed(_EFFECTIVE, persisted=True)),
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
    Column("occurred_at", TIMESTAMPTZ, nullable=False, server_default=_CLOCK),
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

# Journeys

customer_journeys = Table(
    "customer_journeys",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("workflow_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("entry_key", Text, nullable=False, server_default=text("''")),
    Column("trigger_id", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("step_key", Text, nullable=False),
    Column("step_uid", BigInteger, nullable=False),
    Column("visit", Integer, nullable=False, server_default=text("1")),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("at_seq", BigInteger, nullable=False),
    Column("due_at", TIMESTAMPTZ, nullable=False),
    Column("due_seq", BigInteger, nullable=False),
    Column("arrived_seq", BigInteger),
    Column("entered_at", TIMESTAMPTZ, nullable=False),
    Column("entered_seq", BigInteger, nullable=False),
    Column("ended_at", TIMESTAMPTZ),
    Column("exit_reason", Text),
    Column("held_at", TIMESTAMPTZ),
    Column("held_out", Boolean, nullable=False, server_default=text("false")),
    Column("depth", SmallInteger, nullable=False, server_default=text("0")),
    Column("skip", Boolean, nullable=False, server_default=text("false")),
    Column("due_was", TIMESTAMPTZ),
)

journey_context = Table(
    "journey_context",
    metadata,
    Column("journey_id", BigInteger, primary_key=True, autoincrement=False),
    Column("event_type", Text, nullable=False),
    Column("event", JSONB, nullable=False),
)

journey_admissions = Table(
    "journey_admissions",
    metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("customer_id", Text, primary_key=True),
    Column("entry_key", Text, primary_key=True, server_default=text("''")),
    Column("entries", Integer, nullable=False),
    Column("active", Integer, nullable=False),
    Column("last_entered_at", TIMESTAMPTZ, nullable=False),
    Column("last_ended_at", TIMESTAMPTZ),
)

journey_transitions = Table(
    "journey_transitions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("journey_id", BigInteger, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("from_step", Text),
    Column("to_step", Text),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("at_seq", BigInteger, nullable=False),
    Column("recorded_at", TIMESTAMPTZ, nullable=False),
    Column("why", Text, nullable=False),
    Column("detail", JSONB),
)

split_assignments = Table(
    "split_assignments",
    metadata,
    Column("workflow_id", Text, primary_key=True),
    Column("step_key", Text, primary_key=True),
    Column("customer_id", Text, primary_key=True),
    Column("arm", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("assigned_at", TIMESTAMPTZ, nullable=False),
)

conversions = Table(
    "conversions",
    metadata,
    Column("journey_id", BigInteger, primary_key=True),
    Column("event_seq", BigInteger, primary_key=True),
    Column("workflow_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("value", Numeric),
    Column("exposed", Boolean, nullable=False),
)

workflow_action_logs = Table(
    "workflow_action_logs",
    metadata,
    Column("journey_id", BigInteger, primary_key=True),
    Column("step_key", Text, primary_key=True),
    Column("action_id", Text, primary_key=True),
    Column("visit", Integer, primary_key=True),
    Column("workflow_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("at", TIMESTAMPTZ, nullable=False),
    Column("recorded_at", TIMESTAMPTZ, nullable=False),
    Column("detail", JSONB),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("journey_id", BigInteger, nullable=False),
    Column("step_key", Text, nullable=False),
    Column("action_id", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text),
    Column("assignee", Text),
    Column("due_at", TIMESTAMPTZ),
    Column("status", Text, nullable=False, server_default=text("'open'")),
    Column("created_at", TIMESTAMPTZ, nullable=False),
    Column("closed_at", TIMESTAMPTZ),
    Column("closed_by", Text),
    Column("outcome", Text),
    Column("note", Text),
)

# The send ledger

messages = Table(
    "messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_key", Text, nullable=False),
    Column("journey_id", BigInteger, nullable=False),
    Column("step_key", Text, nullable=False),
    Column("action_id", Text, nullable=False),
    Column("visit", Integer, nullable=False),
    Column("slot", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("workflow_version", Integer, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("entry_key", Text, nullable=False, server_default=text("''")),
    Column("channel", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("topic", Text),
    Column("variant", Text),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("arrived_seq", BigInteger),
    Column("planned_at", TIMESTAMPTZ, nullable=False),
    Column("created_at", TIMESTAMPTZ, nullable=False),
    Column("send_after", TIMESTAMPTZ, nullable=False),
    Column("expires_at", TIMESTAMPTZ, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("doubts", SmallInteger, nullable=False, server_default=text("0")),
    Column("lease_epoch", Integer, nullable=False, server_default=text("0")),
    Column("lease_until", TIMESTAMPTZ),
    Column("address_hmac", BYTEA),
    Column("provider", Text),
    Column("provider_message_id", Text),
    Column("claimed_at", TIMESTAMPTZ),
    Column("accepted_at", TIMESTAMPTZ),
    Column("updated_at", TIMESTAMPTZ, nullable=False),
)

message_bodies = Table(
    "message_bodies",
    metadata,
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("address", Text),
    Column("subject", Text),
    Column("body_text", Text),
    Column("body_html", Text),
    Column("headers", JSONB, nullable=False, server_default=text("'{}'")),
    Column("frozen_at", TIMESTAMPTZ, nullable=False),
)
