"""Make the reports of a day: read the ledger in one snapshot, finish the figures, store them, write the files.

Usable without Dagster: `journeys report`, the summary of the demo and the assets call the same function. It never sends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from journey_pipelines.settings import settings
from journey_pipelines.store import report_tables as tables
from journey_pipelines.store.tables import deployment
from reports import days as calendar
from reports.days import ReportDayError, Span
from reports.final import openness
from reports.funnel import merged_steps, step_funnel
from reports.metrics import all_versions, of_days, total, workflow_metrics
from reports.page import render_page
from reports.read import Ledger, read_ledger
from reports.views import WorkflowView, workflow_views
from reports.write import csv_text, store_day, write_file

HEADLINE = (
    "entered", "active", "ended", "completed", "goal_reached", "errors", "messages_planned", "ended_that_day", "accepted_that_day",
    "conversions_that_day", "under_way_at_close",
)  # fmt: skip


@dataclass(frozen=True)
class ReportResult:
    """What was made. ``tables``: name of the table -> its CSV; ``headline``: the day's counts over all workflows, most asked for first."""

    day: date
    is_final: bool
    page: Path
    tables: dict[str, Path]
    headline: dict[str, int]

    @property
    def paths(self) -> list[Path]:
        """Every file, the page first."""
        return [self.page, *self.tables.values()]


def build_reports(
    engine: sa.Engine, day: date | None = None, *, now: datetime, zone: str | None = None, folder: Path | None = None
) -> ReportResult:
    """Report the local day ``day`` of ``zone``: its partition in the tables, and CSV and HTML under ``folder/<day>/``.

    ``now`` (aware) only decides what is final: unchanged tables give the same bytes. None: ``day`` = the day of ``now``, ``zone`` = the
    default zone of the deployed policies (UTC where nothing is deployed), ``folder`` = the reports folder of the settings.
    Raises `ReportDayError` for a day that has not begun at ``now`` or a zone that does not exist; then nothing is written.
    """
    if now.tzinfo is None:
        raise ReportDayError(f"report time: expected a time with its zone, got {now.isoformat()}")
    zone = zone or _deployed_zone(engine)
    day = day or calendar.day_of(now, zone)
    one_day = calendar.span(day, day, zone)
    if now < one_day.from_at:
        raise ReportDayError(
            f"report day: expected a day that has begun, got {day}; in {zone} it is {calendar.day_of(now, zone)} by the engine's clock"
        )
    window = calendar.window(day, zone)
    # one snapshot, so that what the funnel counts as waiting is what the metrics count as active; written in a transaction of its own,
    # because a writer that waited for another one must see what that one left
    with engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as conn, conn.begin():
        ledger = read_ledger(conn, window, one_day)
    state = openness(window, now, ledger.workflows, ledger.outcomes, ledger.messages, ledger.pending_at)
    last = len(window.days())
    metrics = workflow_metrics(
        ledger.workflows,
        of_days(ledger.outcomes, last),
        of_days(ledger.messages, last),
        of_days(ledger.conversions, last),
        ledger.facts,
        ledger.hours,
        state.rows,
    )
    frames = {tables.workflow_metrics: metrics, tables.step_funnel: step_funnel(ledger.steps, ledger.visits, state.rows)}
    with engine.begin() as conn:
        store_day(conn, one_day, zone, state.is_final, frames)

    home = (folder or settings().reports) / day.isoformat()
    files = {table.name: write_file(home / f"{table.name}.csv", csv_text(day, frame)) for table, frame in frames.items()}
    page = write_file(home / "report.html", render_page(window, zone, now < one_day.to_at, state, _views(ledger, window, last)))
    return ReportResult(day, state.is_final, page, files, headline_figures(metrics))


def headline_figures(metrics: pd.DataFrame) -> dict[str, int]:
    """The sums over all workflows that people ask for first, in that order."""
    return {name: total(metrics, name) for name in HEADLINE} | {"workflows": metrics["workflow_id"].nunique()}


def _deployed_zone(engine: sa.Engine) -> str:
    with engine.connect() as conn:
        zone: str | None = conn.execute(sa.select(deployment.c.policies["zone"].astext)).scalar_one()
    return zone or "UTC"


def _views(ledger: Ledger, window: Span, last: int) -> tuple[WorkflowView, ...]:
    """The page shows a workflow, not its versions: every frame with its versions taken together."""
    workflows = all_versions(ledger.workflows)
    outcomes, messages, conversions = (all_versions(frame) for frame in (ledger.outcomes, ledger.messages, ledger.conversions))
    laid_out = merged_steps(ledger.workflows, ledger.steps)
    return workflow_views(
        window,
        ledger.workflows,
        outcomes,
        day_metrics=workflow_metrics(
            workflows,
            of_days(outcomes, last),
            of_days(messages, last),
            of_days(conversions, last),
            all_versions(ledger.facts),
            ledger.hours.iloc[:0],
        ),
        window_metrics=workflow_metrics(workflows, outcomes, messages, conversions, ledger.facts.iloc[:0], ledger.hours_window),
        day_funnel=step_funnel(laid_out, ledger.visits_merged),
        window_funnel=step_funnel(laid_out, ledger.visits_window),
    )
