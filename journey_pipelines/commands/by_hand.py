"""enter, exit: ask a workflow to take customers in, or to let them go."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from journey_pipelines.commands.operations import JsonOption, as_json, counted, database, listed, out

if TYPE_CHECKING:
    from journey_pipelines.engine.by_hand import Chosen, Preview

WorkflowArgument = Annotated[str, typer.Argument(help="The workflow's id.")]
CustomersOption = Annotated[str | None, typer.Option("--customers", metavar="ID,ID,...", help="Customers' ids.", show_default=False)]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file", help="CSV with a column customer_id, JSON lines, or an id a line; fields of their own beside it.", show_default=False
    ),
]
WhereOption = Annotated[
    str | None, typer.Option("--where", metavar="EXPR", help="All with a profile for whom this is true.", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(enter)
    app.command(name="exit")(exit_)


def enter(
    workflow: WorkflowArgument,
    customers: CustomersOption = None,
    file: FileOption = None,
    where: WhereOption = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="KEY=VALUE", help="event.KEY of the journeys; JSON or text. Repeatable.", show_default=False),
    ] = None,
    yes: YesOption = False,
    json_: JsonOption = False,
) -> None:
    """Ask a workflow with a `manual` trigger to take customers in. Shows how many, and asks.

    They enter as by any trigger: eligibility, re-entry, limits and holds decide. Those who are no customers are named and left out.
    """
    from journey_pipelines.engine import by_hand

    with database("enter") as (engine, _):
        with engine.connect() as conn:
            request = by_hand.entering(conn, workflow, _fields(field or []))
            names = by_hand.known_fields(conn, workflow)
        _run(engine, request, customers, file, where, names, yes, json_)


def exit_(
    workflow: WorkflowArgument,
    customers: CustomersOption = None,
    file: FileOption = None,
    where: WhereOption = None,
    yes: YesOption = False,
    json_: JsonOption = False,
) -> None:
    """Ask a workflow to let customers go: their journeys end with exit_reason manual. Shows how many, and asks."""
    from journey_pipelines.engine import by_hand

    with database("exit") as (engine, _):
        with engine.connect() as conn:
            request = by_hand.leaving(conn, workflow)
        _run(engine, request, customers, file, where, (), yes, json_)


def _run(
    engine: Any, request: Any, customers: str | None, file: Path | None, where: str | None, names: tuple[str, ...], yes: bool, json_: bool
) -> None:
    from journey_pipelines.engine import by_hand
    from journey_pipelines.store.clock import clock_now

    if sum(given is not None for given in (customers, file, where)) != 1:
        raise typer.BadParameter("say one of --customers, --file, --where")
    if json_ and not yes:
        raise typer.BadParameter("--json asks nothing: say --yes, too")
    source = _source(engine, customers, file, where, names)
    with engine.connect() as conn:
        shown = by_hand.preview(conn, request, source())
    asked = shown.known if request.entering else shown.inside
    if not json_:
        _show(request.workflow_id, shown, entering=request.entering)
    if not asked:
        if json_:
            as_json({"written": 0, "request": None, "preview": shown})
        raise typer.Exit(0 if shown.chosen and not shown.unknown else 1)
    question = f"{'enter' if request.entering else 'let go of'} {counted(asked, 'customer')}?"
    if not yes and not typer.confirm(question):
        raise typer.Exit(1)
    request_id = secrets.token_hex(8)
    with engine.connect() as conn:
        now = clock_now(conn)
    done = by_hand.write(engine, request, source(), request_id, now)
    written = done.known if request.entering else done.inside
    if json_:
        as_json({"written": written, "request": request_id, "preview": done})
    else:
        out.print(f"{counted(written, 'request')} written ({request_id}); the next batch takes them", markup=False)


def _show(workflow_id: str, shown: "Preview", *, entering: bool) -> None:
    inside = f", {shown.inside:,} of them in {workflow_id} now" if shown.inside else ""
    out.print(
        f"{counted(shown.known, 'customer')}{inside}" if entering else f"{counted(shown.inside, 'customer')} in {workflow_id}", markup=False
    )
    if shown.repeated:
        out.print(f"{counted(shown.repeated, 'repetition')} left out")
    if shown.unknown:
        more = ", ..." if shown.unknown > len(shown.examples) else ""
        out.print(f"{shown.unknown:,} unknown, left out: {listed(shown.examples)}{more}", style="yellow", markup=False)


def _source(
    engine: Any, customers: str | None, file: Path | None, where: str | None, names: tuple[str, ...]
) -> Callable[[], "Iterator[Chosen]"]:
    """What yields those chosen, from the start each time it is called."""
    from journey_pipelines.engine.by_hand import Chosen, choose
    from journey_pipelines.intake.chosen import read_chosen
    from journey_pipelines.store.clock import clock_now

    if customers is not None:
        ids = [word.strip() for word in customers.split(",") if word.strip()]
        return lambda: iter([Chosen(name) for name in ids])
    if file is not None:
        return lambda: read_chosen(file, names)
    assert where is not None
    text = where

    def matching() -> "Iterator[Chosen]":
        with engine.connect() as conn:
            yield from choose(conn, text, clock_now(conn))

    return matching


def _fields(pairs: list[str]) -> dict[str, Any]:
    from journey_pipelines.intake.chosen import typed

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"--field: expected KEY=VALUE, got {pair!r}")
        found[name.strip()] = typed(text)
    return found
