"""validate, deploy, sql, graph: the project's folder."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from journey_pipelines.workflows.load import Loaded, Project

out = Console(soft_wrap=True, highlight=False)

ProjectOption = Annotated[
    Path | None, typer.Option("--project", help="The project's folder; default: JOURNEYS_PROJECT, or workflow_defs.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(validate)
    app.command()(deploy)
    app.command()(sql)
    app.command()(graph)


def validate(
    project: ProjectOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of {file, line, column, severity, message}.")] = False,
) -> None:
    """Check the project: every error with its place, what was expected and what to do. Exit code 1 where something fails."""
    from journey_pipelines.commands.findings import as_list, grouped

    loaded = _load(project)
    if as_json:
        typer.echo(json.dumps(as_list(loaded.problems), ensure_ascii=False, indent=2))
    else:
        for style, line in grouped(loaded):
            out.print(line, style=style, markup=False)
    if loaded.errors or (strict and loaded.warnings):
        raise typer.Exit(1)


def deploy(
    project: ProjectOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would change, as `journeys diff` does.")] = False,
) -> None:
    """Store the project in the database: a changed workflow gets a new version, journeys stay on theirs."""
    if plan:
        from journey_pipelines.commands.changes import show_plan

        show_plan(project)
        return
    from journey_pipelines.engine.deploy import ProjectHasErrors
    from journey_pipelines.engine.deploy import deploy as deploy_project
    from journey_pipelines.store.clock import clock_now
    from journey_pipelines.store.connect import make_engine

    loaded = _load(project)
    if loaded.errors:
        for problem in loaded.errors:
            out.print(str(problem), style="red", markup=False)
        raise ProjectHasErrors(loaded.errors)
    engine = make_engine()
    with engine.connect() as conn:
        now = clock_now(conn)
    report = deploy_project(engine, loaded, now)
    table = Table("workflow", "version", "status", "change")
    for change in report.changes:
        table.add_row(change.workflow_id, str(change.version), change.status, change.change)
    out.print(table)
    for name, retired in report.retired.items():
        ended = f"{retired.version_retired:,} version_retired, {retired.step_removed:,} step_removed"
        out.print(f"{name}: journeys of older versions ended (in_flight: exit): {ended}", markup=False)
    for one in report.resumed:
        until = f"until {one.until_at:%Y-%m-%d %H:%M} UTC"
        out.print(f"{one.workflow_id}: {one.parked:,} parked journeys and {one.overdue:,} overdue messages go on, {until}", markup=False)
    for grant in report.grants:
        out.print(f"a declared source cannot be read yet; its owner runs: {grant}", style="yellow", markup=False)


def sql(
    workflow: Annotated[str, typer.Argument(help="The workflow's id.")],
    project: ProjectOption = None,
) -> None:
    """Print the SQL a workflow compiles to; :name is what the engine supplies at run time."""
    from journey_pipelines.compiler.plan import statements
    from journey_pipelines.compiler.readable import readable
    from journey_pipelines.engine.policies import surroundings

    loaded = _load(project)
    found = _workflow(loaded, workflow)
    for statement in statements(found.definition, 1, surroundings(loaded)):
        out.print(readable(statement) + "\n", markup=False)


def graph(workflow: Annotated[str, typer.Argument(help="The workflow's id.")], project: ProjectOption = None) -> None:
    """Print a workflow as a Mermaid flowchart."""
    from journey_pipelines.workflows.graph import mermaid

    out.print(mermaid(_workflow(_load(project), workflow).workflow), markup=False)


def _load(project: Path | None) -> "Project":
    from journey_pipelines.settings import settings
    from journey_pipelines.workflows.load import load_project

    return load_project(project or settings().project)


def _workflow(project: "Project", workflow_id: str) -> "Loaded":
    found = project.workflow(workflow_id)
    if found is None:
        for problem in project.errors:
            if problem.file.parent.name == workflow_id:
                out.print(str(problem), style="red", markup=False)
        names = ", ".join(loaded.workflow.id for loaded in project.workflows) or "none"
        out.print(f"no workflow {workflow_id!r} without errors in {project.path}; there are: {names}", style="red", markup=False)
        raise typer.Exit(1)
    return found
