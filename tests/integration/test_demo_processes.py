"""Starting and stopping: processes that are left by nobody, ports that are free, a clock that is the demo's own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from journey_pipelines.demo.ports import PortBusyError, choose
from journey_pipelines.demo.prepare import STARTS_BEFORE, PreparationError, claim_journals, rest_clock, start_clock
from journey_pipelines.demo.processes import Family
from journey_pipelines.store.clock import clock_now

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
# A child that starts another one in a session of its own and leaves it: nobody's child, in nobody's group.
ORPHANING = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); print('up', flush=True)"


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path)
    yield family
    for name in list(family.children):
        family.stop(name, patience=0)
    family.sweep()


def started(family: Family, name: str, program: str) -> psutil.Process:
    child = family.start(name, [sys.executable, "-c", program], os.environ)
    deadline = time.monotonic() + 20
    while "up" not in child.log.read_text():
        assert time.monotonic() < deadline, child.last_words()
        time.sleep(0.02)
    return psutil.Process(child.process.pid)


def test_a_child_is_stopped_and_reaped(family: Family) -> None:
    process = started(family, "a", SLEEP)
    family.stop("a", patience=5)
    assert not process.is_running() and family.children == {} and family.marked() == []
    family.stop("a", patience=5)


def test_a_child_that_does_not_listen_is_killed(family: Family) -> None:
    process = started(family, "deaf", DEAF)
    began = time.monotonic()
    family.stop("deaf", patience=0.3)
    assert not process.is_running() and time.monotonic() - began < 8


def test_haste_waits_for_nobody(family: Family) -> None:
    started(family, "deaf", DEAF)
    family.patient = False
    began = time.monotonic()
    family.stop("deaf", patience=60)
    assert time.monotonic() - began < 8


def test_what_left_its_parent_and_its_group_is_found(family: Family, tmp_path: Path) -> None:
    started(family, "orphaning", ORPHANING)
    family.children["orphaning"].process.wait(20)
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.DEVNULL)
    try:
        family.stop("orphaning", patience=5)
        deadline = time.monotonic() + 10
        while not (left := family.marked()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # The next demo of the same folder, in another process, finds it too.
        assert len(Family(tmp_path).sweep()) == 1
        assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_child_that_dies_is_noticed_with_its_last_words(family: Family) -> None:
    child = family.start("dying", [sys.executable, "-c", "import sys; sys.exit('no money left')"], os.environ)
    child.process.wait(20)
    assert [c.name for c in family.dead()] == ["dying"]
    assert child.last_words() == "no money left"


def test_a_child_hears_no_ctrl_c_of_the_terminal_and_has_default_signals(family: Family) -> None:
    process = started(family, "a", SLEEP)
    assert os.getsid(process.pid) == process.pid
    process.send_signal(signal.SIGINT)
    process.wait(10)


@contextlib.contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[int]:
    with socket.socket() as server:
        server.bind((address, 0))
        server.listen()
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_ports(address: str) -> None:
    with listening(address) as busy:
        chosen = choose("the inbox", "--inbox-port", None, busy)
        assert busy < chosen < busy + 50
        with pytest.raises(PortBusyError, match=f"port {busy} for the inbox is busy; choose another with --inbox-port"):
            choose("the inbox", "--inbox-port", busy, 8025)
    assert choose("the inbox", "--inbox-port", busy, 8025) == busy
    with pytest.raises(PortBusyError):
        choose("SMTP", "--smtp-port", busy, 2525, taken={busy})


def test_the_clock_starts_in_the_past_once_and_then_goes_on(db: sa.Engine) -> None:
    began = start_clock(db, 600)
    assert abs(datetime.now(UTC) - STARTS_BEFORE - began) < timedelta(seconds=5)
    time.sleep(0.2)
    rested = rest_clock(db)
    assert timedelta(minutes=2) <= rested - began <= timedelta(hours=1)
    again = start_clock(db, 600)
    assert timedelta(0) <= again - rested < timedelta(seconds=5)
    with db.connect() as conn:
        assert clock_now(conn) > again


def test_seconds_of_the_wall_stay_seconds_when_the_pace_changes(db: sa.Engine) -> None:
    now = start_clock(db, 600)
    insert = sa.text(
        "INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, "
        "customer_id, shard, channel, category, planned_at, created_at, send_after, expires_at, state, reason, lease_until, updated_at) "
        "VALUES (:state, 1, :state, 'a', 1, 'email', 'w', 1, 'c', 0, 'email', 'marketing', :now, :now, :later, :later, :state, 'r', "
        ":lease, :now)"
    )
    later = now + timedelta(seconds=90 * 600)
    with db.begin() as conn:
        for state in ("sending", "retry", "planned"):
            conn.execute(insert, {"state": state, "now": now, "later": later, "lease": later if state == "sending" else None})
    rested = rest_clock(db)
    with db.connect() as conn:
        rows = {row.state: row for row in conn.execute(sa.text("SELECT state, send_after, lease_until FROM journeys.messages"))}
    assert timedelta(seconds=80) < rows["sending"].lease_until - rested <= timedelta(seconds=90)
    assert timedelta(seconds=80) < rows["retry"].send_after - rested <= timedelta(seconds=90)
    assert rows["planned"].send_after == later


def test_a_database_in_use_keeps_its_clock(db: sa.Engine) -> None:
    with db.begin() as conn:
        conn.execute(sa.text("INSERT INTO journeys.event_inbox (customer_id, type) VALUES ('c', 't')"))
    with pytest.raises(PreparationError, match="holds events that are not the demo's"):
        start_clock(db, 600)
    with db.connect() as conn:
        assert abs(datetime.now(UTC) - clock_now(conn)) < timedelta(seconds=5)


def test_journals_of_another_database_are_put_aside(db: sa.Engine, tmp_path: Path) -> None:
    assert claim_journals(db, tmp_path) is None
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "events.jsonl").write_text("{}\n")
    assert claim_journals(db, tmp_path) is None
    (tmp_path / "database").write_text("000000000000\n")
    aside = claim_journals(db, tmp_path)
    assert aside is not None and aside.name == "of-database-000000000000"
    assert not (tmp_path / "shop").exists() and list(aside.glob("shop-*/events.jsonl"))
