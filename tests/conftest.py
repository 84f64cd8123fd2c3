"""Databases for tests: a server for the session, a migrated template on it, and for every test that asks a database like the template.

The server is DATABASE_URL's, where it is set, else an embedded one in a temporary folder, started by the first test
that needs it and stopped with the session. xdist's workers share both.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import Databases, databases_of

from journey_pipelines.settings import settings
from journey_pipelines.store import hashes, server, tables, zones
from journey_pipelines.store.connect import database_url, make_engine
from journey_pipelines.store.migrate import MIGRATIONS, migrate

_FOLDER = "JOURNEYS_TEST_FOLDER"
_TEMPLATE_LOCK = 7_301_442
# Files of a quarter of a minute and more, the longest first; but two that start Dagster's processes are not begun together.
_LONG = (
    "test_demo", "test_engine_model", "test_dry_run", "test_cdnow", "test_project_commands", "test_daemon", "test_store_server",
    "test_delivery_failpoints", "test_benchmarks", "test_engine_concurrency", "test_engine_rule_times", "test_intake_replay",
    "test_engine_ticks",
)  # fmt: skip
# Nothing here outlives the session, so nothing has to reach the disk.
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "256MB", "max_wal_size": "1GB"}


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # in a shell's background job: every program that a test starts and interrupts would ignore it, too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        folder = Path(tempfile.mkdtemp(prefix="journeys-test-"))
        # as root the server runs as somebody else, who must get in
        folder.chmod(0o755)
        os.environ[_FOLDER] = str(folder)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, whatever the random order of the rest: a worker that meets them last works on alone."""
    items.sort(key=lambda item: _LONG.index(item.path.stem) if item.path.stem in _LONG else len(_LONG))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _FOLDER in os.environ:
        folder = Path(os.environ.pop(_FOLDER))
        server.wipe(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    """A test that sets an environment variable is read anew, and leaves nothing to the next."""
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def server_url() -> str:
    """The URL of a database on the session's server where databases may be created."""
    configured = os.environ.get("DATABASE_URL")
    if configured:
        return database_url(configured).render_as_string(hide_password=False)
    # a killed session takes its server with it
    session = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    return server.start(Path(os.environ[_FOLDER]), settings=_FAST, while_pid=session)


@pytest.fixture(scope="session")
def _admin(server_url: str) -> Iterator[sa.Engine]:
    engine = make_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, statement_timeout=0)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def template(_admin: sa.Engine) -> str:
    """The name of a migrated database to clone; it stays on the server for the next session, its name says what is in it."""
    name = f"journeys_template_{_content()}"
    with _admin.connect() as conn:
        conn.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _TEMPLATE_LOCK})
        if not conn.scalar(sa.text("SELECT true FROM pg_database WHERE datname = :name"), {"name": name}):
            draft = f"{name}_draft"
            conn.execute(sa.text(f"DROP DATABASE IF EXISTS {draft}"))
            conn.execute(sa.text(f"CREATE DATABASE {draft}"))
            engine = make_engine(_admin.url.set(database=draft), poolclass=sa.NullPool)
            migrate(engine)
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as filled:
                filled.execute(sa.text("VACUUM ANALYZE"))
            engine.dispose()
            # renamed when whole: a session that is killed leaves no half template behind
            conn.execute(sa.text(f"ALTER DATABASE {draft} RENAME TO {name}"))
        conn.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _TEMPLATE_LOCK})
    return name


@pytest.fixture(scope="session")
def _databases(_admin: sa.Engine, template: str) -> Iterator[Databases]:
    with databases_of(_admin, template) as databases:
        yield databases


@pytest.fixture
def db_url(_admin: sa.Engine, _databases: Databases) -> Iterator[str]:
    """The URL of a migrated database in which nothing has happened, zones included; nobody else has it."""
    name = _databases.take()
    yield _admin.url.set(database=name).render_as_string(hide_password=False)
    _databases.give_back(name)


@pytest.fixture
def db(db_url: str) -> Iterator[sa.Engine]:
    """An engine on `db_url`."""
    engine = make_engine(db_url, application_name="journeys-test")
    yield engine
    engine.dispose()


def _content() -> str:
    """Twelve digits that change with everything a template is made of."""
    parts = [*sorted(MIGRATIONS.glob("*.sql")), *sorted(MIGRATIONS.glob("*.py")), *(Path(str(m.__file__)) for m in (hashes, tables, zones))]
    digest = hashlib.sha256(str(zones.tz_release()).encode())
    for part in parts:
        digest.update(part.read_bytes())
    return digest.hexdigest()[:12]
