"""The embedded PostgreSQL: start, stop, status. The binaries come with a wheel; a fresh machine needs nothing but Python.

`data_dir` is the project's data folder (JOURNEYS_DATA). Socket only, unless a port is asked. Safe to call from several
processes at once. Not here: where its files are (place.py), the process that keeps it (keeper.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from journey_pipelines.store import keeper
from journey_pipelines.store.place import Place, ServerError, locate, prepare, remove

__all__ = ["DATABASE", "SETTINGS", "ServerError", "ServerStatus", "start", "status", "stop", "url", "wipe"]

DATABASE = "journeys"
SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "512MB",
    "effective_cache_size": "2GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    # no replicas here: COPY into new tables and index builds write less
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "synchronous_commit": "on",
    # our statements are many and short: compiling one costs more than it saves; parallel ones need more /dev/shm than a container has
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "15s",
    "autovacuum_vacuum_cost_limit": "1000",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # a failing statement may hold a person's data: the log names the error, not the statement
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}
_READY_WITHIN = 120.0
_STOPPED_WITHIN = 2 * keeper.PATIENCE + 5
_LOG_LINES = 6
_log = logging.getLogger(__name__)


class _Keeper(subprocess.Popen[bytes]):
    """It outlives us on purpose: Python shall not warn of it when we end."""

    def __del__(self) -> None:
        """Nothing."""


# keepers that this process started: they are its children, and it must reap them
_children: dict[Path, _Keeper] = {}


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """`pid` is the keeper's. `note` says where the files are when that is not under the data folder."""

    running: bool
    pid: int | None
    url: str | None
    home: Path
    log: Path
    note: str | None


def start(data_dir: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None, while_pid: int | None = None) -> str:
    """Start the server if it does not run; returns the URL of its database `journeys`, which exists then.

    `port`: listen on 127.0.0.1, too, with a password (in the URL). `settings`: over SETTINGS. `while_pid`: stop when that
    process has gone. Raises ServerError with the last lines of the server's log.
    """
    place, binaries = prepare(data_dir)
    if place.note is not None and not place.data.exists():
        _log.warning("%s", place.note)
    with _alone(place):
        state = _state(place)
        if state is None:
            _launch(place, binaries, {"port": port, "settings": {**SETTINGS, **(settings or {})}, "while_pid": while_pid})
        elif port is not None and state["port"] != port:
            running = f"on port {state['port']}" if state["port"] else "on its socket only"
            raise ServerError(f"the database of {data_dir} runs already, {running}; stop it first: journeys db stop")
        _await(place)
    return url(data_dir)


def stop(data_dir: Path) -> bool:
    """Stop the server and wait for its end; returns whether it ran. Clients are disconnected, their transactions rolled back."""
    place = locate(data_dir)
    if not place.home.exists():
        return False
    with _alone(place):
        state = _state(place)
        if state is None:
            return keeper.end_orphan(place.data)
        os.kill(state["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _STOPPED_WITHIN
        while _kept(place):
            if time.monotonic() > deadline:
                raise ServerError(f"the database does not stop, its keeper is process {state['pid']}; see {place.log}")
            time.sleep(0.02)
        _reap(place)
    return True


def url(data_dir: Path) -> str:
    """The URL of the running server's database. Raises ServerError when it does not run."""
    place = locate(data_dir)
    state = _state(place)
    if state is None:
        raise ServerError(f"the database of {data_dir} is not running; start it: journeys db start, or set DATABASE_URL")
    return _url(place, state)


def _url(place: Place, state: dict[str, Any]) -> str:
    if state["port"]:
        password = (place.home / "password").read_text(encoding="utf-8").strip()
        address = sa.URL.create("postgresql+psycopg", "postgres", password, "127.0.0.1", state["port"], DATABASE)
    else:
        address = sa.URL.create("postgresql+psycopg", "postgres", database=DATABASE, query={"host": state["socket"], "port": "5432"})
    return address.render_as_string(hide_password=False)


def status(data_dir: Path) -> ServerStatus:
    """What runs, and where its files are."""
    place = locate(data_dir)
    state = _state(place)
    return ServerStatus(
        running=state is not None,
        pid=state["pid"] if state else None,
        # of the same look: a server may go away between two
        url=_url(place, state) if state else None,
        home=place.home,
        log=place.log,
        note=place.note,
    )


def wipe(data_dir: Path) -> None:
    """Stop the server and delete its files, wherever they are."""
    stop(data_dir)
    remove(data_dir)


def _launch(place: Place, binaries: Path, order: dict[str, Any]) -> None:
    order |= {"home": str(place.home), "binaries": str(binaries), "user": place.user, "socket": str(place.socket)}
    _reap(place)
    with place.log.open("ab") as log:
        _children[place.home] = _Keeper(
            [sys.executable, "-I", keeper.__file__, json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )


def _await(place: Place) -> None:
    """Wait until the server answers, then see that the database is there."""
    child = _children.get(place.home)
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        if child is not None and child.poll() is not None:
            raise ServerError(f"the embedded PostgreSQL did not start: {_last_words(place)}")
        state = _state(place)
        if state is not None:
            here = {"host": state["socket"], "port": state["port"] or 5432, "user": "postgres", "dbname": "postgres"}
            try:
                with psycopg.connect(**here, autocommit=True) as conn:
                    _furnish(conn, place, with_password=bool(state["port"]))
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise ServerError(f"the embedded PostgreSQL gives no answer: {error}; {_last_words(place)}") from None
        elif child is None or time.monotonic() > deadline:
            raise ServerError(f"the embedded PostgreSQL went away while it was starting: {_last_words(place)}")
        time.sleep(0.02)


def _furnish(conn: psycopg.Connection, place: Place, *, with_password: bool) -> None:
    if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    file = place.home / "password"
    if with_password and not file.exists():
        password = secrets.token_urlsafe(24)
        conn.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(password)))
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
            written.write(password)


def _last_words(place: Place) -> str:
    try:
        lines = place.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        lines = []
    return f"{' | '.join(lines) or 'it said nothing'} ({place.log})"


def _state(place: Place) -> dict[str, Any] | None:
    """What the living keeper wrote; None when there is none."""
    if not _kept(place):
        return None
    try:
        state: dict[str, Any] = json.loads(place.state.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return state


def _kept(place: Place) -> bool:
    """Whether a keeper lives: it holds its lock as long as it does."""
    try:
        with (place.home / "keeper.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except PermissionError:
        raise _foreign(place) from None
    return False


def _foreign(place: Place) -> ServerError:
    return ServerError(f"{place.home} belongs to another user; call as the user who made it, or set DATABASE_URL")


def _reap(place: Place) -> None:
    child = _children.pop(place.home, None)
    if child is not None:
        child.wait()


@contextlib.contextmanager
def _alone(place: Place) -> Iterator[None]:
    """One caller at a time starts or stops."""
    try:
        lock = (place.home / "start.lock").open("a")
    except PermissionError:
        raise _foreign(place) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
