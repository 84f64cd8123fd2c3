"""diff (and `deploy --plan`): what deploying the folder would change, and for how many."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from journey_pipelines.commands.operations import JsonOption, as_json, counted, database, listed, out
from journey_pipelines.commands.project import ProjectOption

if TYPE_CHECKING:
    from journey_pipelines.engine.changes import Changes, InFlight, Part, WorkflowChanges

_STYLES = {"new": "green", "new version": "yellow", "settings only": "cyan", "archived": "red", "unchanged": "dim"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(diff)


def diff(
    workflow: Annotated[str | None, typer.Argument(help="Only this workflow.", show_default=False)] = None,
    project: ProjectOption = None,
    json_: JsonOption = False,
) -> None:
    """What `journeys deploy` would change: versions, steps, triggers, and what it means for those in flight. Writes nothing."""
    show_plan(project, workflow, as_document=json_)


def show_plan(project: Path | None, workflow: str | None = None, *, as_document: bool = False) -> None:
    """Print what deploying the folder would change; a project with errors raises ProjectHasErrors after they were printed."""
    from journey_pipelines.engine.changes import plan_changes
    from journey_pipelines.engine.deploy import ProjectHasErrors
    from journey_pipelines.engine.operator import deployed_workflow
    from journey_pipelines.settings import settings
    from journey_pipelines.workflows.load import load_project

    loaded = load_project(project or settings().project)
    if loaded.errors:
        for problem in loaded.errors:
            out.print(str(problem), style="red", markup=False)
        raise ProjectHasErrors(loaded.errors)
    with database("diff") as (engine, _), engine.connect() as conn:
        if workflow is not None and loaded.workflow(workflow) is None:
            deployed_workflow(conn, workflow)
        changes = plan_changes(conn, loaded, workflow)
    if as_document:
        as_json(changes)
        return
    for one in changes.workflows:
        out.print(headline(one), style=_STYLES[one.change], markup=False)
        for line in details(one):
            out.print(f"  {line}", markup=False)
    for line in beside(changes):
        out.print(line, markup=False)
    if not changes.any:
        out.print("nothing would change")


def headline(one: "WorkflowChanges") -> str:
    """`cart_recovery: new version 3`."""
    version = f" {one.version}" if one.change == "new version" else ""
    return f"{one.workflow_id}: {one.change}{version}" + (f" ({one.status})" if one.change == "new" and one.status != "active" else "")


def details(one: "WorkflowChanges") -> list[str]:
    """What differs, a line each, and what it means for people."""
    lines = [f"{name}: {_shown(before)} -> {_shown(after)}" for name, (before, after) in one.settings.items()]
    if one.change == "new":
        lines.append(f"{counted(len(one.triggers), 'trigger')}, {counted(len(one.steps), 'step')}")
    else:
        for word, parts in (("trigger", one.triggers), ("step", one.steps), ("template", one.templates)):
            lines += [_part(word, part) for part in parts]
    lines += [f"{name} changed" for name in one.parts]
    lines += [_flight(flight, one.change == "archived") for flight in one.in_flight]
    lines += [
        f"trigger {name}: {counted(n, 'member')} of its segment would be asked in (entry.existing: enter)"
        for name, n in one.existing.items()
    ]
    return lines


def beside(changes: "Changes") -> list[str]:
    """Segments and documents."""
    lines = []
    for segment in changes.segments:
        asked = f": {counted(segment.customers, 'customer')} to be evaluated" if segment.customers else ""
        lines.append(f"segment {segment.segment_id}: {segment.change}{asked}")
    return lines + [f"{name}: changed" for name in changes.documents]


def _part(word: str, part: "Part") -> str:
    what = f" ({listed(part.what)})" if part.what else ""
    return f"{word} {part.id}: {part.change}{what}"


def _flight(flight: "InFlight", archived: bool) -> str:
    """`312 in flight on v3: 40 wait at settle; they stay on v3`."""
    places = _places(flight)
    if flight.stay:
        ending = "they go on to their end" if archived else f"they stay on v{flight.version}"
    else:
        removed = f", {flight.step_removed:,} of them because their step is gone (step_removed)" if flight.step_removed else ""
        ending = f"they end (in_flight: exit){removed}"
    return f"{flight.journeys:,} in flight on v{flight.version}: {places}; {ending}"


def _places(flight: "InFlight", most: int = 5) -> str:
    rows: Sequence[tuple[str, int]] = list(flight.at.items())
    named = [f"{n:,} {'wait' if n != 1 else 'waits'} at {step}" for step, n in rows[:most]]
    rest = sum(n for _, n in rows[most:])
    return ", ".join(named + ([f"{rest:,} at other steps"] if rest else []))


def _shown(value: object) -> str:
    return listed(list(map(str, value))) if isinstance(value, tuple | list) else "none" if value is None else str(value)
