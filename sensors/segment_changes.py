"""Segment changes that apps wrote and nobody has looked at."""

from __future__ import annotations

import dagster as dg

from journey_pipelines.engine.doorbells import segment_changes_waiting
from sensors.doorbell import Job, doorbell


def segment_changes_sensor(job: Job, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    return doorbell(
        "segment_changes_doorbell",
        "Rings when `segment_changes` holds a change that has happened.",
        job,
        segment_changes_waiting,
        waiting="segment change",
        status=status,
    )
