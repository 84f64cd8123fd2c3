"""Run retention: the hot lane makes a run a minute, and Dagster's own retention covers ticks only."""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from pydantic import Field

FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]

# Runs read at once; far more than there are jobs, whose newest runs stay in every page
PAGE = 500

LANE_TAG = "journeys/lane"
HOT = "hot"


class RetireConfig(dg.Config):
    """Which runs go."""

    keep_days: float = Field(
        default=3.0,
        ge=0,
        description="Finished runs of the hot lane older than this are deleted, with their events and their captured output.",
    )
    most: int = Field(default=10_000, gt=0, description="At most so many in one go; the next run of the job takes the rest.")


@dg.op(description="Deletes finished runs of the hot lane; what the runs did stays in the engine's tables.")
def retire_hot_runs(context: dg.OpExecutionContext, config: RetireConfig) -> None:
    deleted = retire(context.instance, older_than=datetime.now(UTC) - timedelta(days=config.keep_days), most=config.most)
    context.add_output_metadata({"rows_out": deleted})
    context.log.info("deleted %d finished runs older than %s days", deleted, config.keep_days)


def retire(instance: DagsterInstance, older_than: datetime, most: int = 10_000) -> int:
    """Deletes finished runs of the hot lane that were last touched before `older_than`, oldest first; returns how many.

    The newest successful run of each job stays: with it goes the latest materialization, and an asset that has none looks as if it
    had never been made, which would make everything downstream stale.
    """
    kept: dict[str, str | None] = {}
    deleted = 0
    while deleted < most:
        old = RunsFilter(tags={LANE_TAG: HOT}, statuses=FINISHED, updated_before=older_than)
        runs = [record.dagster_run for record in instance.get_run_records(old, limit=PAGE + len(kept), ascending=True)]
        for job in {run.job_name for run in runs} - kept.keys():
            newest = instance.get_runs(RunsFilter(job_name=job, statuses=[DagsterRunStatus.SUCCESS]), limit=1)
            kept[job] = newest[0].run_id if newest else None
        goers = [run.run_id for run in runs if run.run_id != kept[run.job_name]][: most - deleted]
        if not goers:
            break
        for run_id in goers:
            instance.delete_run(run_id)
            instance.compute_log_manager.delete_logs(prefix=[run_id])
        deleted += len(goers)
    return deleted
