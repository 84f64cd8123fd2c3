"""Real input: 69,659 purchases of CDNOW's customers through `journeys replay` into a win-back workflow, against what pandas finds in the
file.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from journey_pipelines.store.connect import make_engine

ROOT = Path(__file__).parents[2]
FILE = ROOT.parent / "shared" / "data" / "cdnow_master.txt.gz"
PURCHASES = 69_659

pytestmark = [pytest.mark.acceptance, pytest.mark.skipif(not FILE.exists(), reason="the CDNOW file is not beside the repository")]

WORKFLOW = """
workflow: win_back
triggers:
  - event: purchase
entry:
  reentry: after exit
steps:
  - id: quiet
    wait: {{for: purchase, timeout: {days} days}}
    next:
      - when: arrived
        to: end
      - else: remind
  - id: remind
    do:
      - send_email: {{template: remind, subject: We miss you}}
    next: end
"""

# the command in a process of its own, which says at its end how much memory it took at most (kB)
PROGRAM = """
import atexit, resource, sys
from journey_pipelines.cli import main
atexit.register(lambda: print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
main(sys.argv[1:])
"""


@pytest.fixture
def replayed(db_url: str, tmp_path: Path) -> Iterator[Any]:
    """Calls `journeys replay`; gives the engine of its database and the peak memory of the process."""
    engines: list[sa.Engine] = []

    def run(days: int, tick: str, file: Path = FILE) -> tuple[sa.Engine, int]:
        project = tmp_path / f"project_{days}"
        folder = project / "win_back"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "workflow.yaml").write_text(WORKFLOW.format(days=days))
        (folder / "remind.html").write_text("<p>Come back</p>")
        name = f"{sa.make_url(db_url).database}_replay_{len(engines)}"
        command = [sys.executable, "-c", PROGRAM, "replay", str(file), "--type", "purchase", "--into", name, "--project", str(project)]
        command += ["--occurred-at", "date", "--date-format", "%Y%m%d", "--payload", "total={{ dollar_value | float }}"]
        command += ["--from", "1997-01-01", "--to", "1998-12-31", "--tick", tick, "--rejected", str(tmp_path / "rejected.jsonl")]
        done = subprocess.run(command, env={**os.environ, "DATABASE_URL": db_url}, capture_output=True, text=True, timeout=580)
        assert done.returncode == 0, done.stdout + done.stderr
        engine = make_engine(sa.make_url(db_url).set(database=name))
        engines.append(engine)
        return engine, int(done.stdout.rsplit("peak ", 1)[1])

    yield run
    with make_engine(db_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as conn:
        for engine in engines:
            engine.dispose()
            conn.execute(sa.text(f'DROP DATABASE "{engine.url.database}" WITH (FORCE)'))


def planned(engine: sa.Engine) -> list[tuple[str, str]]:
    with engine.connect() as conn:
        rows = conn.execute(sa.text("SELECT customer_id, planned_at::date::text FROM journeys.messages ORDER BY 1, 2"))
        return [(row[0], row[1]) for row in rows]


def expected(days: int) -> list[tuple[str, str]]:
    """(customer, date) wherever more than `days` days pass after a purchase without another one."""
    frame = pd.read_csv(FILE, sep=r"\s+", dtype={"customer_id": str, "date": str})
    assert len(frame) == PURCHASES
    frame["at"] = pd.to_datetime(frame["date"], format="%Y%m%d")
    frame = frame.sort_values(["customer_id", "at"], kind="stable")
    gap = frame.groupby("customer_id")["at"].shift(-1) - frame["at"]
    silent = frame[gap.isna() | (gap > pd.Timedelta(days=days))]
    when = (silent["at"] + pd.Timedelta(days=days)).dt.strftime("%Y-%m-%d")
    return sorted(zip(silent["customer_id"], when, strict=True))


@pytest.mark.parametrize(
    ("days", "tick", "messages"), [(90, "1d", 34_955), (90, "7 days", 34_955), (60, "30d", 39_128), (30, "30d", 46_954)]
)
def test_a_replay_plans_what_pandas_finds_at_every_tick(replayed: Any, days: int, tick: str, messages: int) -> None:
    engine, _ = replayed(days, tick)
    found = planned(engine)
    assert len(found) == messages
    assert found == expected(days)
    with engine.connect() as conn:
        left = conn.execute(
            sa.text(
                "SELECT (SELECT count(*) FROM journeys.event_inbox), (SELECT count(*) FROM journeys.customer_events),"
                " (SELECT count(*) FROM journeys.customer_journeys WHERE status = 'active'),"
                " (SELECT count(*) FROM journeys.event_quarantine)"
            )
        ).one()
        states = conn.execute(sa.text("SELECT DISTINCT state, reason FROM journeys.messages")).all()
    assert tuple(left) == (0, PURCHASES, 0, 0)
    # nothing that a later dispatch could send
    assert [tuple(row) for row in states] == [("suppressed", "replay")]


def test_memory_does_not_grow_with_the_file(replayed: Any, tmp_path: Path) -> None:
    frame = pd.read_csv(FILE, sep=r"\s+", dtype=str)
    tenth = tmp_path / "tenth.jsonl"
    rows = frame.head(len(frame) // 10).to_dict("records")
    tenth.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = tmp_path / "whole.jsonl"
    whole.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))
    _, small = replayed(90, "30d", tenth)
    _, large = replayed(90, "30d", whole)
    assert large < 1.2 * small, f"{small} kB for a tenth of the file, {large} kB for all of it"
