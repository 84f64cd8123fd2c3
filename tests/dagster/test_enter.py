"""The launchpad's job: customers asked into a workflow by an operator, only counted unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from journey_pipelines.jobs import enter_job
from journey_pipelines.resources import EngineResource
from journey_pipelines.store.clock import clock_now

FLOW = """
workflow: flow
triggers:
  - manual: true
    fields: [campaign]
steps:
  - id: stay
    wait: 5 days
"""


@pytest.fixture
def flow(db: sa.Engine, tmp_path: Path) -> sa.Engine:
    from journey_pipelines.engine.deploy import deploy
    from journey_pipelines.workflows.load import load_project

    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "workflow.yaml").write_text(FLOW)
    with db.begin() as conn:
        deploy(db, load_project(tmp_path), clock_now(conn))
        conn.execute(sa.text("SELECT journeys.upsert_profile('ann', '{}'), journeys.upsert_profile('bob', '{\"country\": \"CH\"}')"))
    return db


def enter(db: sa.Engine, **config: Any) -> dg.ExecuteInProcessResult:
    url = db.url.render_as_string(hide_password=False)
    return enter_job().execute_in_process(
        run_config={"ops": {"enter_customers": {"config": {"workflow": "flow", **config}}}},
        resources={"journeys_engine": EngineResource(database_url=url)},
        raise_on_error=False,
    )


def written(db: sa.Engine) -> list[str]:
    with db.connect() as conn:
        return list(conn.scalars(sa.text("SELECT customer_id FROM journeys.event_inbox WHERE type = 'enter.flow' ORDER BY 1")))


def test_it_counts_and_writes_only_when_told(flow: sa.Engine) -> None:
    assert enter(flow, customers=["ann", "nobody"]).success and written(flow) == []
    assert enter(flow, customers=["ann", "nobody"], fields={"campaign": "spring"}, dry_run=False).success
    assert written(flow) == ["ann"]
    assert enter(flow, where="customer.country == 'CH'", dry_run=False).success and written(flow) == ["ann", "bob"]


@pytest.mark.parametrize(
    "config",
    [{}, {"customers": ["ann"], "where": "true"}, {"where": "customer."}, {"customers": ["ann"], "fields": {"x": 1}}, {"file": "/nowhere"}],
)
def test_a_config_that_cannot_be_fails_in_a_sentence(flow: sa.Engine, config: dict[str, Any]) -> None:
    result = enter(flow, **config)
    assert not result.success and written(flow) == []
    (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert failure.step_failure_data.error is not None and "Failure" in failure.step_failure_data.error.message
