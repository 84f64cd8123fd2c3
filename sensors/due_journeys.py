"""Journeys whose time has come: a wait is over, or an event woke them."""

from __future__ import annotations

import dagster as dg

from journey_pipelines.engine.doorbells import journeys_due
from sensors.doorbell import Job, doorbell


def due_journeys_sensor(job: Job, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    return doorbell(
        "due_journeys_doorbell",
        "Rings when an active journey is due.",
        job,
        journeys_due,
        waiting="journey due",
        status=status,
    )
