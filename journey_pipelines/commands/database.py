"""db start | stop | url | psql | migrate: the database."""

import os
from typing import Annotated

import typer
from rich.console import Console

out = Console(soft_wrap=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the group `db`."""
    db = typer.Typer(help="The database: the embedded server, and the tables.", no_args_is_help=True)
    db.command()(start)
    db.command()(stop)
    db.command()(url)
    db.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(psql)
    db.command()(migrate)
    app.add_typer(db, name="db")


def start(port: Annotated[int | None, typer.Option(help="Listen on 127.0.0.1 too; default: socket only.")] = None) -> None:
    """Start the embedded PostgreSQL under JOURNEYS_DATA; does nothing where DATABASE_URL names a server."""
    from journey_pipelines.settings import settings
    from journey_pipelines.store import server
    from journey_pipelines.store.connect import libpq_url

    if settings().database_url:
        out.print("DATABASE_URL names a server: nothing to start")
        return
    out.print(libpq_url(server.start(settings().data, port=port)), markup=False)


def stop() -> None:
    """Stop the embedded PostgreSQL."""
    from journey_pipelines.settings import settings
    from journey_pipelines.store import server

    out.print("stopped" if server.stop(settings().data) else "it was not running")


def url() -> None:
    """Print the database's URL, as psql and others take it."""
    from journey_pipelines.store.connect import configured_url, libpq_url

    typer.echo(libpq_url(configured_url()))


def psql(context: typer.Context) -> None:
    """Open psql on the database: `journeys db psql`, `journeys db psql -c 'SELECT ...'`. What follows goes to psql.

    The machine's own psql, or the one that comes with the embedded server.
    """
    from journey_pipelines.store.connect import configured_url, libpq_url
    from journey_pipelines.store.place import program

    url = libpq_url(configured_url())
    path = program("psql")
    os.execv(path, [path, url, *context.args])  # noqa: S606  # it takes our place at the terminal


def migrate() -> None:
    """Create or update the tables."""
    from journey_pipelines.store.connect import make_engine
    from journey_pipelines.store.migrate import migrate as run_migrations

    ran = run_migrations(make_engine())
    out.print("applied " + ", ".join(ran) if ran else "the tables are up to date")
