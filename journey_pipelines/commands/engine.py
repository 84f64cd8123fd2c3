"""run and report: the engine and the courier without Dagster."""

from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

out = Console(soft_wrap=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(run)
    app.command()(report)


def run(
    once: Annotated[bool, typer.Option("--once", help="One look: everything due now, then stop.")] = False,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Until nothing is due and nothing can be sent.")] = False,
    forever: Annotated[bool, typer.Option("--forever", help="Until interrupted.")] = False,
    no_send: Annotated[bool, typer.Option("--no-send", help="Move journeys, send nothing.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=100_000, help="Rows a transaction.")] = 10_000,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="On a copy: what the next hours would bring. Writes and sends nothing.")
    ] = False,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="With --dry-run: so far ahead.")] = 24.0,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: as one JSON document.")] = False,
) -> None:
    """Move journeys and send messages without Dagster."""
    from journey_pipelines.engine.loop import loop
    from journey_pipelines.intake.sources import poller
    from journey_pipelines.store.connect import make_engine

    if once + until_idle + forever + dry_run != 1:
        raise typer.BadParameter("say one of --once, --until-idle, --forever, --dry-run")
    if dry_run:
        from journey_pipelines.commands.dry_run import dry_run as run_on_a_copy

        run_on_a_copy(hours, as_json)
        return
    mode: Literal["once", "until_idle", "forever"] = "once" if once else "until_idle" if until_idle else "forever"
    engine = make_engine(application_name="journeys run")
    send = None if no_send else dispatcher(engine)
    shown, last = False, None
    try:
        for last in loop(engine, mode=mode, batch_size=batch_size, dispatcher=send, before_batch=poller(engine)):
            drained, sent = last
            if drained.progress or (sent is not None and sent.claimed):
                _show(drained, sent)
                shown = True
        if last is not None and not shown:
            _show(*last)
    except KeyboardInterrupt:
        out.print("stopped: what was under way is either done or will be taken up again")


def dispatcher(engine: Any) -> Any:
    """A function that dispatches once with the channels of the settings and the deployed consent policy."""
    from journey_pipelines.delivery.channels.configure import channels_from_settings
    from journey_pipelines.delivery.dispatch import dispatch
    from journey_pipelines.engine.leaving import exit_predicates
    from journey_pipelines.engine.policies import consent_predicates
    from journey_pipelines.settings import settings

    channels = channels_from_settings(settings())

    def send(budget: float) -> Any:
        with engine.connect() as conn:
            consent, leaving = consent_predicates(conn), exit_predicates(conn)
        return dispatch(engine, channels, consent=consent, leaving=leaving, budget=budget, linger=0.0)

    return send


def _show(drained: Any, sent: Any) -> None:
    figures = {name: value for name, value in drained.figures().items() if value and name not in ("batches", "stopped_reason")}
    if figures:
        table = Table("engine", "")
        for name, value in figures.items():
            table.add_row(name.replace("_", " "), f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
        out.print(table)
    else:
        out.print("nothing was due")
    if sent is not None:
        out.print("messages: " + (", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in sent.counts().items()) or "none sent"))
        for note in sent.notes():
            out.print(f"  {note}", markup=False)


def report(
    day: Annotated[datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], help="The day; default: the engine's today.")] = None,
) -> None:
    """Build the day's report: SQL tables, CSV and one HTML page."""
    from journey_pipelines.store.clock import clock_now
    from journey_pipelines.store.connect import make_engine
    from reports.build import build_reports

    engine = make_engine()
    with engine.connect() as conn:
        now = clock_now(conn)
    result = build_reports(engine, day.date() if day else None, now=now)
    for path in result.paths:
        out.print(str(path), markup=False)
