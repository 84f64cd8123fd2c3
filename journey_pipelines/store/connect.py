"""Engines on the database, with the session settings that all of our SQL relies on.

Not here: starting a server (server.py), creating tables (migrate.py).
"""

from __future__ import annotations

import re
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError

from journey_pipelines.settings import settings

MIN_VERSION = 15
# Long enough for a tick after days of standstill, short enough that a stuck statement is seen the same minute.
STATEMENT_TIMEOUT = 120.0
# A stopped worker (SIGSTOP, a laptop's lid) must not hold a shard: its transaction dies, its rows are somebody else's.
IDLE_IN_TRANSACTION_TIMEOUT = 30.0


class DatabaseUnavailable(RuntimeError):
    """The database cannot be used: wrong address, wrong password, not running."""


def database_url(text: str) -> sa.URL:
    """Parse a URL and name our driver, psycopg 3. Raises DatabaseUnavailable for what is no PostgreSQL URL."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseUnavailable("DATABASE_URL cannot be read: expected postgresql://user:password@host:5432/database") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise DatabaseUnavailable(
            f"DATABASE_URL names {url.drivername!r}: PostgreSQL alone will do, expected postgresql://user:password@host:5432/database"
        )
    return url.set(drivername="postgresql+psycopg")


def make_engine(
    url: str | sa.URL | None = None,
    *,
    application_name: str = "journeys",
    statement_timeout: float = STATEMENT_TIMEOUT,
    idle_in_transaction_timeout: float = IDLE_IN_TRANSACTION_TIMEOUT,
    **options: Any,
) -> sa.Engine:
    """An engine on `url`; None = DATABASE_URL, or the embedded server, which must be running.

    Timeouts in seconds, 0 = none. `options` go to `sqlalchemy.create_engine`. Connecting raises DatabaseUnavailable in one sentence.
    """
    if url is None:
        url = configured_url()
    address = database_url(url) if isinstance(url, str) else url.set(drivername="postgresql+psycopg")
    # No JIT: it compiles longer than our statements run. random_page_cost of an SSD: a batch's look-ups go by index.
    # Custom plans: a cached generic plan knows neither the batch's size nor which shards it holds (engine.md, 21).
    # client_connection_check_interval: a killed worker's statement ends within seconds and with it its locks.
    session = {
        "TimeZone": "UTC",
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",
        "random_page_cost": "1.1",
        "statement_timeout": f"{statement_timeout * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{idle_in_transaction_timeout * 1000:.0f}",
        "client_connection_check_interval": "5000",
    }
    given = address.query.get("options", ())
    address = address.difference_update_query(["options"])
    switches = [f"-c {name}={value}" for name, value in session.items()] + ([given] if isinstance(given, str) else list(given))
    connect_args = {
        "application_name": application_name,
        "connect_timeout": 10,
        "keepalives": 1,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
        "options": " ".join(switches),
        **options.pop("connect_args", {}),
    }
    engine = sa.create_engine(address, connect_args=connect_args, pool_pre_ping=options.pop("pool_pre_ping", True), **options)
    event.listen(engine, "do_connect", _connect)
    return engine


def configured_url() -> str:
    """DATABASE_URL, or the address of the running embedded server. Raises DatabaseUnavailable."""
    configured = settings()
    if configured.database_url is not None:
        return configured.database_url
    from journey_pipelines.store import server

    return server.url(configured.data)


def libpq_url(text: str) -> str:
    """The address as psql, pg_dump and other drivers take it, password included."""
    return database_url(text).set(drivername="postgresql").render_as_string(hide_password=False)


def ensure_database(url: str | sa.URL, name: str) -> str:
    """Create the database `name` on the server of `url` if it is not there; returns its URL, password included."""
    address = database_url(url) if isinstance(url, str) else url
    target = address.set(database=name).render_as_string(hide_password=False)
    engine = make_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    try:
        with engine.connect() as conn:
            if conn.scalar(sa.text("SELECT true FROM pg_database WHERE datname = :name"), {"name": name}):
                return target
            try:
                conn.execute(sa.DDL("CREATE DATABASE %(quoted)s", context={"quoted": engine.dialect.identifier_preparer.quote(name)}))
            except sa.exc.ProgrammingError as error:
                if isinstance(error.orig, psycopg.errors.DuplicateDatabase):
                    return target
                if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                    raise DatabaseUnavailable(
                        f"{_place(address)}: the role {address.username!r} may not create databases; have one made: CREATE DATABASE {name}"
                    ) from None
                raise
            except sa.exc.IntegrityError:
                # two at once: the other one's row in pg_database came first
                return target
    finally:
        engine.dispose()
    return target


def _connect(dialect: sa.Dialect, record: object, args: tuple[Any, ...], params: dict[str, Any]) -> psycopg.Connection:
    try:
        connection: psycopg.Connection = psycopg.connect(*args, **params)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(_explain(error, params)) from None
    except psycopg.ProgrammingError as error:
        raise DatabaseUnavailable(f"DATABASE_URL cannot be used: {_one_line(str(error), params)}") from None
    if connection.info.server_version < MIN_VERSION * 10_000:
        version = connection.info.server_version // 10_000
        connection.close()
        raise DatabaseUnavailable(f"{_place_of(params)}: PostgreSQL {version} is too old, at least {MIN_VERSION} is needed")
    return connection


def _explain(error: psycopg.OperationalError, params: dict[str, Any]) -> str:
    said = _one_line(str(error), params)
    if "password authentication failed" in said or "no password supplied" in said:
        what = f"the password of {params.get('user')!r} was refused; check DATABASE_URL"
    elif "does not exist" in said:
        what = f"{said}; create it, or check DATABASE_URL"
    else:
        what = f"{said}; is the server running, and is DATABASE_URL right?"
    return f"{_place_of(params)}: {what}"


def _one_line(message: str, params: dict[str, Any]) -> str:
    """The last thing that libpq or the server said, without its preamble and without the password."""
    last = message.strip().splitlines()[-1].strip() if message.strip() else "no answer"
    last = re.sub(r"^.*FATAL:\s*", "", last)
    last = re.sub(r"^connection (failed|is bad): ", "", last)
    password = params.get("password")
    return last.replace(str(password), "***") if password else last


def _place(address: sa.URL) -> str:
    query = {name: value for name, value in address.query.items() if name in ("host", "port")}
    return _place_of({"host": address.host, "port": address.port, "dbname": address.database, **query})


def _place_of(params: dict[str, Any]) -> str:
    host = params.get("host") or "localhost"
    port = params.get("port") or 5432
    return f"database {params.get('dbname') or params.get('user') or 'postgres'!r} on {host}:{port}"
