"""The reports as Dagster assets, a partition a day: the only module here that imports dagster, and it imports pandas only when it runs."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from journey_pipelines.resources import EngineResource
from reports.days import ReportDayError

FROM_VARIABLE = "JOURNEYS_REPORTS_FROM"
WORKFLOW_METRICS = dg.AssetKey(["journeys", "reports", "workflow_metrics"])
STEP_FUNNEL = dg.AssetKey(["journeys", "reports", "step_funnel"])
PAGE = dg.AssetKey(["journeys", "reports", "page"])
_ADVANCEMENTS = dg.AssetKey(["journeys", "journey_advancements"])


def first_day(today: date) -> date:
    """The first partition: JOURNEYS_REPORTS_FROM, else New Year's Day of the year it was 90 days ago.

    That day does not move with every restart, and is far enough back for the clock of the demo, which starts 60 days ago.
    Raises `ReportDayError` for what is no date or lies in the future.
    """
    given = os.environ.get(FROM_VARIABLE, "").strip()
    if not given:
        return date((today - timedelta(days=90)).year, 1, 1)
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise ReportDayError(f"{FROM_VARIABLE}: expected a date such as 2026-01-31, got {given!r}") from None
    if day > today:
        raise ReportDayError(f"{FROM_VARIABLE}: expected a day that has begun, got {given}")
    return day


def report_partitions(zone: str = "UTC") -> dg.DailyPartitionsDefinition:
    """Local days of ``zone``; a day becomes a partition when it is over."""
    start = first_day(datetime.now(UTC).date())
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone=zone)


def report_assets(zone: str = "UTC") -> list[dg.AssetsDefinition]:
    """`journeys/reports/workflow_metrics`, `step_funnel` and `page`, made together from one snapshot of the ledger.

    ``zone`` is the default zone of the project's policies: what a day is. Needs the resource `journeys_engine`.
    """

    @dg.multi_asset(
        name="journeys_daily_reports",
        group_name="reports",
        partitions_def=report_partitions(zone),
        # all days that are not final in one run: a run a day would be some forty processes every night
        backfill_policy=dg.BackfillPolicy.single_run(),
        specs=[
            dg.AssetSpec(
                WORKFLOW_METRICS,
                deps=[_ADVANCEMENTS],
                description="`journeys.workflow_metrics`: who entered on the day and what became of them, per workflow version.",
                kinds={"postgres", "pandas"},
            ),
            dg.AssetSpec(
                STEP_FUNNEL,
                deps=[_ADVANCEMENTS],
                description="`journeys.step_funnel`: how far they came, per step.",
                kinds={"postgres", "pandas"},
            ),
            dg.AssetSpec(
                PAGE,
                deps=[WORKFLOW_METRICS, STEP_FUNNEL],
                description="`report.html` of the day: all workflows on one page, readable on a phone.",
                kinds={"html"},
            ),
        ],
    )
    def daily_reports(context: dg.AssetExecutionContext, journeys_engine: EngineResource) -> Iterator[dg.MaterializeResult]:
        from journey_pipelines.store.clock import clock_now
        from reports.build import build_reports

        engine = journeys_engine.engine
        with engine.connect() as conn:
            now = clock_now(conn)
        try:
            made = [build_reports(engine, date.fromisoformat(key), now=now, zone=zone) for key in sorted(context.partition_keys)]
        except ReportDayError as refused:
            # a day that has not begun by the engine's clock does not begin by trying again
            raise dg.Failure(description=str(refused), allow_retries=False) from refused
        latest = made[-1]
        figures = latest.headline
        made_of = {
            WORKFLOW_METRICS: (figures, latest.tables["workflow_metrics"]),
            STEP_FUNNEL: ({"entered": figures["entered"], "waiting": figures["active"]}, latest.tables["step_funnel"]),
            PAGE: ({"entered": figures["entered"], "workflows": figures["workflows"]}, latest.page),
        }
        for key, (numbers, file) in made_of.items():
            metadata: dict[str, dg.MetadataValue] = {name: dg.MetadataValue.int(n) for name, n in numbers.items()}
            metadata["day"] = dg.MetadataValue.text(latest.day.isoformat())
            metadata["days"] = dg.MetadataValue.int(len(made))
            metadata["days_not_final"] = dg.MetadataValue.int(sum(not report.is_final for report in made))
            metadata["file"] = dg.MetadataValue.path(str(file.resolve()))
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)

    return [daily_reports]
