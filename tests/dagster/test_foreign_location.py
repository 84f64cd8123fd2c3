"""A project made by `journeys init`, merged into somebody else's code location, loaded by fresh interpreters from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from journey_pipelines.scaffold.write import init, new_workflow

# Theirs: an asset with an IO manager of their own, a job, a sensor and a schedule, and a resource under a word that we use ourselves.
FOREIGN = '''\
"""Marketing's Dagster, with the journeys beside it."""

from pathlib import Path

import dagster as dg

from journey_pipelines.definitions import build_definitions

KEPT = []


class Kept(dg.IOManager):
    def handle_output(self, context, obj):
        KEPT.append((context.asset_key.to_user_string(), obj))

    def load_input(self, context):
        return KEPT[-1][1]


@dg.asset
def orders() -> int:
    return 3


@dg.asset
def revenue(orders: int, engine: dg.ResourceParam[str]) -> str:
    return f"{orders} by {engine}"


shop_job = dg.define_asset_job("shop_job", [orders, revenue])


@dg.sensor(job=shop_job)
def inbox(context):
    return dg.SkipReason("nothing new in the shop")


defs = dg.Definitions.merge(
    dg.Definitions(
        assets=[orders, revenue],
        jobs=[shop_job],
        sensors=[inbox],
        schedules=[dg.ScheduleDefinition(name="nightly", job=shop_job, cron_schedule="0 4 * * *")],
        resources={"io_manager": Kept(), "engine": "their own"},
        executor=dg.multiprocess_executor,
        loggers={"console": dg.colored_console_logger},
    ),
    build_definitions(Path(__file__).parent / "workflow_defs"),
)
'''
LOOK = """
import importlib.util, json, sys
import dagster as dg

spec = importlib.util.spec_from_file_location("definitions", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
defs = module.defs
repository = defs.get_repository_def()
graph = repository.asset_graph
with dg.DagsterInstance.ephemeral() as instance:
    theirs = defs.resolve_job_def("shop_job").execute_in_process(instance=instance)
    ours = defs.resolve_job_def("deploy_workflows").execute_in_process(instance=instance)
    quick = {"ops": {"journeys_drain": {"config": {"budget_seconds": 5.0, "linger_seconds": 0.0}}}}
    drained = defs.resolve_job_def("drain_journeys").execute_in_process(run_config=quick, instance=instance)
    skipped = repository.get_sensor_def("inbox")(dg.build_sensor_context(instance=instance))
print(json.dumps({
    "success": [theirs.success, ours.success, drained.success],
    "kept": module.KEPT,
    "skipped": skipped.skip_message,
    "resources": sorted(defs.resources),
    "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
    "schedules": sorted(schedule.name for schedule in repository.schedule_defs),
    "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
    "workflows": sorted(key.path[-1] for key in graph.materializable_asset_keys if key.path[:2] == ["journeys", "workflows"]),
    "executors": {name: defs.resolve_job_def(name).executor_def.name for name in ("shop_job", "drain_journeys")},
}))
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    init(folder)
    new_workflow(folder / "workflow_defs", "carts", "cart")
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with nothing of ours in it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def execute(words: list[str], folder: Path, database: str) -> str:
    environment = {**os.environ, "DATABASE_URL": database, "PYTHONWARNINGS": "ignore"}
    for name in ("JOURNEYS_PROJECT", "DAGSTER_HOME"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def look(definitions: Path, folder: Path, database: str) -> dict[str, Any]:
    said = execute(["-c", LOOK, str(definitions)], folder, database)
    found: dict[str, Any] = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith("{")))
    return found


def test_it_runs_beside_what_is_there(shop: Path, elsewhere: Path, db_url: str) -> None:
    (shop / "definitions.py").write_text(FOREIGN, encoding="utf-8")
    found = look(shop / "definitions.py", elsewhere, db_url)
    assert found["success"] == [True, True, True]
    assert found["kept"] == [["orders", 3], ["revenue", "3 by their own"]], "their IO manager keeps their assets and none of ours"
    assert found["skipped"] == "nothing new in the shop"
    assert found["resources"] == ["engine", "io_manager", "journeys_engine"]
    assert {"inbox", "inbox_doorbell", "due_journeys_doorbell"} <= set(found["sensors"])
    assert {"nightly", "nightly_journey_reports"} <= set(found["schedules"])
    assert {"shop_job", "drain_journeys", "dispatch_messages", "deploy_workflows"} <= set(found["jobs"])
    assert found["workflows"] == ["carts", "hello"]
    assert found["executors"] == {"shop_job": "multiprocess", "drain_journeys": "in_process"}


@pytest.mark.parametrize("text", [None, FOREIGN], ids=["as written by init", "merged"])
def test_dagster_loads_its_workspace_from_another_folder(shop: Path, elsewhere: Path, text: str | None) -> None:
    if text is not None:
        (shop / "definitions.py").write_text(text, encoding="utf-8")
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    said = execute(["-m", "dagster", "definitions", "validate", "-w", str(shop / "workspace.yaml")], elsewhere, nowhere)
    assert "Validation successful for code location shop" in said
