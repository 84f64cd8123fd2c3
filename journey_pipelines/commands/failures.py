"""errors, retry: journeys that ended because a statement could not digest them."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from journey_pipelines.commands.operations import ByOption, JsonOption, as_json, counted, database, out, who


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(errors)
    app.command()(retry)


def errors(
    workflow: Annotated[str | None, typer.Argument(help="The workflow's id; default: all.", show_default=False)] = None,
    each: Annotated[bool, typer.Option("--list", help="Each journey, the last first, instead of groups.")] = False,
    most: Annotated[int, typer.Option(min=1, max=1_000_000, help="With --list: at most so many.")] = 100,
    json_: JsonOption = False,
) -> None:
    """Journeys that ended with an error: at which step, and what the database said. `journeys retry` lets them go on."""
    from journey_pipelines.engine.failures import failure_groups, failures
    from journey_pipelines.engine.operator import deployed_workflow

    with database("errors") as (engine, _), engine.connect() as conn:
        if workflow is not None:
            deployed_workflow(conn, workflow)
        listed = failures(conn, workflow, most) if each else []
        groups = [] if each else failure_groups(conn, workflow)
    if json_:
        as_json(listed if each else groups)
        return
    if not listed and not groups:
        out.print("no journey ended with an error")
        return
    if each:
        table = Table("journey", "customer", "workflow", "step", "when", "code", "error")
        for one in listed:
            when = f"{one.ended_at:%Y-%m-%d %H:%M:%S}"
            place = f"{one.workflow_id} v{one.version}"
            said = (one.sqlstate or "", escape(one.error or ""))
            table.add_row(str(one.journey_id), escape(one.customer_id), place, one.step_key, when, *said)
    else:
        table = Table("workflow", "step", "journeys", "first", "last", "code", "error")
        for group in groups:
            first, last = f"{group.first_at:%Y-%m-%d %H:%M}", f"{group.last_at:%Y-%m-%d %H:%M}"
            said = (group.sqlstate or "", escape(group.error or ""))
            table.add_row(group.workflow_id, group.step_key, f"{group.journeys:,}", first, last, *said)
    out.print(table)


def retry(
    what: Annotated[
        list[str], typer.Argument(metavar="JOURNEY_ID...|WORKFLOW", help="Ids from `journeys errors --list`, or one workflow.")
    ],
    by: ByOption = None,
    json_: JsonOption = False,
) -> None:
    """Let journeys that ended with an error go on at the step where they failed.

    Refused, with the reason: journeys that ended otherwise, and those whose customer has entered again meanwhile.
    """
    from journey_pipelines.engine.failures import failed_ids, parse_ids
    from journey_pipelines.engine.failures import retry as retry_journeys

    with database("retry") as (engine, now):
        if len(what) == 1 and not what[0].isdigit():
            with engine.connect() as conn:
                ids = failed_ids(conn, what[0])
        else:
            ids = parse_ids(what)
        done = retry_journeys(engine, ids, by=who(by), now=now)
    if json_:
        as_json(done)
    else:
        out.print(f"{counted(done.retried, 'journey')} active again" if ids else "no journey of it ended with an error")
        for reason, n in done.reasons():
            out.print(f"{counted(n, 'journey')} refused: {reason}", style="yellow", markup=False)
    if done.refused and not done.retried:
        raise typer.Exit(1)
