"""`journeys`: the command line. Errors that a user can cause are printed as sentences; exit code 1 = refused, 2 = wrong usage."""

import sys
from typing import Any

import typer
from rich.console import Console

from journey_pipelines.audience import commands as audience_commands
from journey_pipelines.commands import catalogue, database, engine, operations, project, scaffold
from journey_pipelines.intake import commands as intake_commands

errors = Console(stderr=True, soft_wrap=True, highlight=False)


def build_app() -> typer.Typer:
    """The command line, put together; imports of a command's own needs happen when it runs."""
    app = typer.Typer(
        name="journeys",
        help="Customer journeys as code: validate, deploy, run and explain workflows.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for module in (project, scaffold, catalogue, engine, operations, intake_commands, audience_commands, database):
        module.register(app)
    return app


def main(argv: list[str] | None = None) -> Any:
    """Entry point of the `journeys` script."""
    try:
        build_app()(argv if argv is not None else sys.argv[1:])
    except Exception as error:
        # asked only now: these take a second to import, and every command ends in a SystemExit
        said = str(error) if isinstance(error, known_errors()) else _about_the_tables(error)
        if said is None:
            raise
        errors.print(f"[red]error:[/red] {escape(said)}")
        sys.exit(1)


def _about_the_tables(error: Exception) -> str | None:
    from journey_pipelines.store.migrate import not_migrated

    return not_migrated(error)


def escape(text: str) -> str:
    """Square brackets are rich's markup; a message is not."""
    return text.replace("[", r"\[")


def known_errors() -> tuple[type[Exception], ...]:
    """What a user can cause: its text is the message."""
    from journey_pipelines.delivery.channels.configure import ChannelConfigError
    from journey_pipelines.engine.deploy import ProjectHasErrors
    from journey_pipelines.engine.operator import OperationRefused
    from journey_pipelines.settings import SettingsError
    from journey_pipelines.store.connect import DatabaseUnavailable
    from journey_pipelines.store.migrate import MigrationError
    from reports.days import ReportDayError

    return (ChannelConfigError, OperationRefused, ProjectHasErrors, SettingsError, DatabaseUnavailable, MigrationError, ReportDayError)
