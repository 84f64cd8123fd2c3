"""What `journeys init` prints next works, on a database that holds nothing yet; and so does what the project's README says."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from journey_pipelines.commands.scaffold import NEXT
from journey_pipelines.scaffold.write import init
from journey_pipelines.store.connect import ensure_database, make_engine

Run = Callable[..., str]


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """A database without tables."""
    name = f"journeys_test_{secrets.token_hex(6)}"
    yield ensure_database(server_url, name)
    engine = make_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as conn:
        conn.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    init(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def run(shop: Path, empty_url: str) -> Run:
    """`run("journeys deploy")`: what it prints, in the project's folder, as a user would run it; where it fails, what it complains of."""
    environment = {**os.environ, "DATABASE_URL": empty_url, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    for name in ("JOURNEYS_PROJECT", "JOURNEYS_SMTP_URL"):
        environment.pop(name, None)

    def execute(command: str, code: int = 0) -> str:
        words = [sys.executable, "-c", "from journey_pipelines.cli import main; main()", *shlex.split(command)[1:]]
        done = subprocess.run(words, cwd=shop, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
        return done.stderr if code else done.stdout

    return execute


def test_the_next_commands_and_the_readme(run: Run, shop: Path, empty_url: str) -> None:
    readme = (shop / "README.md").read_text(encoding="utf-8")
    said = [line.split("#")[0].strip() for line in readme.splitlines() if line.startswith("journeys ")]
    assert said[: len(NEXT)] == list(NEXT)
    for command in NEXT:
        run(command)
    with psycopg.connect(empty_url.replace("+psycopg", "")) as conn:
        found = re.search(r"```sql\n(.*?)```", readme, re.DOTALL)
        assert found
        conn.execute(found[1])  # type: ignore[call-overload]
    later = [command for command in said if command not in NEXT]
    assert later == ["journeys run --once", "journeys person c-1", "journeys run --dry-run"]
    assert "1 email message waits: not configured: set JOURNEYS_SMTP_URL" in run(later[0])
    assert "nothing was due" in run(later[0])
    assert "hello" in run(later[1])
    # the second mail, three days on, lies beyond the next 24 hours
    assert "hello" in run(later[2]) and "no message would be planned" in run(later[2])
    assert "email" in run("journeys run --dry-run --hours 200")
    assert "user_registered" in run("journeys catalogue")


def test_tables_that_are_not_there_yet_are_a_sentence(run: Run, empty_url: str) -> None:
    for command in ("status", "deploy", "run --once", "tasks"):
        said = run(f"journeys {command}", code=1)
        assert "is at revision none, this program needs" in said and "run `journeys db migrate` first" in said
        assert "Traceback" not in said


def test_the_address_is_what_psql_takes(run: Run, empty_url: str) -> None:
    with psycopg.connect(run("journeys db url").strip()) as conn:
        assert conn.info.dbname == sa.make_url(empty_url).database
    assert run("journeys db psql -Atc 'SELECT current_database()'").strip() == sa.make_url(empty_url).database


def test_errors_of_other_workflows_are_not_this_ones(run: Run, shop: Path) -> None:
    other = shop / "workflow_defs" / "other"
    other.mkdir()
    (other / "workflow.yaml").write_text("workflow: other\ntriggers: []\n", encoding="utf-8")
    assert "flowchart" in run("journeys graph hello")
    assert "no trigger" not in run("journeys graph helo", code=1)
