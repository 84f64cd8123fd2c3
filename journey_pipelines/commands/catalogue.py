"""catalogue: event types and attributes as they were seen, merged with what catalogue.yaml declares."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from journey_pipelines.commands.project import ProjectOption

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(catalogue)


def catalogue(
    project: ProjectOption = None,
    write: Annotated[bool, typer.Option("--write", help="Write catalogue.yaml instead of printing it.")] = False,
    newest: Annotated[int, typer.Option("--newest", min=1, max=10_000_000, help="So many events are looked at, the newest.")] = 200_000,
) -> None:
    """Event types with their fields, and attributes, with the types that were seen. What is declared stays."""
    import sqlalchemy as sa

    from journey_pipelines.audience.seen import seen
    from journey_pipelines.scaffold.catalogue import merged
    from journey_pipelines.settings import settings
    from journey_pipelines.store.connect import make_engine
    from journey_pipelines.workflows.problems import Problems
    from journey_pipelines.workflows.read_project import read_catalogue
    from journey_pipelines.workflows.yaml_nodes import read_yaml

    file = (project or settings().project) / "catalogue.yaml"
    text = None
    if file.is_file():
        problems = Problems()
        node = read_yaml(file, problems, may_be_empty=True)
        if node is not None:
            read_catalogue(node, problems)
        if problems.errors:
            for problem in problems:
                err.print(str(problem), style="red", markup=False)
            raise typer.Exit(1)
        text = file.read_text(encoding="utf-8")
    with make_engine(application_name="journeys catalogue", poolclass=sa.NullPool).connect() as conn:
        found = merged(text, seen(conn, newest=newest))
    if not write:
        typer.echo(found, nl=False)
        return
    if not file.parent.is_dir():
        err.print(
            f"error: {file.parent} is no folder; make a project with `journeys init`, or set JOURNEYS_PROJECT", style="red", markup=False
        )
        raise typer.Exit(1)
    file.write_text(found, encoding="utf-8")
    out.print(str(file), markup=False)
