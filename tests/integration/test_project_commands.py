"""What `journeys init` prints next works, on a database that holds nothing yet; and so does what the project's README says."""

from __future__ import annotations

import os
import re
import secrets
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

Run = Callable[[str], str]


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
    """`run("journeys deploy")`: what it prints, in the project's folder, as a user would run it."""
    environment = {**os.environ, "DATABASE_URL": empty_url, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    environment.pop("JOURNEYS_PROJECT", None)

    def execute(command: str) -> str:
        words = [sys.executable, "-c", "from journey_pipelines.cli import main; main()", *command.split()[1:]]
        done = subprocess.run(words, cwd=shop, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

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
    run(later[0])
    assert "hello" in run(later[1])
    # the second mail, three days on, lies beyond the next 24 hours
    assert "hello" in run(later[2]) and "no message would be planned" in run(later[2])
    assert "email" in run("journeys run --dry-run --hours 200")
    assert "user_registered" in run("journeys catalogue")
