"""hold, release, holds: stop a workflow and let it go on."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from journey_pipelines.commands.operations import ByOption, JsonOption, as_json, counted, database, listed, out, plain, who

if TYPE_CHECKING:
    from journey_pipelines.engine.holds import Hold
    from journey_pipelines.engine.resume import Release

WorkflowArgument = Annotated[str | None, typer.Argument(metavar="[WORKFLOW]", help="The workflow's id.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="All workflows, those deployed later too.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(hold)
    app.command()(release)
    app.command()(holds)


def hold(
    why: Annotated[str, typer.Option("--why", help="The reason; whoever looks reads it.")],
    workflow: WorkflowArgument = None,
    everything: AllOption = False,
    dispatch_only: Annotated[bool, typer.Option("--dispatch-only", help="Journeys go on; only nothing is sent.")] = False,
    by: ByOption = None,
) -> None:
    """Stop a workflow now. No deploy clears a hold; `journeys release` does.

    People go on entering, and events, exits and goals are recorded. Nobody advances past a step and nothing is sent; what was already
    handed to a provider leaves. When this command returns, no running batch is left that does not know of it.
    """
    from journey_pipelines.engine.holds import hold as hold_workflow

    name = _target(workflow, everything)
    with database("hold") as (engine, now), engine.begin() as conn:
        held = hold_workflow(conn, name, why=why, by=who(by), now=now, what="dispatch" if dispatch_only else "workflow")
    what = "nothing is sent, journeys go on" if dispatch_only else "nobody advances, nothing is sent"
    out.print(f"held: {held.scope}: {what}", markup=False)


def release(
    workflow: WorkflowArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="The hold on all workflows; holds on single ones stay.")] = False,
    spread: Annotated[
        str | None, typer.Option("--spread", metavar="DURATION", help="Over how long what waits goes on, such as 1h.", show_default=False)
    ] = None,
    at_once: Annotated[bool, typer.Option("--now", help="All at once.")] = False,
    by: ByOption = None,
    json_: JsonOption = False,
) -> None:
    """End a hold (an operator's or the breaker's). What waited goes on evenly, by default a minute for every 1,000 (at most 6 hours).

    An overdue step moves to its turn, or is left out where the workflow says `on_resume: skip`. Messages that have expired are not sent.
    """
    from journey_pipelines.engine.resume import release as release_workflow

    name = _target(workflow, everything)
    length = timedelta(0) if at_once else _duration(spread) if spread is not None else None
    if at_once and spread is not None:
        raise typer.BadParameter("say either --spread or --now")
    with database("release") as (engine, now), engine.begin() as conn:
        done = release_workflow(conn, name, by=who(by), now=now, spread=length)
    if json_:
        as_json(done)
        return
    for line in _told(done):
        out.print(line, markup=False)


def _told(done: "Release") -> list[str]:
    from journey_pipelines.engine.holds import when

    lines = [f"released: {hold.scope} (held since {when(hold.held_at)} by {hold.held_by}: {hold.why})" for hold in done.closed]
    for one in done.resumed:
        waiting = [counted(one.parked, "journey")] if one.parked else []
        waiting += [counted(one.overdue, "message")] if one.overdue else []
        over = f"until {when(one.until_at)}" if one.until_at > one.from_at else "at once"
        skipping = "; their overdue steps do nothing (on_resume: skip)" if one.parked and one.policy == "skip" else ""
        lines.append(f"{one.workflow_id}: {' and '.join(waiting)} go on, {over}{skipping}")
    if not done.resumed:
        lines.append("nothing waited")
    lines += [f"still held: {hold.scope} ({hold.what}, by {hold.held_by}: {hold.why})" for hold in done.still]
    lines += [f"still stopped by its status in git: {name}" for name in done.paused]
    return lines


def holds(
    past: Annotated[int, typer.Option(min=0, max=10_000, help="So many of those released, too.")] = 10,
    json_: JsonOption = False,
) -> None:
    """What is held, by whom and why; what is being let go; and the last holds that were released."""
    from journey_pipelines.engine.holds import open_holds, past_holds
    from journey_pipelines.engine.resume import under_way

    with database("holds") as (engine, now), engine.connect() as conn:
        held, released, resuming = open_holds(conn), past_holds(conn, past), under_way(conn)
    if json_:
        going = {name: {"from_at": start, "until_at": end} for name, (start, end) in resuming.items()}
        as_json({"now": now, "open": plain(held), "past": plain(released), "resuming": going})
        return
    if not held:
        out.print("nothing is held")
    for title, rows in (("held", held), ("released", released)):
        if rows:
            out.print(_table(title, rows))
    if resuming:
        out.print(
            f"being let go: {listed([f'{name} until {end:%Y-%m-%d %H:%M}' for name, (_, end) in sorted(resuming.items())])}", markup=False
        )


def _table(title: str, rows: "list[Hold]") -> Table:
    table = Table(title, "what", "since", "by", "why", *(["released", "by"] if title == "released" else []))
    for row in rows:
        ending = [f"{row.released_at:%Y-%m-%d %H:%M}", escape(row.released_by or "")] if row.released_at else []
        what = "sends only" if row.what == "dispatch" else "advancing and sends"
        since = f"{row.held_at:%Y-%m-%d %H:%M}"
        table.add_row(row.workflow_id or "all workflows", what, since, escape(row.held_by), escape(row.why), *ending)
    return table


def _target(workflow: str | None, everything: bool) -> str | None:
    if (workflow is None) != everything:
        raise typer.BadParameter("name one workflow, or say --all")
    return workflow


def _duration(text: str) -> timedelta:
    from journey_pipelines.expressions.durations import Duration, DurationError

    try:
        length = Duration.parse(text).elapsed()
    except DurationError as error:
        raise typer.BadParameter(f"--spread: {error}") from None
    if length > timedelta(days=31):
        raise typer.BadParameter("--spread: at most 31 days")
    return length
