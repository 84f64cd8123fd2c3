"""Report tables, and the two indexes that reports by day need."""

from __future__ import annotations

from journey_pipelines.store.migrate import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_file("0002_reports.sql")
