"""Tables of the journeys and of the send ledger. Import them from `tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Identity, Integer, Numeric, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

from journey_pipelines.store.metadata import TIMESTAMPTZ, metadata

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
