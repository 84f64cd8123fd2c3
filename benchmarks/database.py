"""A fresh, migrated database per measurement, on DATABASE_URL's server or an embedded one in a temporary folder; and what fills one."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    """A new database `name`, dropped afterwards. Its engine has no statement timeout: filling takes minutes."""
    with _admin(server_url) as admin:
        _drop(admin, name)
        try:
            engine = make_engine(ensure_database(database_url(server_url), name), statement_timeout=0)
            migrate(engine)
            yield engine
            engine.dispose()
        finally:
            _drop(admin, name)


@contextmanager
def copied(server_url: str, source: sa.Engine, name: str) -> Iterator[sa.Engine]:
    """A copy of `source`, file by file, dropped afterwards: two that are compared begin with the same pages."""
    with _admin(server_url) as admin:
        _drop(admin, name)
        source.dispose()
        try:
            with admin.connect() as conn:
                conn.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {source.url.database} STRATEGY FILE_COPY")
            engine = make_engine(source.url.set(database=name), statement_timeout=0)
            yield engine
            engine.dispose()
        finally:
            _drop(admin, name)


@contextmanager
def _admin(server_url: str) -> Iterator[sa.Engine]:
    admin = make_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, statement_timeout=0)
    try:
        yield admin
    finally:
        admin.dispose()


def _drop(admin: sa.Engine, name: str) -> None:
    with admin.connect() as conn:
        conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def execute(engine: sa.Engine, text: str, **values: Any) -> None:
    """One statement in a transaction of its own."""
    with engine.begin() as conn:
        conn.exec_driver_sql(text, values or None)


def settle(engine: sa.Engine) -> None:
    """Statistics and visibility as a running system has them, and nothing left to write: so that no autovacuum or checkpoint of what was
    filled falls into what is measured.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM ANALYZE")
        if conn.exec_driver_sql("SELECT pg_has_role(current_user, 'pg_checkpoint', 'member')").scalar_one():
            conn.exec_driver_sql("CHECKPOINT")


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
