"""The code location as Dagster loads it: in a fresh interpreter, without a database, quickly, and beside other people's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterInstance
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]

LOOK = """
import json, sys, time
from journey_pipelines.definitions import defs
repository = defs.get_repository_def()
graph = repository.asset_graph
print(json.dumps({
    "cpu": time.process_time(),
    "heavy": [name for name in ("pandas", "numpy", "httpx", "aiohttp") if name in sys.modules],
    "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
    "sensors": {s.name: s.job_name for s in repository.sensor_defs},
    "schedules": {s.name: [s.cron_schedule, s.job_name] for s in repository.schedule_defs},
    "made": sorted(k.to_user_string() for k in graph.materializable_asset_keys),
    "external": sorted(k.to_user_string() for k in graph.external_asset_keys),
    "checks": sorted(f"{c.asset_key.to_user_string()}:{c.name}" for c in graph.asset_check_keys),
}))
"""


@pytest.fixture
def shape(fresh_interpreter: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = fresh_interpreter(LOOK)
    return found


def test_its_shape(shape: dict[str, Any]) -> None:
    assert shape["jobs"] == [
        "check_journeys", "deploy_workflows", "dispatch_messages", "drain_journeys", "enter_journeys", "learn_best_times",
        "report_journeys", "retire_runs",
    ]  # fmt: skip
    assert shape["sensors"] == {
        "due_journeys_doorbell": "drain_journeys",
        "inbox_doorbell": "drain_journeys",
        "moments_doorbell": "drain_journeys",
        "outbox_doorbell": "dispatch_messages",
        "segment_changes_doorbell": "drain_journeys",
        "sources_doorbell": "drain_journeys",
    }
    assert shape["schedules"] == {
        "nightly_best_times": ["40 3 * * *", "learn_best_times"],
        "nightly_journey_reports": ["30 4 * * *", "report_journeys"],
        "nightly_run_retirement": ["50 3 * * *", "retire_runs"],
        "regular_journey_checks": ["*/10 * * * *", "check_journeys"],
    }
    assert shape["made"] == [
        "journeys/best_time_prior",
        "journeys/journey_advancements",
        "journeys/journey_entries",
        "journeys/reports/page",
        "journeys/reports/step_funnel",
        "journeys/reports/workflow_metrics",
        "journeys/routed_events",
        "journeys/workflows/hello",
    ]
    assert shape["external"] == [
        "journeys/event_inbox",
        "journeys/event_types/user_registered",
        "journeys/messages",
        "journeys/project",
    ]
    assert shape["checks"] == [
        "journeys/journey_advancements:nothing_overdue",
        "journeys/journey_advancements:nothing_stuck",
        "journeys/journey_entries:breaker_closed",
        "journeys/journey_entries:no_duplicate_entries",
        "journeys/messages:no_duplicate_messages",
        "journeys/project:reads_without_errors",
        "journeys/workflows/hello:reads_without_errors",
    ]


def test_it_loads_quickly_and_light(shape: dict[str, Any]) -> None:
    assert shape["heavy"] == []
    # processor time, because the clock on the wall measures the other tests too; the bench measures the wall
    assert shape["cpu"] < 3.0


def test_it_loads_with_the_workflows_that_are_shipped(fresh_interpreter: Callable[..., Any]) -> None:
    shape = fresh_interpreter(LOOK, JOURNEYS_PROJECT=str(ROOT / "workflow_defs"))
    assert {"journeys/workflows/new_customer_welcome", "journeys/workflows/cart_recovery", "journeys/workflows/win_back"} <= set(
        shape["made"]
    )
    assert shape["cpu"] < 3.0


@pytest.fixture
def storage_url(server_url: str) -> Iterator[str]:
    """A database for Dagster's own storage, dropped after the test."""
    from journey_pipelines.store.connect import ensure_database, make_engine

    name = f"journeys_test_{secrets.token_hex(6)}"
    yield ensure_database(server_url, name).replace("postgresql+psycopg:", "postgresql+psycopg2:")
    engine = make_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


def test_the_workspace_names_the_code_location() -> None:
    (entry,) = YAML(typ="safe").load(ROOT / "workspace.yaml")["load_from"]
    assert entry["python_module"]["module_name"] == "journey_pipelines.definitions"


def test_the_instance_keeps_its_storage_in_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage_url: str) -> None:
    monkeypatch.setenv("JOURNEYS_DAGSTER_URL", storage_url)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert instance.get_runs_count() == 0
        assert instance.telemetry_enabled is False
        assert instance.run_monitoring_enabled
        assert instance.run_coordinator.get_run_queue_config().max_user_code_failure_retries == 5


def test_it_merges_into_a_code_location_that_is_there_already(project: Path) -> None:
    from journey_pipelines.definitions import build_definitions

    @dg.asset
    def orders() -> None: ...

    @dg.op
    def deploy() -> None: ...

    @dg.job
    def drain() -> None:
        deploy()

    theirs = dg.Definitions(
        assets=[orders],
        jobs=[drain],
        schedules=[dg.ScheduleDefinition(name="nightly", job=drain, cron_schedule="0 4 * * *")],
        resources={"engine": dg.ResourceDefinition.hardcoded_resource(1), "io_manager": dg.mem_io_manager},
        executor=dg.multiprocess_executor,
        loggers={"console": dg.colored_console_logger},
    )
    merged = dg.Definitions.merge(theirs, build_definitions(project))
    dg.Definitions.validate_loadable(merged)
    assert merged.resolve_job_def("drain_journeys").executor_def.name == "in_process"
    assert merged.resolve_job_def("drain").executor_def.name == "multiprocess"
    assert merged.resolve_asset_graph().has(dg.AssetKey("orders"))


def test_runs_of_the_hot_lane_carry_their_limit_and_nothing_personal(definitions: dg.Definitions) -> None:
    for name in ("drain_journeys", "dispatch_messages"):
        job = definitions.resolve_job_def(name)
        assert job.executor_def.name == "in_process"
        assert job.tags["dagster/max_runtime"] == "90"
        assert job.tags["journeys/lane"] == "hot"
        assert all(len(value) < 1000 for value in job.tags.values())
