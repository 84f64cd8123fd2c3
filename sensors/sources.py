"""The declared event sources: tables of apps with rows that have not been read, and tables of segments whose time has come."""

from __future__ import annotations

from datetime import datetime

import dagster as dg
import sqlalchemy as sa

from journey_pipelines.intake.sources import sources_waiting
from journey_pipelines.intake.table_segments import tables_waiting
from sensors.doorbell import Job, doorbell


def sources_sensor(job: Job, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    return doorbell(
        "sources_doorbell",
        "Rings when a table of `sources.yaml` has rows that were not read, or a segment's table is to be looked at.",
        job,
        _any_source_waiting,
        waiting="row in an event source",
        status=status,
    )


def _any_source_waiting(conn: sa.Connection, now: datetime, _since: datetime) -> bool:
    # of an app's table nothing is known but its cursor, which is asked from anyway
    return bool(sources_waiting(conn, now)) or tables_waiting(conn, now)
