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
def test_kill_and_resume(db: sa.Engine, db_url: str, name: str) -> None:
    """HTTP has idempotency keys, SMTP has none; whichever the kill meets, both promises hold."""
    with db.begin() as conn:
        deploy(conn)
        everyone(conn, [f"s{i}" for i in range(PEOPLE)], "sms")
        everyone(conn, [f"p{i}" for i in range(PEOPLE)])
    with Provider() as provider, MailServer() as server:
        urls = {"JOURNEYS_SMS_URL": provider.url + "/sms", "JOURNEYS_SMTP_URL": f"smtp://127.0.0.1:{server.port}#connections=2"}
        # some are passed once a message, others once a batch: somewhere in the middle
        times = {"before_send": 50, "after_yes": 50, "in_gate": 1, "after_gate": 1, "in_rescue": 1}.get(name, 3)
        killed = work(db_url, NOW, f"{name}=kill:{times}", **urls)
        work(db_url, NOW + timedelta(seconds=LEASE + 1), **urls)
        sms, mails = provider.keys(), server.keys()
    assert killed == -signal.SIGKILL
    assert len(sms) == PEOPLE and set(sms.values()) == {1} and states(db, "sms") == {"accepted": PEOPLE}, "with keys: exactly once"
    found = states(db, "email")
    assert set(mails.values()) == {1}, "without: none twice"
    assert set(found) <= {"accepted", "in_doubt"} and found["in_doubt"] <= IN_FLIGHT, "in the open"
    assert found["accepted"] <= len(mails) <= found["accepted"] + found["in_doubt"] and found.total() == PEOPLE, "and none lost silently"


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
