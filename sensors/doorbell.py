"""The doorbell itself: the question to ask, the job to request, and when a run that is already there makes a new one needless."""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from journey_pipelines.resources import EngineResource
from journey_pipelines.store.patience import BEGINNING, OVERLAP, Patience

#: (connection, now, since): see `engine.doorbells`
Question = Callable[[sa.Connection, datetime, datetime], bool]
Job = dg.JobDefinition | UnresolvedAssetJobDefinition

# The daemon's loop is 5 s; with an interval of 5 every second loop would come a moment too early and be skipped
INTERVAL_SECONDS = 4

UNFINISHED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]

# A run that has not started by then never will: the monitor gives it up after 60 s
STARTING_SECONDS = 90

# A run that has been going for so long is at the end of its budget of 45 s, or its process is dead and nobody has noticed yet
GOING_SECONDS = 60

# Busy backlogs hand over: the next run takes 2-6 s to start, so it is requested while the last still works. One that is still going after
# this time had work in its last 10 s, or it would have stopped; so the next one is requested without a look at the backlog.
# The others wait for its end, so that the doorbells of one job do not all ring at that moment.
HAND_OVER_SECONDS = 36


def doorbell(
    name: str,
    description: str,
    job: Job,
    question: Question,
    *,
    waiting: str,
    status: dg.DefaultSensorStatus,
    hands_over: bool = False,
) -> dg.SensorDefinition:
    """A sensor that requests `job` when `question` says yes, unless a run of that job is there to answer it.

    `waiting` names the backlog in the reason of a skipped tick. Where the database does not answer in 10 s the tick fails with its message.
    A question that is slow, though there is nothing, is for a while asked of what is new alone: what appears before that rings later.
    """
    patience, asked_until = Patience(), BEGINNING

    @dg.sensor(name=name, description=description, job=job, minimum_interval_seconds=INTERVAL_SECONDS, default_status=status)
    def ring(context: dg.SensorEvaluationContext, journeys_engine: EngineResource) -> dg.RunRequest | dg.SkipReason:
        nonlocal asked_until
        runs = look(context.instance, job.name, hands_over)
        if runs.answer:
            return dg.SkipReason(runs.answer)
        if not runs.ending:
            with journeys_engine.ask() as (conn, now):
                whole, began = patience.over, time.monotonic()
                if not question(conn, now, BEGINNING if whole else asked_until - OVERLAP):
                    asked_until = now
                    if whole:
                        patience.looked(began)
                    return dg.SkipReason(f"no {waiting} at {now.isoformat(timespec='seconds')}")
        return dg.RunRequest(tags={"journeys/doorbell": name})

    return ring


@dataclass(frozen=True)
class Runs:
    """What runs of a job there are: `answer` says why no further one is needed; `ending`: one is busy and about to stop."""

    answer: str | None = None
    ending: bool = False


def look(instance: DagsterInstance, job_name: str, hands_over: bool) -> Runs:
    """What the instance knows of the job's unfinished runs.

    A queued run is an answer whatever its age: it has no process that could have died, and more runs in the queue would not help. One that
    is going is an answer only while it is young, since a run whose process was killed stays STARTED until the monitor finds out.
    """
    wall, ending = time.time(), False
    for record in instance.get_run_records(RunsFilter(job_name=job_name, statuses=UNFINISHED), limit=20):
        run = record.dagster_run
        name = f"run {run.run_id[:8]} of {job_name}"
        if run.status == DagsterRunStatus.QUEUED:
            return Runs(f"{name} is queued")
        if run.status == DagsterRunStatus.STARTED:
            age = wall - (record.start_time or record.create_timestamp.timestamp())
            if age < (HAND_OVER_SECONDS if hands_over else GOING_SECONDS):
                return Runs(f"{name} has been going for {age:.0f} s and takes what comes")
            ending |= hands_over and age < GOING_SECONDS
        elif wall - record.update_timestamp.timestamp() < STARTING_SECONDS:
            return Runs(f"{name} is starting")
    return Runs(ending=ending)
