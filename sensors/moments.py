"""Moments of customers that are no events: profiles that changed, the times of conditions and dates, schedules, deploys to finish."""

from __future__ import annotations

import dagster as dg

from journey_pipelines.engine.doorbells import moments_waiting
from sensors.doorbell import Job, doorbell


def moments_sensor(job: Job, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    return doorbell(
        "moments_doorbell",
        "Rings when a profile changed, a condition or a date has its time, a schedule ticks, or a deploy left something to compute.",
        job,
        moments_waiting,
        waiting="moment of a customer",
        status=status,
    )
