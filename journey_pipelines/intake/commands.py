"""import-events and replay: files of events."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    import sqlalchemy as sa

    from journey_pipelines.intake.importing import ImportReport
    from journey_pipelines.intake.mapping import RowMapping
    from journey_pipelines.intake.replay import ReplayReport
    from journey_pipelines.intake.shape import Shape

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

File = Annotated[Path, typer.Argument(metavar="FILE", help="CSV, whitespace-separated or JSON lines; gzip too.")]
Type = Annotated[str, typer.Option("--type", help="The events' type, or a template: '{{ kind }}'.")]
CustomerId = Annotated[str, typer.Option("--customer-id", help="A column, or a template over the row's columns: 'shop-{{ id }}'.")]
OccurredAt = Annotated[str, typer.Option("--occurred-at", help="A column or a template: when it happened.")]
DateFormat = Annotated[
    str | None, typer.Option("--date-format", help="As in strptime (%Y%m%d), or epoch, or epoch_ms. Default: ISO 8601.", show_default=False)
]
TimeZone = Annotated[str, typer.Option("--timezone", help="Zone of times that carry none.")]
Payload = Annotated[
    list[str] | None,
    typer.Option(
        "--payload", help="KEY=TEMPLATE, again for each key: 'total={{ dollar_value | float }}'. Default: all other columns as they are."
    ),
]
Profile = Annotated[
    list[str] | None,
    typer.Option("--profile", help="KEY=TEMPLATE, again for each field of the profile: email_address='c{{ customer_id }}@example.org'."),
]
Format = Annotated[str | None, typer.Option("--format", help="csv, whitespace or jsonl. Default: found from the file.", show_default=False)]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="One character, or tab. Default: found from the file.", show_default=False)
]
Header = Annotated[
    bool | None, typer.Option("--header/--no-header", help="Does the first line name the columns?", show_default="found from the file")
]
Columns = Annotated[str | None, typer.Option("--columns", help="Names of the columns, with commas.", show_default=False)]
Encoding = Annotated[str, typer.Option("--encoding", help="Of the file's text.")]
Source = Annotated[
    str | None,
    typer.Option("--source", help="Source of the events. Default: import:TYPE. An id counts once within its source.", show_default=False),
]
Rejected = Annotated[Path | None, typer.Option("--rejected", help="Where bad rows go. Default: FILE.rejected.jsonl.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import-events")(import_events)
    app.command()(replay)


def import_events(
    file: File,
    type: Type,
    customer_id: CustomerId = "customer_id",
    occurred_at: OccurredAt = "occurred_at",
    date_format: DateFormat = None,
    timezone: TimeZone = "UTC",
    payload: Payload = None,
    profile: Profile = None,
    history: Annotated[bool, typer.Option("--history", help="Into history at once: triggers nothing, ever.")] = False,
    format: Format = None,
    delimiter: Delimiter = None,
    header: Header = None,
    columns: Columns = None,
    encoding: Encoding = "utf-8",
    source: Source = None,
    rejected: Rejected = None,
) -> None:
    """Load a file of events, in file order. Loading it again adds nothing.

    Without --history the events are taken as happening now: they may start journeys, however old they are.
    """
    from journey_pipelines.intake import importing
    from journey_pipelines.intake.mapping import LATEST
    from journey_pipelines.store.connect import make_engine

    with _sentences():
        shape, mapping = _read_options(
            file, type, customer_id, occurred_at, date_format, timezone, payload, profile, format, delimiter, header, columns, encoding
        )
        engine = make_engine(application_name="journeys import-events", statement_timeout=0)
        with _disposed(engine), _bar(file) as (progress, task):
            report = importing.import_events(
                engine,
                file,
                shape,
                mapping,
                source=source,
                history_before=LATEST if history else None,
                rejects=rejected,
                progress=lambda at: progress.update(task, completed=at),
            )
    _show_import(report)


def replay(
    file: File,
    type: Type,
    start: Annotated[
        str, typer.Option("--from", help="The first day or instant (included). Earlier rows are history and trigger nothing.")
    ],
    end: Annotated[str, typer.Option("--to", help="The day or instant where it ends (not included).")],
    tick: Annotated[
        str, typer.Option("--tick", help="How far time moves at once: 1d, '6 hours'. The result does not depend on it.")
    ] = "1 day",
    into: Annotated[
        str | None,
        typer.Option("--into", help="Name of the replay's own database: new, or empty. Default: DATABASE_replay_TIME.", show_default=False),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option("--project", help="The project's folder; default: JOURNEYS_PROJECT, or workflow_defs.", show_default=False),
    ] = None,
    customer_id: CustomerId = "customer_id",
    occurred_at: OccurredAt = "occurred_at",
    date_format: DateFormat = None,
    timezone: TimeZone = "UTC",
    payload: Payload = None,
    profile: Profile = None,
    format: Format = None,
    delimiter: Delimiter = None,
    header: Header = None,
    columns: Columns = None,
    encoding: Encoding = "utf-8",
    source: Source = None,
    rejected: Rejected = None,
) -> None:
    """Feed a file's history through the project's workflows, in a database of its own. Sends nothing."""
    from journey_pipelines.expressions.durations import Duration, DurationError
    from journey_pipelines.intake import replay as replaying
    from journey_pipelines.intake.errors import ReplayRefused, TemplateProblem
    from journey_pipelines.intake.mapping import RowRefused, time_reader
    from journey_pipelines.settings import settings
    from journey_pipelines.store.connect import configured_url, database_url
    from journey_pipelines.workflows.load import load_project

    with _sentences():
        try:
            every = Duration.parse(tick).elapsed()
            read = time_reader(None, timezone)
            first, last = read(start), read(end)
        except (DurationError, RowRefused) as error:
            raise TemplateProblem(f"--from, --to, --tick: {error}") from error
        ends = replaying.tick_ends(first, last, every)
        shape, mapping = _read_options(
            file, type, customer_id, occurred_at, date_format, timezone, payload, profile, format, delimiter, header, columns, encoding
        )
        loaded = load_project(project or settings().project)
        if loaded.errors:
            for problem in loaded.errors:
                err.print(str(problem), style="red", markup=False)
            raise ReplayRefused(f"the project {loaded.path} has errors; nothing was replayed")
        live = database_url(configured_url())
        name = into or f"{live.database}_replay_{datetime.now(UTC):%Y%m%d_%H%M%S}"
        engine = replaying.replay_database(live, name, loaded, first)
        out.print(f"replaying into database [bold]{escape(name)}[/bold]")
        with _disposed(engine), _bar(file) as (progress, task):
            ticks = progress.add_task("ticks", total=len(ends), visible=False)

            def on_tick(at: datetime, moved: Any) -> None:
                description = f"{at:%Y-%m-%d}  {moved.entered:,} entered, {moved.planned:,} messages"
                progress.update(task, visible=False)
                progress.update(ticks, advance=1, visible=True, description=description)

            report = replaying.replay(
                engine,
                file,
                shape,
                mapping,
                start=first,
                end=last,
                tick=every,
                source=source,
                rejects=rejected,
                on_load=lambda at: progress.update(task, completed=at),
                on_tick=on_tick,
            )
    _show_replay(report)
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=True)
    out.print(f"look at it: [bold]DATABASE_URL='{escape(url)}' journeys status[/bold], or person ID")
    out.print(f"drop it: journeys db psql -c 'DROP DATABASE {escape(name)}'")


def _read_options(
    file: Path,
    type: str,
    customer_id: str,
    occurred_at: str,
    date_format: str | None,
    timezone: str,
    payload: list[str] | None,
    profile: list[str] | None,
    format: str | None,
    delimiter: str | None,
    header: bool | None,
    columns: str | None,
    encoding: str,
) -> "tuple[Shape, RowMapping]":
    from journey_pipelines.intake.errors import TemplateProblem
    from journey_pipelines.intake.mapping import MappingOptions, RowMapping
    from journey_pipelines.intake.shape import FORMATS, detect

    chosen = next((known for known in FORMATS if known == format), None)
    if format is not None and chosen is None:
        raise TemplateProblem(f"--format {format!r}: expected one of {', '.join(FORMATS)}")
    names = [name.strip() for name in columns.split(",")] if columns else None
    shape = detect(file, format=chosen, delimiter=delimiter, header=header, columns=names, encoding=encoding)
    out.print(f"{escape(str(file))}: {escape(shape.describe())}")
    options = MappingOptions(
        type=type,
        customer_id=customer_id,
        occurred_at=occurred_at,
        date_format=date_format,
        timezone=timezone,
        payload=None if payload is None else _pairs("--payload", payload),
        profile=_pairs("--profile", profile or []),
    )
    return shape, RowMapping(options, shape.columns if shape.format != "jsonl" else None)


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    from journey_pipelines.intake.errors import TemplateProblem

    pairs: dict[str, str] = {}
    for text in texts:
        key, found, template = text.partition("=")
        if not found or not key.strip():
            raise TemplateProblem(f"{option} {text!r}: expected KEY=TEMPLATE, e.g. {option} first_name='{{{{ name }}}}'")
        if key.strip() in pairs:
            raise TemplateProblem(f"{option} {text!r}: the key {key.strip()!r} is given twice")
        pairs[key.strip()] = template
    return pairs


@contextmanager
def _sentences() -> Iterator[None]:
    """What the user can cause is said in a sentence; exit code 1."""
    from journey_pipelines.intake.errors import IntakeError

    try:
        yield
    except IntakeError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}")
        raise typer.Exit(1) from None


@contextmanager
def _disposed(engine: "sa.Engine") -> Iterator[None]:
    """Connections end with the command, not with the process: a test runs many."""
    try:
        yield
    finally:
        engine.dispose()


@contextmanager
def _bar(file: Path) -> "Iterator[tuple[Progress, TaskID]]":
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=not sys.stderr.isatty()) as progress:
        task = progress.add_task(f"reading {escape(file.name)}", total=file.stat().st_size)
        yield progress, task
        progress.update(task, completed=file.stat().st_size)


def _show_import(report: "ImportReport") -> None:
    table = Table("rows of the file", "", show_header=False)
    table.add_row("rows read", f"{report.rows:,}")
    for name, value in (("into the inbox", report.queued), ("into history", report.history), ("known from before", report.known)):
        if value or name == "into the inbox":
            table.add_row(name, f"{value:,}")
    if report.outside:
        table.add_row("from --to on, left out", f"{report.outside:,}")
    table.add_row("rejected", f"{report.rejected:,}", style="red" if report.rejected else "")
    if report.first_at and report.last_at:
        table.add_row("events from", f"{report.first_at:%Y-%m-%d %H:%M} to {report.last_at:%Y-%m-%d %H:%M} UTC")
    out.print(table)
    for reason, count in list(report.reasons.items())[:10]:
        out.print(f"  {count:,} x {reason}", style="red", markup=False)
    if report.rejects:
        out.print(f"rejected rows: {report.rejects}", markup=False)


def _show_replay(report: "ReplayReport") -> None:
    _show_import(report.loaded)
    moved = report.moved
    table = Table("replay", "", show_header=False)
    rows = {
        "ticks": report.ticks,
        "journeys entered": moved.entered,
        "journeys ended": moved.ended,
        "steps taken": moved.advanced,
        "messages planned": moved.planned,
        "of these not sent (replay)": report.unsent,
        "goals reached": moved.conversions,
        "events quarantined": moved.quarantined,
        "journeys failed": moved.failed,
    }
    for name, value in rows.items():
        if value or name in ("ticks", "journeys entered", "messages planned"):
            table.add_row(name, f"{value:,}")
    out.print(table)
