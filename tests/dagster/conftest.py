"""The code location on a database of the test's own and on a small project, with an instance that forgets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster import DagsterInstance

HELLO = """\
workflow: hello
name: Hello
description: Greets whoever registers.
triggers:
  - event: user_registered
steps:
  - id: hello
    do:
      - send_email: {template: hello, subject: "Welcome, {{ customer.first_name | default('friend') }}!"}
  - id: later
    wait: 1 hour
    do:
      - send_sms: {text: "Still there?"}
"""

ROOT = Path(__file__).parents[2]
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"
QUICKLY = {"budget_seconds": 20.0, "linger_seconds": 0.0}

Run = Callable[..., dg.ExecuteInProcessResult]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            # Dagster warns of its own beta parameters, also of some that only Dagster passes
            item.add_marker(pytest.mark.filterwarnings("ignore:Parameter .* is currently in beta"))
            item.add_marker(pytest.mark.filterwarnings("ignore:.*is currently in beta, and may have breaking changes"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one workflow, `hello`: a mail at once, a text message an hour later."""
    folder = tmp_path / "project"
    (folder / "hello").mkdir(parents=True)
    (folder / "hello" / "workflow.yaml").write_text(HELLO)
    (folder / "hello" / "hello.html").write_text("<p>Hello {{ customer.first_name | default('friend') }}</p>\n")
    (folder / "policies.yaml").write_text("consent:\n  email: customer.subscription_status == 'active'\n")
    return folder


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def definitions(db_url: str, project: Path) -> dg.Definitions:
    """The code location, with its engine on the test's database."""
    from journey_pipelines.definitions import build_definitions
    from journey_pipelines.resources import ENGINE, EngineResource

    return build_definitions(project, {ENGINE: EngineResource(database_url=db_url)})


@pytest.fixture
def run_in(instance: DagsterInstance) -> Run:
    """`run_in(definitions, job, **options)`: executes a job in this process; hot jobs end as soon as nothing is due."""

    def execute(definitions: dg.Definitions, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        ops = {"drain_journeys": "journeys_drain", "dispatch_messages": "send_due_messages"}
        config = {"ops": {ops[job]: {"config": QUICKLY}}} if job in ops else {}
        return definitions.resolve_job_def(job).execute_in_process(run_config=config, instance=instance, **options)

    return execute


@pytest.fixture
def run(definitions: dg.Definitions, run_in: Run) -> Run:
    """`run(job, **options)`: the same for the test's own code location."""
    return partial(run_in, definitions)


@pytest.fixture
def deployed(run: Run) -> None:
    """The project is deployed, by its job."""
    assert run("deploy_workflows").success


@pytest.fixture
def inserts(db: sa.Engine) -> Callable[..., None]:
    """`inserts(customer_id, type, **columns)`: an event as an app writes it."""

    def insert(customer_id: str, event_type: str = "user_registered", **columns: object) -> None:
        values = {"customer_id": customer_id, "type": event_type, **columns}
        statement = f"INSERT INTO journeys.event_inbox ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})"
        with db.begin() as conn:
            conn.execute(sa.text(statement), values)

    return insert


@pytest.fixture
def fresh_interpreter(project: Path) -> Callable[..., Any]:
    """`fresh_interpreter(code, **environment)`: what the code prints last, as JSON; no database answers there unless one is named."""

    def execute(code: str, **environment: str) -> Any:
        defaults = {"DATABASE_URL": NO_DATABASE, "JOURNEYS_PROJECT": str(project), "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, **defaults, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return execute
