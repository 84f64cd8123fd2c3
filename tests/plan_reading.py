"""What a statement read, from EXPLAIN (ANALYZE, BUFFERS): whole tables, rows of large ones, buffers. Never seconds: machines differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

#: tables that grow with people, journeys or time: a batch must read of them what it needs and no more
LARGE = {
    "customer_journeys", "customer_profiles", "messages", "customer_events", "journey_context", "journey_admissions",
    "customer_event_stats", "event_keys", "event_inbox", "split_assignments", "zone_offsets", "journey_transitions", "segment_memberships",
    "segment_changes", "customer_changes", "customer_moments", "conversions", "workflow_action_logs", "tasks",
}  # fmt: skip


@dataclass
class Reading:
    """What one execution read: whole tables, rows of large ones, buffers altogether."""

    whole: set[str] = field(default_factory=set)
    scanned: float = 0
    buffers: int = 0

    def add(self, node: dict[str, Any]) -> None:
        table = node.get("Relation Name")
        if table in LARGE and "Scan" in node["Node Type"]:
            read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            self.scanned += read * node["Actual Loops"]
            # one that is empty may be read in any way
            if node["Node Type"] == "Seq Scan" and read * node["Actual Loops"]:
                self.whole.add(table)
        for child in node.get("Plans", ()):
            self.add(child)


def explain(conn: sa.Connection, sql: str, values: dict[str, Any]) -> Reading:
    """Run it and undo it."""
    with conn.begin_nested() as savepoint:
        (document,) = conn.exec_driver_sql("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + sql, values).scalar_one()
        savepoint.rollback()
    reading = Reading()
    reading.add(document["Plan"])
    reading.buffers = document["Plan"]["Shared Hit Blocks"] + document["Plan"]["Shared Read Blocks"]
    return reading
