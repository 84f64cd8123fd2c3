"""Every table of schema `journeys` as a SQLAlchemy Core table, under its own name: `tables.messages`.

The migrations are the truth: they hold the CHECKs, indexes, functions and rights. Here are columns, types, keys and
defaults, as far as statements need them; a test compares the two. Which column means what is said by the COMMENTs of the migration.
"""

from __future__ import annotations

from journey_pipelines.store.intake_tables import (
    automation_workflows,
    channel_consents,
    customer_event_stats,
    customer_events,
    customer_profiles,
    delivery_shards,
    deployment,
    engine_clock,
    engine_identity,
    engine_shards,
    event_inbox,
    event_keys,
    event_quarantine,
    event_sources,
    interests,
    segment_changes,
    segment_memberships,
    suppressions,
    workflow_steps,
    zone_offsets,
)
from journey_pipelines.store.journey_tables import (
    conversions,
    customer_journeys,
    journey_admissions,
    journey_context,
    journey_transitions,
    message_bodies,
    messages,
    split_assignments,
    tasks,
    workflow_action_logs,
)
from journey_pipelines.store.metadata import SHARD, TIMESTAMPTZ, metadata

__all__ = [
    "SHARD",
    "TIMESTAMPTZ",
    "automation_workflows",
    "channel_consents",
    "conversions",
    "customer_event_stats",
    "customer_events",
    "customer_journeys",
    "customer_profiles",
    "delivery_shards",
    "deployment",
    "engine_clock",
    "engine_identity",
    "engine_shards",
    "event_inbox",
    "event_keys",
    "event_quarantine",
    "event_sources",
    "interests",
    "journey_admissions",
    "journey_context",
    "journey_transitions",
    "message_bodies",
    "messages",
    "metadata",
    "segment_changes",
    "segment_memberships",
    "split_assignments",
    "suppressions",
    "tasks",
    "workflow_action_logs",
    "workflow_steps",
    "zone_offsets",
]
