"""Checks on what the engine made: no duplicates, nothing overdue, nothing stuck. Each looks at the tables, not at the engine's own counts.

They are not part of a drain: some read much, and a drain must not wait for them. The job `check_journeys` runs them every ten minutes.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations of what it decorates.

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa

from journey_pipelines.assets.external import JOURNEY_ADVANCEMENTS, JOURNEY_ENTRIES, MESSAGES
from journey_pipelines.delivery.send_limits import full_workflows
from journey_pipelines.delivery.timing import read_clock
from journey_pipelines.resources import EngineResource

# Real time, whatever the clock's rate: at 600x five minutes of the clock are half a second
GRACE_SECONDS = 300.0

TIMEOUT_SECONDS = 60

# Counting stops here: for a check, ten thousand overdue journeys and ten million are the same news
MOST = 10_000

# A customer enters once per workflow, key and event. The last day of the clock, because older ones were checked before.
DUPLICATE_ENTRIES = """
SELECT count(*) FROM (
    SELECT 1 FROM journeys.customer_journeys
     WHERE entered_at > :now - interval '1 day'
     GROUP BY workflow_id, customer_id, entry_key, entered_seq HAVING count(*) > 1 LIMIT :most) AS twice
"""

DUPLICATE_TRANSITIONS = """
SELECT count(*) FROM (
    SELECT 1 FROM journeys.journey_transitions
     WHERE at > :now - interval '1 day' AND from_step IS NULL
     GROUP BY journey_id HAVING count(*) > 1 LIMIT :most) AS twice
"""

# Two rows of one action on the same event of the same customer, both sent, whatever journeys they belong to
DUPLICATE_MESSAGES = """
SELECT count(*) FROM (
    SELECT 1 FROM journeys.messages AS m JOIN journeys.customer_journeys AS j ON j.id = m.journey_id
     WHERE m.state = 'accepted' AND m.accepted_at > :now - interval '1 day'
     GROUP BY m.workflow_id, m.customer_id, j.entry_key, j.entered_seq, m.step_key, m.action_id, m.visit, m.slot
    HAVING count(*) > 1 LIMIT :most) AS twice
"""

# One provider's id on two rows: the provider saw one message where the ledger has two
SHARED_RECEIPTS = """
SELECT count(*) FROM (
    SELECT 1 FROM journeys.messages
     WHERE state = 'accepted' AND accepted_at > :now - interval '1 day' AND provider_message_id IS NOT NULL
     GROUP BY provider, provider_message_id HAVING count(*) > 1 LIMIT :most) AS shared
"""

OVERDUE_EVENTS = "SELECT count(*) FROM (SELECT 1 FROM journeys.event_inbox WHERE effective_at <= :late LIMIT :most) AS x"

OVERDUE_JOURNEYS = """
SELECT count(*) FROM (
    SELECT 1 FROM journeys.customer_journeys
     WHERE status = 'active' AND held_at IS NULL AND due_at <= :late LIMIT :most) AS x
"""

# Not those that wait on purpose: of workflows from which nothing is sent for now, or whose limit of sends was used up until a moment ago
# (:full), and of journeys that are parked
OVERDUE_MESSAGES = """
SELECT count(*) FROM (
    SELECT 1 FROM journeys.messages AS m LEFT JOIN journeys.customer_journeys AS j ON j.id = m.journey_id
     WHERE m.state IN ('planned', 'deferred', 'retry') AND m.send_after <= :late AND j.held_at IS NULL
       AND m.workflow_id NOT IN (
           SELECT w.id FROM journeys.automation_workflows AS w
            WHERE w.is_current AND (
                  w.status IN ('draft', 'paused')
                  OR EXISTS (SELECT 1 FROM journeys.operator_holds AS h
                              WHERE h.released_at IS NULL AND (h.workflow_id IS NULL OR h.workflow_id = w.id))))
       AND m.workflow_id <> ALL (CAST(:full AS text[]))
     LIMIT :most) AS x
"""

# The breaker holds the sends of a workflow that took in many times more people than it is used to; only a person releases it
BREAKER_HOLDS = """
SELECT count(*) FROM (SELECT 1 FROM journeys.operator_holds WHERE released_at IS NULL AND held_by = 'breaker' LIMIT :most) AS x
"""

# At a step that its pinned version does not have: nothing would ever move it
LOST_JOURNEYS = """
SELECT count(*) FROM (
    SELECT 1 FROM journeys.customer_journeys AS j
     WHERE j.status = 'active' AND NOT EXISTS (
           SELECT 1 FROM journeys.workflow_steps AS s
            WHERE s.workflow_id = j.workflow_id AND s.version = j.version AND s.step_key = j.step_key) LIMIT :most) AS x
"""

ABANDONED_SENDS = """
SELECT count(*) FROM (SELECT 1 FROM journeys.messages WHERE state = 'sending' AND lease_until <= :late LIMIT :most) AS x
"""

# What each check counts: any figure above 0 fails it
COUNTS: dict[str, tuple[dg.AssetKey, dict[str, str]]] = {
    "no_duplicate_entries": (JOURNEY_ENTRIES, {"entries": DUPLICATE_ENTRIES, "first_transitions": DUPLICATE_TRANSITIONS}),
    "no_duplicate_messages": (MESSAGES, {"messages": DUPLICATE_MESSAGES, "shared_receipts": SHARED_RECEIPTS}),
    "nothing_overdue": (
        JOURNEY_ADVANCEMENTS,
        {"events": OVERDUE_EVENTS, "journeys": OVERDUE_JOURNEYS, "messages": OVERDUE_MESSAGES},
    ),
    "breaker_closed": (JOURNEY_ENTRIES, {"workflows": BREAKER_HOLDS}),
    "nothing_stuck": (JOURNEY_ADVANCEMENTS, {"journeys": LOST_JOURNEYS, "sends": ABANDONED_SENDS}),
}

DESCRIPTIONS = {
    "no_duplicate_entries": "Nobody entered a workflow twice for one event, in the last day.",
    "no_duplicate_messages": "Nobody was sent the same action twice for one event, in the last day.",
    "nothing_overdue": "No event or journey has been due for more than five minutes, and no message that nothing keeps back.",
    "breaker_closed": "No workflow's sends are held because too many entered it; `journeys holds` says why, `journeys release` ends it.",
    "nothing_stuck": "No journey waits at a step its version does not have; no send was left without an outcome.",
}


def engine_checks() -> list[dg.AssetChecksDefinition]:
    """One check each for duplicates among entries and messages, for what is overdue and for what is stuck."""
    return [_check(name, asset, counts) for name, (asset, counts) in COUNTS.items()]


def _check(name: str, asset: dg.AssetKey, counts: Mapping[str, str]) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, description=DESCRIPTIONS[name])
    def check(journeys_engine: EngineResource) -> dg.AssetCheckResult:
        with journeys_engine.ask(TIMEOUT_SECONDS) as (conn, now):
            figures = count(conn, now, counts)
        return dg.AssetCheckResult(passed=not any(figures.values()), metadata=figures)

    return check


def count(conn: sa.Connection, now: datetime, counts: Mapping[str, str]) -> dict[str, int]:
    """How many rows each of the statements finds, at most 10,000 of each."""
    found = {}
    for what, statement in counts.items():
        text = sa.text(statement)
        wanted = text.compile().params
        late = read_clock(conn).after(-GRACE_SECONDS)
        values: dict[str, Any] = {"now": now, "late": late, "most": MOST}
        if "full" in wanted:
            # what has had room for as long as anything may wait is late all the same
            values["full"] = full_workflows(conn, late)
        found[what] = int(conn.execute(text, {k: v for k, v in values.items() if k in wanted}).scalar_one())
    return found
