"""Asset checks: they pass on a healthy database and find what is planted in a sick one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import sqlalchemy as sa

Run = Callable[..., dg.ExecuteInProcessResult]

JOURNEY = """
INSERT INTO journeys.customer_journeys
       (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at, entered_seq)
SELECT 'hello', 1, 'ann', 0, 'user_registered', {step}, 1, t, 1, t + {due}, 1, t, 7 FROM (SELECT journeys.clock_now() AS t) x
"""
MESSAGE = """
INSERT INTO journeys.messages
       (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, channel, category,
        planned_at, created_at, send_after, expires_at, state, updated_at, lease_until, accepted_at, provider, provider_message_id)
SELECT gen_random_uuid()::text, j.id, 'hello', 'send_email', 1, '', 'hello', 1, 'ann', 0, 'email', 'marketing',
       t, t, t + {due}, t + interval '1 day', '{state}', t,
       CASE '{state}' WHEN 'sending' THEN t + {due} END, CASE '{state}' WHEN 'accepted' THEN t END, 'smtp', {receipt}
  FROM (SELECT journeys.clock_now() AS t) x, journeys.customer_journeys j
"""
LATER, LATE = "interval '1 hour'", "-interval '6 minutes'"


def outcome(run: Run) -> dict[str, dict[str, int]]:
    """The checks that failed, with their figures above zero."""
    result = run("check_journeys")
    assert result.success
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 5
    return {e.check_name: {k: v.value for k, v in e.metadata.items() if v.value} for e in evaluations if not e.passed}


def plant(db: sa.Engine, *statements: str) -> None:
    with db.begin() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)


def test_a_database_at_work_passes(deployed: None, run: Run, inserts: Callable[..., None]) -> None:
    inserts("ann", profile='{"email_address": "ann@example.org", "subscription_status": "active"}')
    run("drain_journeys")
    assert outcome(run) == {}


def test_two_entries_for_one_event(deployed: None, run: Run, db: sa.Engine) -> None:
    journey = JOURNEY.format(step="'later'", due=LATER)
    plant(db, journey, journey)
    assert outcome(run) == {"no_duplicate_entries": {"entries": 1}}


def test_one_action_sent_twice_for_one_event(deployed: None, run: Run, db: sa.Engine) -> None:
    journey, message = JOURNEY.format(step="'later'", due=LATER), MESSAGE.format(due=LATER, state="accepted", receipt="'r1'")
    plant(db, journey, journey, message)
    assert outcome(run) == {"no_duplicate_entries": {"entries": 1}, "no_duplicate_messages": {"messages": 1, "shared_receipts": 1}}


def test_work_that_waits_for_too_long(deployed: None, run: Run, db: sa.Engine) -> None:
    late_event = (
        "INSERT INTO journeys.event_inbox (customer_id, type, occurred_at) SELECT 'bob', 'x', journeys.clock_now() - interval '6 minutes'"
    )
    plant(db, JOURNEY.format(step="'later'", due=LATE), MESSAGE.format(due=LATE, state="planned", receipt="NULL"), late_event)
    assert outcome(run) == {"nothing_overdue": {"events": 1, "journeys": 1, "messages": 1}}


def test_what_waits_on_purpose_is_not_late(deployed: None, run: Run, db: sa.Engine) -> None:
    plant(
        db,
        JOURNEY.format(step="'later'", due=LATE),
        MESSAGE.format(due=LATE, state="planned", receipt="NULL"),
        "UPDATE journeys.customer_journeys SET held_at = due_at",
    )
    assert outcome(run) == {}


def test_nobody_waits_at_a_step_that_does_not_exist(deployed: None, run: Run, db: sa.Engine) -> None:
    plant(db, JOURNEY.format(step="'renamed'", due=LATER), MESSAGE.format(due=LATE, state="sending", receipt="NULL"))
    assert outcome(run) == {"nothing_stuck": {"journeys": 1, "sends": 1}}


@pytest.mark.parametrize(("rate", "late"), [(600.0, {}), (1.0, {"nothing_overdue": {"journeys": 1}})])
def test_lateness_is_real_time_whatever_the_clocks_rate(
    rate: float, late: dict[str, dict[str, int]], deployed: None, run: Run, db: sa.Engine
) -> None:
    from journey_pipelines.store.clock import set_clock

    with db.begin() as conn:
        set_clock(conn, datetime.now(UTC) - timedelta(days=60), rate)
    # six minutes: at 600x less than a second ago
    plant(db, JOURNEY.format(step="'later'", due=LATE))
    assert outcome(run) == late


def test_what_an_operator_holds_is_not_late(deployed: None, run: Run, db: sa.Engine) -> None:
    hold = (
        "INSERT INTO journeys.operator_holds (workflow_id, what, why, held_by, held_at) "
        "VALUES ({}, 'dispatch', 'odd', 'ann', journeys.clock_now())"
    )
    late = (JOURNEY.format(step="'later'", due=LATER), MESSAGE.format(due=LATE, state="planned", receipt="NULL"))
    plant(db, *late)
    assert outcome(run) == {"nothing_overdue": {"messages": 1}}
    plant(db, hold.format("'hello'"))
    assert outcome(run) == {}
    plant(db, "DELETE FROM journeys.operator_holds", hold.format("NULL"))
    assert outcome(run) == {}


def test_what_a_limit_of_sends_keeps_back_is_not_late(deployed: None, run: Run, db: sa.Engine) -> None:
    """Five an hour: late is what has had room for more than five minutes, and everything else of such a workflow."""
    limit = """UPDATE journeys.automation_workflows SET definition =
        jsonb_set(definition, '{workflow,limits}', '{"sends": {"count": 5, "per": "1 hour"}}')"""
    sent = "INSERT INTO journeys.workflow_sends SELECT 'hello', journeys.clock_now() - interval '%s', 5"
    plant(db, JOURNEY.format(step="'later'", due=LATER), MESSAGE.format(due=LATE, state="planned", receipt="NULL"), limit)
    assert outcome(run) == {"nothing_overdue": {"messages": 1}}, "nothing was sent: there is room"
    plant(db, sent % "30 minutes")
    assert outcome(run) == {}
    plant(db, "UPDATE journeys.customer_journeys SET due_at = due_at - interval '2 hours'")
    assert outcome(run) == {"nothing_overdue": {"journeys": 1}}
    plant(db, "UPDATE journeys.workflow_sends SET at = at - interval '1 hour'")
    assert outcome(run) == {"nothing_overdue": {"journeys": 1, "messages": 1}}


def test_an_open_breaker_fails_its_check_until_it_is_released(deployed: None, run: Run, db: sa.Engine) -> None:
    plant(
        db,
        "INSERT INTO journeys.operator_holds (workflow_id, what, why, held_by, held_at) "
        "VALUES ('hello', 'dispatch', '1,487 entered within an hour', 'breaker', journeys.clock_now())",
    )
    assert outcome(run) == {"breaker_closed": {"workflows": 1}}
    plant(db, "UPDATE journeys.operator_holds SET released_at = held_at, released_by = 'ann'")
    assert outcome(run) == {}
