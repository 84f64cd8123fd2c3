"""Reports in Dagster: they stay fresh while drains go on, and the night's request covers every day that is open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster import DagsterInstance
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(autouse=True)
def _reports_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNEYS_REPORTS", str(tmp_path / "reports"))


def yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


def statuses(definitions: dg.Definitions, instance: DagsterInstance, day: date) -> dict[str, StaleStatus]:
    """Of every report asset's partition of the day."""
    graph = definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    keys = [key for key in graph.materializable_asset_keys if graph.get(key).group_name == "reports"]
    return {key.to_user_string(): resolver.get_status(key, day.isoformat()) for key in keys}


def night(definitions: dg.Definitions, instance: DagsterInstance) -> dg.RunRequest | str:
    """The request of tonight's tick, or why there is none."""
    with dg.build_schedule_context(
        instance=instance, resources=dict(definitions.resources or {}), scheduled_execution_time=datetime.now(UTC)
    ) as context:
        data = definitions.resolve_schedule_def("nightly_journey_reports").evaluate_tick(context)
    if not data.run_requests:
        return data.skip_message or ""
    (request,) = data.run_requests
    return request


def test_yesterdays_reports_are_still_fresh_after_two_drains(
    deployed: None, definitions: dg.Definitions, run: Run, instance: DagsterInstance, inserts: Callable[..., None]
) -> None:
    inserts("ann", profile='{"email_address": "ann@example.org", "subscription_status": "active"}')
    run("drain_journeys")
    assert set(statuses(definitions, instance, yesterday()).values()) == {StaleStatus.MISSING}
    assert run("report_journeys", partition_key=yesterday().isoformat()).success
    assert set(statuses(definitions, instance, yesterday()).values()) == {StaleStatus.FRESH}
    for customer in ("bob", "cat"):
        inserts(customer)
        assert run("drain_journeys").success
        assert run("dispatch_messages").success
    assert run("deploy_workflows").success
    assert set(statuses(definitions, instance, yesterday()).values()) == {StaleStatus.FRESH}


def test_they_are_fresh_after_old_runs_were_deleted(
    deployed: None, definitions: dg.Definitions, run: Run, instance: DagsterInstance
) -> None:
    from journey_pipelines.ops.retire import retire

    run("drain_journeys")
    run("report_journeys", partition_key=yesterday().isoformat())
    run("drain_journeys")
    assert retire(instance, older_than=datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert set(statuses(definitions, instance, yesterday()).values()) == {StaleStatus.FRESH}


def test_the_night_requests_every_open_day_in_one_run(
    deployed: None, definitions: dg.Definitions, run: Run, instance: DagsterInstance, inserts: Callable[..., None], db: sa.Engine
) -> None:
    inserts("ann", profile='{"email_address": "ann@example.org", "subscription_status": "active"}')
    run("drain_journeys")
    with db.begin() as conn:
        conn.exec_driver_sql("UPDATE journeys.journey_transitions SET at = at - interval '3 days'")
        conn.exec_driver_sql("UPDATE journeys.customer_journeys SET entered_at = entered_at - interval '3 days'")
    request = night(definitions, instance)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key is None
    first, last = date.fromisoformat(request.tags[FIRST]), date.fromisoformat(request.tags[LAST])
    assert last == yesterday()
    assert last - first >= timedelta(days=2)
    result = definitions.resolve_job_def("report_journeys").execute_in_process(instance=instance, tags=request.tags)
    assert result.success
    days = {event.partition for event in result.get_asset_materialization_events()}
    assert days == {(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)}


def test_a_clock_in_the_past_is_asked_for_its_own_yesterday(definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine) -> None:
    from journey_pipelines.store.clock import set_clock

    shown = (datetime.now(UTC) - timedelta(days=30)).replace(hour=9)
    with db.begin() as conn:
        set_clock(conn, shown)
    request = night(definitions, instance)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[LAST] == (shown.date() - timedelta(days=1)).isoformat()
