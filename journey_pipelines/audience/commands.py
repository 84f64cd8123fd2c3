"""person and status: what happened to somebody, and how things stand."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from journey_pipelines.audience.status import Backlog, Status, WorkflowStatus

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="As one JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(person)
    app.command()(status)


def person(
    customer_id: Annotated[str, typer.Argument(metavar="ID", help="The customer's id.")],
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The last so many events.")] = 500,
    as_json: Json = False,
) -> None:
    """One person's story: events, why they entered, which way they went and why, messages, and what is due next."""
    import sqlalchemy as sa

    from journey_pipelines.audience import timeline
    from journey_pipelines.audience.person import UnknownPerson
    from journey_pipelines.audience.person import person as look_up
    from journey_pipelines.store.clock import clock_now
    from journey_pipelines.store.connect import make_engine

    try:
        with make_engine(application_name="journeys person", poolclass=sa.NullPool).connect() as conn:
            found = look_up(conn, customer_id, clock_now(conn), limit=limit)
    except UnknownPerson as error:
        err.print(f"[red]error:[/red] {escape(str(error))}")
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(timeline.as_json(found), indent=2, ensure_ascii=False))
        return
    for line in timeline.lines(found):
        out.print(line)


def status(as_json: Json = False) -> None:
    """Workflows, backlogs, messages by state and reason, quarantine, sources, the clock."""
    import sqlalchemy as sa

    from journey_pipelines.audience.status import status as look_up
    from journey_pipelines.store.clock import clock_now
    from journey_pipelines.store.connect import make_engine

    with make_engine(application_name="journeys status", poolclass=sa.NullPool).connect() as conn:
        found = look_up(conn, clock_now(conn))
    if as_json:
        typer.echo(json.dumps(asdict(found), default=lambda value: value.isoformat(), indent=2, ensure_ascii=False))
        return
    _show(found)


def _show(found: "Status") -> None:
    from journey_pipelines.audience.status import overdue

    rate = "" if found.rate == 1 else f", {found.rate:,.0f} times as fast as the wall"
    out.print(f"clock {found.now:%Y-%m-%d %H:%M:%S} UTC{rate}; deployment {found.generation}", markup=False)
    workflows = Table("workflow", "version", "status", "active", "waiting at", "ended")
    for workflow in found.workflows:
        held = f" ({workflow.held:,} parked)" if workflow.held else ""
        workflows.add_row(
            workflow.workflow_id,
            str(workflow.version),
            _status(workflow, found),
            f"{workflow.active:,}{held}",
            _counts(workflow.waiting_at),
            _counts(workflow.ended),
        )
    if found.workflows:
        out.print(workflows)
    else:
        out.print("no workflow is deployed: run `journeys deploy`")

    for line in _standing(found):
        out.print(line, style="yellow", markup=False)
    backlogs = Table("backlog", "rows", "oldest", "behind")
    for name, backlog in (("inbox", found.inbox), ("journeys due", found.due), ("messages to send", found.outbox)):
        backlogs.add_row(name, f"{backlog.rows:,}", f"{backlog.oldest:%Y-%m-%d %H:%M:%S}" if backlog.oldest else "", _behind(backlog))
    if found.later:
        backlogs.add_row("inbox, of the future", f"{found.later:,}", "", "")
    if found.segment_changes:
        backlogs.add_row("segment changes", f"{found.segment_changes:,}", "", "")
    out.print(backlogs)
    if overdue(found):
        out.print("journeys are overdue by more than five minutes: is a drain running?", style="red")

    if found.messages:
        ledger = Table("channel", "state", "reason", "messages")
        for count in found.messages:
            style = "red" if count.state in ("in_doubt", "failed", "dead") else ""
            ledger.add_row(count.channel, count.state, escape(count.reason or ""), f"{count.n:,}", style=style)
        out.print(ledger)
    out.print(f"in doubt: {found.in_doubt:,}", style="red" if found.in_doubt else "")

    if found.refused:
        refused = Table("quarantined from", "reason", "events", "last")
        for row in found.refused:
            refused.add_row(escape(row.source), escape(row.reason), f"{row.n:,}", f"{row.last_at:%Y-%m-%d %H:%M:%S}")
        out.print(refused)
    if found.sources:
        sources = Table("event source", "read up to", "rows", "refused", "problem")
        for source in found.sources:
            upto = f"{source.cursor:%Y-%m-%d %H:%M:%S}" if source.cursor else ""
            sources.add_row(source.source_id, upto, f"{source.rows_read:,}", f"{source.rows_refused:,}", escape(source.last_error or ""))
        out.print(sources)


def _status(workflow: "WorkflowStatus", found: "Status") -> str:
    """Its status in git, and what an operator made of it."""
    said = [workflow.status]
    if workflow.status == "archived" and workflow.active:
        said.append("draining")
    for hold in found.standing.holds:
        if hold.workflow_id in (None, workflow.workflow_id):
            said.append("held" if hold.what == "workflow" else "sends held")
    if workflow.workflow_id in found.standing.resuming:
        said.append("resuming")
    return ", ".join(dict.fromkeys(said))


def _standing(found: "Status") -> list[str]:
    standing = found.standing
    lines = [
        f"held: {hold.scope} ({_what(hold.what)}) since {hold.held_at:%Y-%m-%d %H:%M} by {hold.held_by}: {hold.why}"
        for hold in standing.holds
    ]
    lines += [f"resuming: {name}, until {until:%Y-%m-%d %H:%M}" for name, until in sorted(standing.resuming.items())]
    lines += [f"limit reached: {one.workflow_id}: {one.what} {one.limit}" for one in standing.limits if not one.left]
    if standing.tasks:
        lines.append(f"tasks open: {_counts(dict(standing.tasks))}; see `journeys tasks`")
    return lines


def _what(held: str) -> str:
    return "sends only" if held == "dispatch" else "advancing and sends"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _behind(backlog: "Backlog") -> str:
    seconds = backlog.lag_seconds
    if seconds < 1:
        return ""
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return (
        f"{seconds / 60:,.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:,.0f} h"
        if seconds < 172_800
        else f"{seconds / 86_400:,.0f} days"
    )
