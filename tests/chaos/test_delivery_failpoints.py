"""Kill the dispatcher at every step, then let another go on: nothing lost silently, nothing accepted twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_rows import NOW, deploy, everyone, states
from servers.mail import MailServer
from servers.provider import Provider

from journey_pipelines.delivery.claim import LEASE
from journey_pipelines.delivery.failpoints import FAILPOINTS

WORKER = Path(__file__).with_name("delivery_worker.py")
PEOPLE = 60
# in what a worker was busy with when it died, at most: a batch of mails
IN_FLIGHT = 20


def work(url: str, now: datetime, failpoint: str = "", **channels: str) -> int:
    """The exit code of a dispatcher; minus the signal if one killed it."""
    environment = {**os.environ, "DATABASE_URL": url, "JOURNEYS_FAILPOINTS": failpoint, "JOURNEYS_SENDER": "shop@example.org", **channels}
    done = subprocess.run([sys.executable, str(WORKER), now.isoformat()], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.parametrize("name", FAILPOINTS)
def test_kill_and_resume_with_keys(db: sa.Engine, db_url: str, name: str) -> None:
    """HTTP with idempotency keys: everything is accepted exactly once."""
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"s{i}" for i in range(PEOPLE)], "sms")
    with Provider() as provider:
        url = provider.url + "/sms"
        # per message or per batch: the second time it comes by, somewhere in the middle
        killed = work(db_url, NOW, f"{name}=kill:{30 if name in ('before_send', 'after_yes') else 1}", JOURNEYS_SMS_URL=url)
        at = NOW
        for _ in range(3):
            at += timedelta(seconds=LEASE + 1)
            work(db_url, at, JOURNEYS_SMS_URL=url)
        keys = provider.keys()
    assert killed == -signal.SIGKILL
    assert len(keys) == PEOPLE and set(keys.values()) == {1}
    assert states(db) == {"accepted": PEOPLE}


@pytest.mark.parametrize("name", FAILPOINTS)
def test_kill_and_resume_without_keys(db: sa.Engine, db_url: str, name: str) -> None:
    """SMTP: none twice, and those nobody can tell the fate of are in doubt, in the open."""
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"p{i}" for i in range(PEOPLE)])
    with MailServer() as server:
        url = f"smtp://127.0.0.1:{server.port}#connections=2"
        killed = work(
            db_url,
            NOW,
            f"{name}=kill:{30 if name in ('before_send', 'after_yes') else 2 if name != 'in_rescue' else 1}",
            JOURNEYS_SMTP_URL=url,
        )
        work(db_url, NOW + timedelta(seconds=LEASE + 1), JOURNEYS_SMTP_URL=url)
        keys = server.keys()
        found = states(db)
    assert killed == (0 if name in ("in_gate", "after_gate") else -signal.SIGKILL), "one look was enough for all of them"
    assert set(keys.values()) == {1}, "none twice"
    assert set(found) <= {"accepted", "in_doubt"} and found["in_doubt"] <= IN_FLIGHT
    assert found["accepted"] <= len(keys) <= found["accepted"] + found["in_doubt"] and found.total() == PEOPLE, "none lost silently"


def test_a_message_that_kills_its_worker_is_not_claimed_for_ever(db: sa.Engine, db_url: str) -> None:
    """Attempts are counted at the claim, so that a worker that dies of a message dies of it three times at most."""
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"s{i}" for i in range(PEOPLE)], "sms")
    with Provider() as provider:
        url = provider.url + "/sms"
        for run in range(6):
            kill_at = f"after_claim=kill:{1 + run % 2}"
            work(db_url, NOW + timedelta(seconds=run * (LEASE + 1)), kill_at, JOURNEYS_SMS_URL=url)
        work(db_url, NOW + timedelta(seconds=7 * (LEASE + 1)), JOURNEYS_SMS_URL=url)
        assert set(provider.keys().values()) <= {1}
    found = states(db)
    assert found.total() == PEOPLE and set(found) <= {"accepted", "in_doubt"}, "three claims lost: in doubt, not claimed for ever"
