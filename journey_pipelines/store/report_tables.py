"""The report tables of schema `journeys`, in the metadata of `tables`. Which column means what: the COMMENTs of migration 0002."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Date, Integer, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.store.metadata import TIMESTAMPTZ, metadata

report_days = Table(
    "report_days", metadata,
    Column("as_of", Date, primary_key=True),
    Column("zone", Text, nullable=False),
    Column("from_at", TIMESTAMPTZ, nullable=False),
    Column("to_at", TIMESTAMPTZ, nullable=False),
    Column("is_final", Boolean, nullable=False),
)  # fmt: skip

workflow_metrics = Table(
    "workflow_metrics", metadata,
    Column("as_of", Date, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("is_final", Boolean, nullable=False),
    Column("entered", Integer, nullable=False),
    Column("active", Integer, nullable=False),
    Column("ended", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("goal_reached", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("held_out", Integer, nullable=False),
    Column("entries_by_trigger", JSONB, nullable=False),
    Column("exits_by_reason", JSONB, nullable=False),
    Column("completion_numerator", Integer, nullable=False),
    Column("completion_denominator", Integer, nullable=False),
    Column("completion_rate", Numeric(5, 4)),
    Column("mean_completion_hours", Numeric(14, 3)),
    Column("median_completion_hours", Numeric(14, 3)),
    Column("p90_completion_hours", Numeric(14, 3)),
    Column("messages_planned", Integer, nullable=False),
    Column("messages", JSONB, nullable=False),
    Column("converted_exposed", Integer, nullable=False),
    Column("converted_unexposed", Integer, nullable=False),
    Column("conversions", Integer, nullable=False),
    Column("conversion_value", Numeric, nullable=False),
    Column("ended_that_day", Integer, nullable=False),
    Column("accepted_that_day", Integer, nullable=False),
    Column("conversions_that_day", Integer, nullable=False),
    Column("under_way_at_close", Integer, nullable=False),
)  # fmt: skip

step_funnel = Table(
    "step_funnel", metadata,
    Column("as_of", Date, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("step_key", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("is_final", Boolean, nullable=False),
    Column("reached", Integer, nullable=False),
    Column("journeys", Integer, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("exited", Integer, nullable=False),
    Column("branches", JSONB, nullable=False),
    Column("exits_by_reason", JSONB, nullable=False),
    Column("median_seconds", Numeric(16, 3)),
    Column("p90_seconds", Numeric(16, 3)),
)  # fmt: skip
