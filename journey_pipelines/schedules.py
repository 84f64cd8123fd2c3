"""Schedules: what happens at a time of day, whether or not there is a backlog. Backlogs ring doorbells (`sensors`)."""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from journey_pipelines.resources import EngineResource
from reports.days import day_of
from reports.due import days_to_restate

# Not between 00:00 and 03:00, where a local time may be skipped or come twice
REPORTS_AT = "30 4 * * *"
RETIRE_AT = "50 3 * * *"
LEARN_AT = "40 3 * * *"
CHECKS_AT = "*/10 * * * *"


def report_schedule(
    job: UnresolvedAssetJobDefinition, days: dg.DailyPartitionsDefinition, status: dg.DefaultScheduleStatus
) -> dg.ScheduleDefinition:
    """Yesterday, and every day that is not final yet, in one run: the range from the first of them to yesterday.

    `days` are the reports' partitions. Days in between that are final are computed again and come out the same.
    """
    zone, first = days.timezone, days.start.date()

    @dg.schedule(
        name="nightly_journey_reports",
        job=job,
        cron_schedule=REPORTS_AT,
        execution_timezone=zone,
        default_status=status,
        description="Requests yesterday's reports and those of every day that is not final, in one run.",
    )
    def nightly_reports(context: dg.ScheduleEvaluationContext, journeys_engine: EngineResource) -> dg.RunRequest | dg.SkipReason:
        with journeys_engine.ask() as (_, now):
            today = day_of(now, zone)
        due = days_to_restate(journeys_engine.engine, today, zone=zone, first=first)
        if not due:
            return dg.SkipReason(f"no day of {zone} since {first} is over at {now.isoformat(timespec='seconds')}")
        return dg.RunRequest(tags={ASSET_PARTITION_RANGE_START_TAG: due[0].isoformat(), ASSET_PARTITION_RANGE_END_TAG: due[-1].isoformat()})

    return nightly_reports


def retire_schedule(job: dg.JobDefinition, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="nightly_run_retirement",
        job=job,
        cron_schedule=RETIRE_AT,
        default_status=status,
        description="Deletes old runs of the hot lane.",
    )


def learn_schedule(job: UnresolvedAssetJobDefinition, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="nightly_best_times",
        job=job,
        cron_schedule=LEARN_AT,
        default_status=status,
        description="Learns at which hours people read, for waits with best_time.",
    )


def check_schedule(job: UnresolvedAssetJobDefinition, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="regular_journey_checks",
        job=job,
        cron_schedule=CHECKS_AT,
        default_status=status,
        description="Looks for duplicates, overdue work and stuck journeys every ten minutes.",
    )
