"""Old runs of the hot lane go, with their events; what they made is still known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterInstance, RunsFilter

ROUTED = dg.AssetKey(["journeys", "routed_events"])
Run = Callable[..., dg.ExecuteInProcessResult]


def hot_runs(instance: DagsterInstance) -> list[str]:
    """Oldest first."""
    return [record.dagster_run.run_id for record in instance.get_run_records(RunsFilter(tags={"journeys/lane": "hot"}), ascending=True)]


def test_only_what_is_older_than_said_is_deleted(run: Run, instance: DagsterInstance) -> None:
    first = run("drain_journeys").run_id
    assert run("retire_runs").success
    assert hot_runs(instance) == [first]


def test_all_but_the_newest_of_a_job_are_deleted(run: Run, instance: DagsterInstance, definitions: dg.Definitions) -> None:
    runs = [run("drain_journeys").run_id for _ in range(3)]
    other = run("check_journeys").run_id
    config = {"ops": {"retire_hot_runs": {"config": {"keep_days": 0.0}}}}
    result = definitions.resolve_job_def("retire_runs").execute_in_process(run_config=config, instance=instance)
    assert result.success
    assert hot_runs(instance) == [runs[-1]]
    assert instance.get_run_by_id(other) is not None
    assert not instance.all_logs(runs[0])
    assert instance.get_latest_materialization_event(ROUTED) is not None


def test_it_takes_so_many_at_a_time_oldest_first(run: Run, instance: DagsterInstance) -> None:
    from journey_pipelines.ops.retire import retire

    runs = [run("drain_journeys").run_id for _ in range(4)]
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert retire(instance, older_than=later, most=1) == 1
    assert hot_runs(instance) == runs[1:]
    assert retire(instance, older_than=later) == 2
    assert hot_runs(instance) == runs[3:]
    assert retire(instance, older_than=later) == 0


def test_failed_runs_go_too_and_running_ones_stay(run: Run, instance: DagsterInstance, definitions: dg.Definitions) -> None:
    from journey_pipelines.ops.retire import retire

    job = definitions.resolve_job_def("drain_journeys")
    failed, going = (instance.create_run_for_job(job, tags=dict(job.tags)) for _ in range(2))
    instance.report_run_failed(failed)
    assert retire(instance, older_than=datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert hot_runs(instance) == [going.run_id]
