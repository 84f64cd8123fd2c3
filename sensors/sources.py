"""The declared event sources: tables of apps with rows that have not been read."""

from __future__ import annotations

import dagster as dg

from journey_pipelines.engine.doorbells import sources_waiting
from sensors.doorbell import Job, doorbell


def sources_sensor(job: Job, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    return doorbell(
        "sources_doorbell",
        "Rings when a table declared in `sources.yaml` has rows that were not read, or was not looked at for a while.",
        job,
        sources_waiting,
        waiting="row in an event source",
        status=status,
    )
