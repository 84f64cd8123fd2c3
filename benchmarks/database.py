"""A fresh, migrated database per measurement, on DATABASE_URL's server or an embedded one in a temporary folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from journey_pipelines.settings import settings
from journey_pipelines.store import server
from journey_pipelines.store.connect import database_url, ensure_database, make_engine
from journey_pipelines.store.migrate import migrate


@contextmanager
def bench_server() -> Iterator[str]:
    """The URL of a server to make databases on; the embedded one has the settings users get."""
    if settings().database_url:
        yield str(settings().database_url)
        return
    with tempfile.TemporaryDirectory(prefix="journeys-bench-") as folder:
        Path(folder).chmod(0o755)
        try:
            yield server.start(Path(folder))
        finally:
            server.wipe(Path(folder))


@contextmanager
def fresh(server_url: str, name: str) -> Iterator[sa.Engine]:
    """A new database `name`, dropped afterwards."""
    admin = make_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, statement_timeout=0)
    with admin.connect() as conn:
        conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    engine = make_engine(ensure_database(database_url(server_url), name), statement_timeout=0)
    migrate(engine)
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as conn:
            conn.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()
