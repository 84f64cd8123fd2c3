"""The inbox: events that apps wrote and nobody has taken in."""

from __future__ import annotations

import dagster as dg

from journey_pipelines.engine.doorbells import inbox_waiting
from sensors.doorbell import Job, doorbell


def inbox_sensor(job: Job, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    return doorbell(
        "inbox_doorbell",
        "Rings when `event_inbox` holds an event that has happened.",
        job,
        inbox_waiting,
        waiting="event in the inbox",
        status=status,
        hands_over=True,
    )
