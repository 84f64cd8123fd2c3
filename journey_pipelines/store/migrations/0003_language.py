"""Segments, schedules, dates, moments of a customer, holds and tasks: what the whole workflow language needs."""

from __future__ import annotations

from journey_pipelines.store.migrate import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_file("0003_language.sql")
