"""The hot lane as Dagster runs it: on a real database, through a real mail server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from dagster import DagsterInstance

from journey_pipelines.settings import settings

ROUTED = dg.AssetKey(["journeys", "routed_events"])
ENTRIES = dg.AssetKey(["journeys", "journey_entries"])
ADVANCEMENTS = dg.AssetKey(["journeys", "journey_advancements"])
MESSAGES = dg.AssetKey(["journeys", "messages"])

Run = Callable[..., dg.ExecuteInProcessResult]


class Mailbox:
    """What a mail server was given."""

    def __init__(self) -> None:
        self.recipients: list[str] = []

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:
        self.recipients += envelope.rcpt_tos
        return "250 OK"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    monkeypatch.setenv("JOURNEYS_SMTP_URL", f"smtp://127.0.0.1:{port}")
    monkeypatch.setenv("JOURNEYS_SENDER", "Shop <shop@example.org>")
    settings.cache_clear()  # importing the code location may just have read them
    yield box
    controller.stop()


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    """The figures of the run's materialization of the asset, in order."""
    (found,) = [event.materialization for event in result.get_asset_materialization_events() if event.asset_key == key]
    return {name: value.value for name, value in found.metadata.items()}


def subscriber(inserts: Callable[..., None], customer_id: str) -> None:
    inserts(customer_id, profile=f'{{"email_address": "{customer_id}@example.org", "subscription_status": "active"}}')


def test_a_drain_reports_what_it_did(deployed: None, run: Run, inserts: Callable[..., None]) -> None:
    subscriber(inserts, "ann")
    subscriber(inserts, "bob")
    inserts("bob", "looked_around")
    result = run("drain_journeys")
    assert result.success
    routed = metadata(result, ROUTED)
    assert list(routed)[:4] == ["rows_in", "rows_out", "lag_seconds", "stopped_reason"]
    assert (routed["rows_in"], routed["rows_out"], routed["quarantined"], routed["stopped_reason"]) == (3, 3, 0, "idle")
    assert 0 <= routed["lag_seconds"] < 300
    assert metadata(result, ENTRIES)["rows_out"] == 2
    advanced = metadata(result, ADVANCEMENTS)
    assert advanced["rows_out"] >= 2
    assert advanced["planned"] == 2


def test_a_drain_with_nothing_to_do_says_so(run: Run) -> None:
    routed = metadata(run("drain_journeys"), ROUTED)
    assert (routed["rows_in"], routed["rows_out"], routed["stopped_reason"]) == (0, 0, "idle")


def test_one_asset_selected_runs_the_whole_drain_and_reports_itself(
    deployed: None, run: Run, inserts: Callable[..., None], db: sa.Engine
) -> None:
    subscriber(inserts, "ann")
    result = run("drain_journeys", asset_selection=[ENTRIES])
    assert result.success
    assert [event.asset_key for event in result.get_asset_materialization_events()] == [ENTRIES]
    with db.connect() as conn:
        assert conn.scalar(sa.text("SELECT count(*) FROM journeys.messages")) == 1


def test_a_dispatch_sends_and_reports_on_the_ledger(
    deployed: None, run: Run, inserts: Callable[..., None], mailbox: Mailbox, instance: DagsterInstance
) -> None:
    subscriber(inserts, "ann")
    inserts("bob", profile='{"email_address": "bob@example.org"}')
    run("drain_journeys")
    result = run("dispatch_messages")
    assert result.success
    assert mailbox.recipients == ["ann@example.org"]
    event = instance.get_latest_materialization_event(MESSAGES)
    assert event is not None
    assert event.asset_materialization is not None
    figures = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert list(figures)[:3] == ["rows_in", "rows_out", "suppressed"]
    assert (figures["rows_in"], figures["rows_out"], figures["suppressed"], figures["suppressed: no consent"]) == (1, 1, 1, 1)
    assert run("dispatch_messages").success
    assert mailbox.recipients == ["ann@example.org"]


def test_nothing_personal_is_in_what_dagster_keeps(
    deployed: None, run: Run, inserts: Callable[..., None], mailbox: Mailbox, instance: DagsterInstance
) -> None:
    subscriber(inserts, "ann_personal")
    for result in (run("drain_journeys"), run("dispatch_messages")):
        assert "ann_personal" not in str(instance.all_logs(result.run_id))
        assert "ann_personal" not in str(instance.get_run_by_id(result.run_id).tags)


RUN_BOTH = """
import json, sys
from dagster import DagsterInstance
from journey_pipelines.definitions import defs
from journey_pipelines.settings import settings
quickly = {"budget_seconds": 20.0, "linger_seconds": 0.0}
with DagsterInstance.ephemeral() as instance:
    for job, op in (("drain_journeys", "journeys_drain"), ("dispatch_messages", "send_due_messages")):
        assert defs.resolve_job_def(job).execute_in_process(run_config={"ops": {op: {"config": quickly}}}, instance=instance).success
print(json.dumps([name for name in ("pandas", "numpy", "altair") if name in sys.modules]))
"""


def test_the_hot_jobs_never_import_pandas(
    deployed: None, inserts: Callable[..., None], mailbox: Mailbox, db_url: str, fresh_interpreter: Callable[..., Any]
) -> None:
    subscriber(inserts, "ann")
    assert fresh_interpreter(RUN_BOTH, DATABASE_URL=db_url) == []
    assert mailbox.recipients == ["ann@example.org"]


def test_a_wrong_channel_setting_fails_the_run_in_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNEYS_SMTP_URL", "smtp://127.0.0.1:25")
    monkeypatch.delenv("JOURNEYS_SENDER", raising=False)
    settings.cache_clear()
    result = run("dispatch_messages", raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "JOURNEYS_SENDER" in str(failure.step_failure_data.error_display_string)
