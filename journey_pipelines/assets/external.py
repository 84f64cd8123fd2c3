"""Assets that others write: the apps' events and segments, and the send ledger, which the job `dispatch_messages` reports on."""

from __future__ import annotations

import dagster as dg

PREFIX = "journeys"

ROUTED_EVENTS = dg.AssetKey([PREFIX, "routed_events"])
JOURNEY_ENTRIES = dg.AssetKey([PREFIX, "journey_entries"])
JOURNEY_ADVANCEMENTS = dg.AssetKey([PREFIX, "journey_advancements"])
MESSAGES = dg.AssetKey([PREFIX, "messages"])
INBOX = dg.AssetKey([PREFIX, "event_inbox"])


def event_type_key(event_type: str) -> dg.AssetKey:
    return dg.AssetKey([PREFIX, "event_types", event_type])


def segment_key(segment_id: str) -> dg.AssetKey:
    return dg.AssetKey([PREFIX, "segments", segment_id])


def source_key(source_id: str) -> dg.AssetKey:
    return dg.AssetKey([PREFIX, "sources", source_id])


def engine_tables() -> list[dg.AssetSpec]:
    """The inbox that apps write and the ledger that dispatch works off."""
    return [
        dg.AssetSpec(
            INBOX,
            group_name="intake",
            description="`event_inbox`: apps INSERT events here, and a micro-batch takes them out.",
            kinds={"postgres"},
        ),
        dg.AssetSpec(
            MESSAGES,
            # external, because nothing here can be recomputed: a message that was sent stays sent
            deps=[JOURNEY_ADVANCEMENTS],
            group_name="delivery",
            description="`messages`, the send ledger: planned by the engine, sent by the job `dispatch_messages`, which reports here.",
            kinds={"postgres"},
        ),
    ]
