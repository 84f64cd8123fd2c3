"""Rows of the inbox with values of every kind, SQL by hand, and the sums that must come out whatever happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from engine_world import START
from sqlalchemy.dialects.postgresql import JSONB

_PUT = sa.text(
    """
    INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type, occurred_at, received_at, payload, profile)
    VALUES (:source, :source_event_id, :customer_id, :type, :occurred_at, :received_at, :payload, :profile)
    """
).bindparams(sa.bindparam("payload", type_=JSONB(none_as_null=True)), sa.bindparam("profile", type_=JSONB(none_as_null=True)))


def event(customer_id: str, type_: str, at: datetime = START, payload: Any = None, **columns: Any) -> dict[str, Any]:
    """One row for `put`; received when it happened unless `received_at` says otherwise."""
    return {
        "source": "app", "source_event_id": None, "customer_id": customer_id, "type": type_, "occurred_at": at, "received_at": at,
        "payload": {} if payload is None else payload, "profile": None, **columns,
    }  # fmt: skip


def put(db: sa.Engine, *events: Mapping[str, Any]) -> None:
    """Rows of the inbox, in this order."""
    with db.begin() as conn:
        for row in events:
            conn.execute(_PUT, row)


def rows(db: sa.Engine, query: str, **values: Any) -> Sequence[sa.Row[Any]]:
    """A SELECT's rows."""
    with db.connect() as conn:
        return conn.execute(sa.text(query), values).all()


def one(db: sa.Engine, query: str, **values: Any) -> Any:
    """A SELECT's only value."""
    with db.connect() as conn:
        return conn.execute(sa.text(query), values).scalar_one()


def execute(db: sa.Engine, *statements: str) -> None:
    """What an operator, or sabotage, does by hand."""
    with db.begin() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)


def orphans(db: sa.Engine) -> dict[str, int]:
    """What foreign keys would have refused, and counters that do not add up; all must be 0."""
    return {name: one(db, query) for name, query in _ORPHANS.items()}


_ORPHANS = {
    "context without a journey": """
        SELECT count(*) FROM journeys.journey_context c
         WHERE NOT EXISTS (SELECT FROM journeys.customer_journeys j WHERE j.id = c.journey_id)""",
    "transitions without a journey": """
        SELECT count(*) FROM journeys.journey_transitions t
         WHERE NOT EXISTS (SELECT FROM journeys.customer_journeys j
                            WHERE (j.id, j.customer_id, j.version) = (t.journey_id, t.customer_id, t.version))""",
    "messages without a journey": """
        SELECT count(*) FROM journeys.messages m
         WHERE NOT EXISTS (SELECT FROM journeys.customer_journeys j
                            WHERE (j.id, j.customer_id, j.shard) = (m.journey_id, m.customer_id, m.shard))""",
    "action logs without a journey": """
        SELECT count(*) FROM journeys.workflow_action_logs l
         WHERE NOT EXISTS (SELECT FROM journeys.customer_journeys j WHERE j.id = l.journey_id)""",
    "conversions without a journey and its event": """
        SELECT count(*) FROM journeys.conversions c
         WHERE c.event_type <> 'condition'
           AND NOT EXISTS (SELECT FROM journeys.customer_journeys j JOIN journeys.customer_events e ON e.customer_id = j.customer_id
                            WHERE j.id = c.journey_id AND e.seq = c.event_seq)""",
    "events with a journey that is not there": """
        SELECT count(*) FROM journeys.customer_events e
         WHERE e.journey_id IS NOT NULL AND NOT EXISTS (SELECT FROM journeys.customer_journeys j WHERE j.id = e.journey_id)""",
    "journeys at a step that their version does not have": """
        SELECT count(*) FROM journeys.customer_journeys j WHERE NOT EXISTS (
            SELECT FROM journeys.workflow_steps s WHERE (s.workflow_id, s.version, s.step_key) = (j.workflow_id, j.version, j.step_key)
               AND j.step_uid IN (s.step_uid, s.entry_uid))""",
    "admissions that count another number of active journeys": """
        SELECT count(*) FROM journeys.journey_admissions a WHERE a.active <> (
            SELECT count(*) FROM journeys.customer_journeys j WHERE j.status = 'active'
               AND (j.workflow_id, j.customer_id, j.entry_key) = (a.workflow_id, a.customer_id, a.entry_key))""",
    "admissions that count another number of entries": """
        SELECT count(*) FROM journeys.journey_admissions a WHERE a.entries <> (
            SELECT count(*) FROM journeys.customer_journeys j
             WHERE (j.workflow_id, j.customer_id, j.entry_key) = (a.workflow_id, a.customer_id, a.entry_key))""",
    "journeys without an admission": """
        SELECT count(*) FROM journeys.customer_journeys j WHERE NOT EXISTS (
            SELECT FROM journeys.journey_admissions a
             WHERE (j.workflow_id, j.customer_id, j.entry_key) = (a.workflow_id, a.customer_id, a.entry_key))""",
    "ended journeys without exactly one last transition": """
        SELECT count(*) FROM journeys.customer_journeys j WHERE j.status = 'ended' AND 1 <> (
            SELECT count(*) FILTER (WHERE t.to_step IS NULL) - count(*) FILTER (WHERE t.why = 'retried')
              FROM journeys.journey_transitions t WHERE t.journey_id = j.id)""",
    "active journeys with a last transition": """
        SELECT count(*) FROM journeys.customer_journeys j WHERE j.status = 'active' AND EXISTS (
            SELECT FROM journeys.journey_transitions t WHERE t.journey_id = j.id
            HAVING count(*) FILTER (WHERE t.to_step IS NULL) > count(*) FILTER (WHERE t.why = 'retried'))""",
    "journeys without exactly one first transition": """
        SELECT count(*) FROM journeys.customer_journeys j WHERE 1 <> (
            SELECT count(*) FROM journeys.journey_transitions t WHERE t.journey_id = j.id AND t.from_step IS NULL)""",
    "transitions that do not follow each other": """
        SELECT count(*) FROM (
            SELECT from_step, why, lag(to_step) OVER w AS before, lag(why) OVER w AS why_before, row_number() OVER w AS n
              FROM journeys.journey_transitions WINDOW w AS (PARTITION BY journey_id ORDER BY id)) t
         WHERE n > 1 AND from_step IS DISTINCT FROM before AND NOT (why = 'retried' AND why_before = 'error')""",
    "journeys that are not where the last transition led": """
        SELECT count(*) FROM journeys.customer_journeys j WHERE j.status = 'active' AND j.step_key <> (
            SELECT t.to_step FROM journeys.journey_transitions t WHERE t.journey_id = j.id ORDER BY t.id DESC LIMIT 1)""",
    "stats that count another number of events": """
        SELECT count(*) FROM (
            SELECT customer_id, type, count(*) AS n, min(occurred_at) AS first_at, max(occurred_at) AS last_at, max(seq) AS last_seq
              FROM journeys.customer_events GROUP BY 1, 2) e
          FULL JOIN journeys.customer_event_stats s USING (customer_id, type)
         WHERE (s.n, s.first_at, s.last_at, s.last_seq) IS DISTINCT FROM (e.n, e.first_at, e.last_at, e.last_seq)
            OR s.shard <> journeys.shard_of(customer_id)""",
    "keys without their event": """
        SELECT count(*) FROM journeys.event_keys k WHERE NOT EXISTS (SELECT FROM journeys.customer_events e WHERE e.seq = k.seq)""",
}
