"""run --dry-run: what the next hours would bring, on a copy of the database. `commands.engine` has the option and calls this."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from journey_pipelines.engine.dry_run import Forecast, StepForecast

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def dry_run(hours: float, as_json: bool = False) -> None:
    """Copy, run, print, drop the copy. Ctrl-C and SIGTERM end it early, and the copy goes all the same."""
    from journey_pipelines.engine.dry_run import forecast
    from journey_pipelines.intake.table_segments import refresh_segments
    from journey_pipelines.store.connect import configured_url, make_engine
    from journey_pipelines.store.copy import copied

    try:
        with (
            _terminable(),
            err.status("copying the database") as doing,
            copied(configured_url(), on_table=lambda table: doing.update(f"copying {table}")) as copy,
        ):
            engine = make_engine(copy.url, application_name="journeys dry run")
            try:
                found = forecast(
                    engine,
                    hours=hours,
                    before_tick=lambda at: refresh_segments(engine, at),
                    on_tick=lambda at, _: doing.update(f"{at:%Y-%m-%d %H:%M} UTC"),
                )
            finally:
                engine.dispose()
    except KeyboardInterrupt:
        err.print("stopped; the copy is dropped, the database is as it was")
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(asdict(found), default=_plain, indent=2, ensure_ascii=False))
    else:
        _show(found)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what it made is cleared away."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _plain(value: Any) -> str:
    assert isinstance(value, datetime)
    return value.isoformat()


def _show(found: Forecast) -> None:
    out.print(f"dry run from {found.start:%Y-%m-%d %H:%M} to {found.end:%Y-%m-%d %H:%M} UTC: nothing was written, nothing was sent")
    for hold in found.holds:
        what = "nothing is sent" if hold.what == "dispatch" else "nobody goes on"
        out.print(f"held: {hold.workflow_id or 'all workflows'} ({what}): {hold.why}", style="yellow", markup=False)
    steps = Table("workflow", "step", "entered", "advanced", "ended", "waiting then", "held")
    for workflow in found.workflows:
        steps.add_row(
            workflow.workflow_id, "", f"{workflow.entered:,}", "", _reasons(workflow.ended), *_standing(workflow.steps), style="bold"
        )
        for step in workflow.steps:
            steps.add_row("", step.step, f"{step.entered:,}", f"{step.advanced:,}", _reasons(step.ended), *_standing([step]))
    if found.workflows:
        out.print(steps)
    else:
        out.print("nobody is under way, and nobody would enter")
    if found.messages:
        planned = Table("hour (UTC)", "workflow", "channel", "planned", "held out", "taken back")
        for row in found.messages:
            figures = (f"{n:,}" if n else "" for n in (row.planned, row.held_out, row.taken_back))
            planned.add_row(f"{row.hour:%Y-%m-%d %H:%M}", row.workflow_id, row.channel, *figures)
        out.print(planned)
        out.print("planned is before consent, suppressions and limits are asked, which happens when a message is sent")
    else:
        out.print("no message would be planned")
    if found.quarantined:
        out.print(escape(f"{found.quarantined:,} events could not be used"), style="red")


def _reasons(ended: dict[str, int]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in sorted(ended.items()))


def _standing(steps: list[StepForecast]) -> tuple[str, str]:
    held = sum(step.held for step in steps)
    return f"{sum(step.waiting for step in steps):,}", f"{held:,}" if held else ""
