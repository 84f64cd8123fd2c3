"""Workflows as assets: what the graph shows of a folder, also of a broken one, and what materializing does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster import DagsterInstance
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

HELLO = dg.AssetKey(["journeys", "workflows", "hello"])
PROJECT = dg.AssetKey(["journeys", "project"])
Run = Callable[..., dg.ExecuteInProcessResult]


def rebuilt(project: Path, db_url: str) -> dg.Definitions:
    from journey_pipelines.definitions import build_definitions
    from journey_pipelines.resources import ENGINE, EngineResource

    return build_definitions(project, {ENGINE: EngineResource(database_url=db_url)})


def spec_of(definitions: dg.Definitions, key: dg.AssetKey) -> dg.AssetSpec:
    (spec,) = [spec for spec in definitions.resolve_all_asset_specs() if spec.key == key]
    return spec


def status(definitions: dg.Definitions, instance: DagsterInstance, key: dg.AssetKey) -> StaleStatus:
    return CachingStaleStatusResolver(instance, definitions.resolve_asset_graph(), LoadingContextForTest(instance)).get_status(key)


def problems_of(spec: dg.AssetSpec) -> str:
    value = spec.metadata["problems"]
    assert isinstance(value, dg.MarkdownMetadataValue)
    return str(value.md_str)


def test_a_workflow_shows_what_it_is_and_what_it_listens_to(project: Path, db_url: str) -> None:
    workflow = (project / "hello" / "workflow.yaml").read_text()
    condition = "    when: has_event('order_placed') and not in_segment('staff')\n"
    (project / "hello" / "workflow.yaml").write_text(
        workflow.replace("  - event: user_registered\n", "  - event: user_registered\n" + condition)
    )
    spec = spec_of(rebuilt(project, db_url), HELLO)
    assert spec.description == "Greets whoever registers."
    assert len(spec.code_version or "") == 64
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        "journeys/project",
        "journeys/event_types/user_registered",
        "journeys/event_types/order_placed",
        "journeys/segments/staff",
    }
    journey = spec.metadata["journey"]
    assert isinstance(journey, dg.MarkdownMetadataValue)
    assert str(journey.md_str).startswith("```mermaid\nflowchart TD\n")


def test_sources_stand_before_the_event_types_they_bring(project: Path, db_url: str) -> None:
    (project / "sources.yaml").write_text(
        "sources:\n  registrations:\n    table: app.users\n    id: user_id\n    customer_id: user_id\n    type: user_registered\n"
        "    occurred_at: created_at\n    cursor: updated_at\n    overlap: 10 minutes\n"
    )
    spec = spec_of(rebuilt(project, db_url), dg.AssetKey(["journeys", "event_types", "user_registered"]))
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["journeys/sources/registrations"]


def test_materializing_deploys_and_doing_it_again_changes_nothing(
    deployed: None, run: Run, db: sa.Engine, instance: DagsterInstance
) -> None:
    def version() -> Any:
        with db.connect() as conn:
            return conn.execute(
                sa.text("SELECT max(version), (SELECT generation FROM journeys.deployment) FROM journeys.automation_workflows")
            ).one()

    assert version() == (1, 1)
    result = run("deploy_workflows")
    assert version() == (1, 1)
    (event,) = result.get_asset_materialization_events()
    figures = {name: value.value for name, value in event.materialization.metadata.items()}
    assert list(figures)[:2] == ["version", "generation"]
    assert figures["change"] == "unchanged"


def test_a_workflow_that_was_edited_and_not_deployed_is_stale(
    deployed: None, definitions: dg.Definitions, instance: DagsterInstance, project: Path, db_url: str
) -> None:
    assert status(definitions, instance, HELLO) == StaleStatus.FRESH
    file = project / "hello" / "workflow.yaml"
    file.write_text(file.read_text().replace("1 hour", "2 hours"))
    edited = rebuilt(project, db_url)
    assert status(edited, instance, HELLO) == StaleStatus.STALE
    assert edited.resolve_job_def("deploy_workflows").execute_in_process(instance=instance).success
    assert status(edited, instance, HELLO) == StaleStatus.FRESH


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workflow: broken\ntriggers: [\n", "workflow.yaml:"),
        (
            "workflow: broken\ntriggers:\n  - event: x\nsteps:\n  - id: a\n    do:\n      - send_email: {template: missing, subject: Hi}\n",
            "missing",
        ),
        ("- not\n- a\n- mapping\n", "workflow.yaml:"),
        ("", "workflow.yaml"),
    ],
    ids=["yaml", "template", "list", "empty"],
)
def test_a_broken_workflow_is_shown_and_stops_nothing(
    text: str, message: str, project: Path, db_url: str, instance: DagsterInstance
) -> None:
    (project / "broken").mkdir()
    (project / "broken" / "workflow.yaml").write_text(text)
    definitions = rebuilt(project, db_url)
    dg.Definitions.validate_loadable(definitions)
    key = dg.AssetKey(["journeys", "workflows", "broken"])
    spec = spec_of(definitions, key)
    assert "Cannot be read" in (spec.description or "")
    assert message in problems_of(spec)
    assert not definitions.resolve_asset_graph().get(key).is_materializable
    checks = dg.AssetSelection.checks_for_assets(key, HELLO)
    job = dg.Definitions.merge(definitions, dg.Definitions(jobs=[dg.define_asset_job("look", checks)])).resolve_job_def("look")
    result = job.execute_in_process(instance=instance)
    passed = {evaluation.asset_key: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
    assert passed == {key: False, HELLO: True}
    (failed,) = [evaluation for evaluation in result.get_asset_check_evaluations() if not evaluation.passed]
    assert message in (failed.description or "")


def test_a_project_with_an_error_is_not_deployed_and_says_where(
    project: Path, db_url: str, instance: DagsterInstance, db: sa.Engine
) -> None:
    (project / "broken").mkdir()
    (project / "broken" / "workflow.yaml").write_text("workflow: broken\ntriggers: [\n")
    job = rebuilt(project, db_url).resolve_job_def("deploy_workflows")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "broken/workflow.yaml:" in str(failure.step_failure_data.user_failure_data.description)
    with db.connect() as conn:
        assert conn.scalar(sa.text("SELECT count(*) FROM journeys.automation_workflows")) == 0


def test_a_folder_that_is_not_there_is_shown_on_the_project(tmp_path: Path, db_url: str) -> None:
    definitions = rebuilt(tmp_path / "nowhere", db_url)
    dg.Definitions.validate_loadable(definitions)
    assert "JOURNEYS_PROJECT" in problems_of(spec_of(definitions, PROJECT))
    assert "deploy_workflows" not in {job.name for job in definitions.get_repository_def().get_all_jobs()}
