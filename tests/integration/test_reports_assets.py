"""The report assets in Dagster: partitions, one run for many days, refusals, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.errors import DagsterUnknownPartitionError
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from report_rows import Rows

from journey_pipelines.resources import ENGINE, EngineResource
from journey_pipelines.store import report_tables as r
from journey_pipelines.store import tables as t
from journey_pipelines.store.clock import set_clock
from reports.assets import PAGE, STEP_FUNNEL, WORKFLOW_METRICS, first_day, report_assets, report_partitions
from reports.days import ReportDayError

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNEYS_REPORTS", str(tmp_path))


def materialize(db_url: str, partition: date | None = None, **tags: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        report_assets(),
        resources={ENGINE: EngineResource(database_url=db_url)},
        partition_key=partition.isoformat() if partition else None,
        tags=tags or None,
        raise_on_error=False,
    )


def journey_on(db: sa.Engine, day: date) -> None:
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("w", ["a"])
        rows.journey("w", datetime(day.year, day.month, day.day, 12, tzinfo=UTC), [(timedelta(0), "a")])
        rows.message("w", datetime(day.year, day.month, day.day, 12, tzinfo=UTC))


def test_a_partition_stores_the_day_and_shows_its_figures(db: sa.Engine, db_url: str, tmp_path: Path) -> None:
    journey_on(db, YESTERDAY)
    result = materialize(db_url, YESTERDAY)
    assert result.success
    made = {event.asset_key: event.materialization for event in result.get_asset_materialization_events()}
    assert set(made) == {WORKFLOW_METRICS, STEP_FUNNEL, PAGE}
    assert {m.partition for m in made.values()} == {YESTERDAY.isoformat()}
    metadata = made[WORKFLOW_METRICS].metadata
    assert list(metadata)[:2] == ["entered", "active"], "what is charted comes first"
    assert metadata["entered"].value == 1
    assert made[PAGE].metadata["file"].value == str((tmp_path / YESTERDAY.isoformat() / "report.html").resolve())
    with db.connect() as conn:
        assert conn.scalars(sa.select(r.workflow_metrics.c.as_of)).all() == [YESTERDAY]


def test_a_range_is_one_run_and_materializing_again_sends_nothing(db: sa.Engine, db_url: str) -> None:
    journey_on(db, YESTERDAY)
    first = YESTERDAY - timedelta(days=2)
    with db.connect() as conn:
        before = conn.execute(sa.select(t.messages)).all()
    for _ in range(2):
        result = materialize(
            db_url, **{ASSET_PARTITION_RANGE_START_TAG: first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: YESTERDAY.isoformat()}
        )
        assert result.success
        pages = [e.materialization.partition for e in result.get_asset_materialization_events() if e.asset_key == PAGE]
        assert sorted(pages) == [(first + timedelta(days=n)).isoformat() for n in range(3)]
    with db.connect() as conn:
        assert conn.scalars(sa.select(r.report_days.c.as_of).order_by(r.report_days.c.as_of)).all() == [
            first + timedelta(days=n) for n in range(3)
        ]
        assert conn.execute(sa.select(t.messages)).all() == before


def test_a_day_of_the_future_is_refused(db: sa.Engine, db_url: str) -> None:
    with pytest.raises(DagsterUnknownPartitionError):
        materialize(db_url, YESTERDAY + timedelta(days=3))


def test_a_day_that_the_clock_of_the_demo_has_not_reached_fails_in_words(db: sa.Engine, db_url: str) -> None:
    with db.begin() as conn:
        set_clock(conn, datetime.now(UTC) - timedelta(days=40))
    result = materialize(db_url, YESTERDAY)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "expected a day that has begun" in str(failure.step_failure_data)
    assert materialize(db_url, YESTERDAY - timedelta(days=45)).success


def test_partitions_reach_back_sixty_days_or_to_the_given_day(monkeypatch: pytest.MonkeyPatch) -> None:
    today = date(2026, 2, 20)
    monkeypatch.delenv("JOURNEYS_REPORTS_FROM", raising=False)
    assert first_day(today) == date(2025, 1, 1)
    assert all((day - first_day(day)).days >= 90 for day in (today + timedelta(days=n) for n in range(400)))
    monkeypatch.setenv("JOURNEYS_REPORTS_FROM", "2026-02-01")
    assert first_day(today) == date(2026, 2, 1)
    for wrong, said in (("soon", "expected a date such as 2026-01-31, got 'soon'"), ("2027-01-01", "expected a day that has begun")):
        monkeypatch.setenv("JOURNEYS_REPORTS_FROM", wrong)
        with pytest.raises(ReportDayError, match=said):
            first_day(today)


def test_the_zone_is_on_the_partitions() -> None:
    assert report_partitions("Europe/Berlin").timezone == "Europe/Berlin"
    (assets,) = report_assets("Europe/Berlin")
    assert assets.partitions_def == report_partitions("Europe/Berlin")
    assert assets.backfill_policy == dg.BackfillPolicy.single_run()
    assert set(assets.group_names_by_key.values()) == {"reports"}


def test_loading_the_assets_does_not_load_pandas() -> None:
    code = "import sys, reports.assets, reports.due; reports.assets.report_assets(); sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
