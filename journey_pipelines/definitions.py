"""The code location: the outermost ring, where assets, jobs, sensors, schedules and resources come together.

`build_definitions` merges into a code location you already have:

    defs = dg.Definitions.merge(yours, build_definitions("workflow_defs"))

It sets no executor, logger or IO manager for others. Nothing connects to the database while it loads, and nothing that sends starts by
itself: sensors and schedules are STOPPED unless JOURNEYS_SENSORS=running says otherwise, as the demo does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from journey_pipelines import jobs, schedules
from journey_pipelines.assets.best_time import best_time_assets
from journey_pipelines.assets.checks import engine_checks
from journey_pipelines.assets.drain import drain_assets
from journey_pipelines.assets.external import engine_tables
from journey_pipelines.assets.workflows import project_assets
from journey_pipelines.resources import ENGINE, EngineResource
from journey_pipelines.settings import settings
from reports.assets import report_assets, report_partitions
from sensors.due_journeys import due_journeys_sensor
from sensors.inbox import inbox_sensor
from sensors.moments import moments_sensor
from sensors.outbox import outbox_sensor
from sensors.segment_changes import segment_changes_sensor
from sensors.sources import sources_sensor

SENSORS_VARIABLE = "JOURNEYS_SENSORS"


def build_definitions(project_path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything this package brings to Dagster.

    `project_path`: the folder of workflows, None = JOURNEYS_PROJECT. `overrides`: resources by key, to use instead of ours, for example
    `{"journeys_engine": EngineResource(database_url=dg.EnvVar("MARKETING_DB"))}`.
    """
    project = project_assets(Path(project_path) if project_path is not None else settings().project)
    reports = report_assets(project.zone)
    checks, best_time = engine_checks(), best_time_assets()
    drain, dispatch, retire = jobs.drain_job(), jobs.dispatch_job(), jobs.retire_job()
    check, report, learn = jobs.check_job(checks), jobs.report_job(reports), jobs.learn_job(best_time)
    deploy = [jobs.deploy_job(project.deployable)] if project.deployable else []
    running = os.environ.get(SENSORS_VARIABLE, "").strip().lower() == "running"
    rings = dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
    ticks = dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
    return dg.Definitions(
        assets=[*engine_tables(), drain_assets(), best_time, *project.assets, *reports],
        asset_checks=[*checks, *project.checks],
        jobs=[drain, dispatch, retire, check, report, learn, jobs.enter_job(), *deploy],
        sensors=[
            inbox_sensor(drain, rings),
            sources_sensor(drain, rings),
            moments_sensor(drain, rings),
            segment_changes_sensor(drain, rings),
            due_journeys_sensor(drain, rings),
            outbox_sensor(dispatch, rings),
        ],
        schedules=[
            schedules.report_schedule(report, report_partitions(project.zone), ticks),
            schedules.retire_schedule(retire, ticks),
            schedules.check_schedule(check, ticks),
            schedules.learn_schedule(learn, ticks),
        ],
        resources={ENGINE: EngineResource(), **(overrides or {})},
    )


defs = build_definitions()
