"""init, new, schema: the first files of a project and of a workflow, and the schema for editors."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from journey_pipelines.commands.project import ProjectOption

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

# Printed by `init`, and run by its test
NEXT = ("journeys db start", "journeys db migrate", "journeys deploy")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.command()(new)
    app.command()(schema)


def init(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where it is not there.")] = Path()) -> None:
    """Write a new project: one workflow, policies, catalogue, and a Dagster code location. Overwrites nothing."""
    from journey_pipelines.scaffold.write import ScaffoldRefused
    from journey_pipelines.scaffold.write import init as write

    try:
        paths = write(folder)
    except ScaffoldRefused as error:
        raise _refused(error) from None
    out.print(f"{len(paths)} files written to {folder}; its README says what they are. Next:", markup=False)
    if folder.resolve() != Path.cwd():
        out.print(f"  cd {shlex.quote(str(folder))}", markup=False)
    for command in NEXT:
        out.print(f"  {command}", markup=False)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The workflow's id, and its folder.")],
    template: Annotated[str, typer.Option("--template", help="What it begins as: blank, welcome, cart or win_back.")] = "blank",
    project: ProjectOption = None,
) -> None:
    """Write a new workflow into the project's folder. It is a draft: nobody enters until its status is active."""
    from journey_pipelines.scaffold.write import ScaffoldRefused, new_workflow
    from journey_pipelines.workflows.load import lint

    root = _root(project)
    try:
        paths = new_workflow(root, name, template)
    except ScaffoldRefused as error:
        raise _refused(error) from None
    for path in paths:
        out.print(str(path), markup=False)
    # a project's catalogue may know other events than the template
    mine = [problem for problem in lint(root) if problem.file.parent == root / name]
    for problem in mine:
        out.print(str(problem), style="yellow", markup=False)
    out.print("change it to fit, then: journeys validate" if mine else "then: journeys validate, and `status: active` when it is ready")


def schema(
    project: ProjectOption = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where the file is not current.")] = False,
) -> None:
    """Write the JSON Schema of the project's files to schema.json, for editors with a YAML language server."""
    from journey_pipelines.scaffold.write import ScaffoldRefused, schema_is_current, write_schema
    from journey_pipelines.workflows.schema import FILE_NAME

    root = _root(project)
    if check:
        current = schema_is_current(root)
        out.print(f"{root / FILE_NAME} is {'current' if current else 'not current: run `journeys schema`'}", markup=False)
        raise typer.Exit(0 if current else 1)
    try:
        out.print(str(write_schema(root)), markup=False)
    except ScaffoldRefused as error:
        raise _refused(error) from None


def _root(project: Path | None) -> Path:
    from journey_pipelines.settings import settings

    return project or settings().project


def _refused(error: Exception) -> typer.Exit:
    err.print(f"error: {error}", style="red", markup=False)
    return typer.Exit(1)
