"""A segment, after normalisation: by a condition, by what apps write, or by a table that somebody else builds."""

from __future__ import annotations

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.base import Model


class SegmentTable(Model):
    """`from: {table: analytics.vips, column: customer_id, every: 15 minutes}`: a customer is in it whose id stands in the column."""

    table: str
    column: str = "customer_id"
    every: Duration


class Segment(Model):
    """One of: dynamic (`when`), read from a `table`, or static (neither): apps write `segment_changes`, and steps may add and remove."""

    id: str
    name: str
    description: str | None = None
    when: str | None = None
    table: SegmentTable | None = None

    @property
    def is_static(self) -> bool:
        """Whether steps may add and remove members."""
        return self.when is None and self.table is None
