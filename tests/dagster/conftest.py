"""The code location on a database of the test's own and on a small project, with an instance that forgets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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

DRAIN_QUICKLY = {"ops": {"drain": {"config": {"budget_seconds": 20.0, "linger_seconds": 0.0}}}}
DISPATCH_QUICKLY = {"ops": {"send_due_messages": {"config": {"budget_seconds": 20.0, "linger_seconds": 0.0}}}}


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
def deployed(definitions: dg.Definitions, instance: DagsterInstance) -> dg.Definitions:
    """The code location after its job `deploy_workflows`."""
    assert definitions.resolve_job_def("deploy_workflows").execute_in_process(instance=instance).success
    return definitions


def app_inserts(db: sa.Engine, customer_id: str, event_type: str = "user_registered", **columns: object) -> None:
    """An event as an app writes it."""
    values = {"customer_id": customer_id, "type": event_type, **columns}
    names = ", ".join(values)
    binds = ", ".join(f":{name}" for name in values)
    with db.begin() as conn:
        conn.execute(sa.text(f"INSERT INTO journeys.event_inbox ({names}) VALUES ({binds})"), values)


@pytest.fixture
def inserts(db: sa.Engine):  # type: ignore[no-untyped-def]
    """`inserts(customer_id, type, **columns)`: an event as an app writes it."""
    from functools import partial

    return partial(app_inserts, db)
