"""What happened to a person, one moment a row: events, moves of journeys, actions, messages, goals, refused events; in the order it
happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.store.tables import (
    conversions,
    customer_events,
    event_quarantine,
    journey_transitions,
    messages,
    tasks,
    workflow_action_logs,
)
from journey_pipelines.workflows.model import CHANNELS

MAX_MESSAGES = 1_000
MAX_REFUSED = 50
# at one place in time: the event, the goal it reaches, then what it does to journeys
_EVENT, _GOAL, _JOURNEY, _REFUSED = range(4)
_TIMER_SEQ = 9223372036854775807
_OF_A_TRANSITION = ("version", "visit", "from_step", "to_step", "why")
_OF_A_MESSAGE = ("channel", "action_id", "step_key", "state", "reason", "attempts", "send_after", "expires_at", "claimed_at", "accepted_at")
_OF_A_MESSAGE_TOO = ("updated_at", "message_key", "provider", "provider_message_id")
_OF_AN_ACTION = ("kind", "action_id", "step_key", "state", "reason")
_OF_A_REFUSAL = ("source", "source_event_id", "reason", "sqlstate", "statement", "quarantined_at")


@dataclass(frozen=True)
class Moment:
    """`kind`: event, journey, action, message, goal, refused. `what`: the event's type, why a journey moved, the action's kind, the
    message's state. `detail`: the row's own facts. `order`: the place among the moments of its instant.
    """

    at: datetime
    kind: str
    what: str
    workflow_id: str | None = None
    journey_id: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[int, ...] = ()


def moments(conn: sa.Connection, customer_id: str, journeys: Sequence[int], limit: int) -> list[Moment]:
    """The last `limit` events of the customer, and everything about the journeys with the ids `journeys`."""
    found = _events(conn, customer_id, limit)
    moves = _transitions(conn, journeys)
    # a step's actions are done as the journey leaves it, in the same statement: they stand before that move
    leaving = {(move.journey_id, move.detail["from_step"], move.detail["visit"]): move.order for move in moves}
    found += moves
    found += _messages(conn, customer_id, leaving)
    found += _actions(conn, journeys, leaving)
    found += _goals(conn, journeys)
    found += _refused(conn, customer_id)
    return sorted(found, key=lambda moment: (moment.at, moment.order))


def _events(conn: sa.Connection, customer_id: str, limit: int) -> list[Moment]:
    e = customer_events.c
    latest = sa.select(customer_events).where(e.customer_id == customer_id).order_by(e.occurred_at.desc(), e.seq.desc()).limit(limit)
    found = []
    for row in conn.execute(latest).mappings():
        detail = {name: row[name] for name in ("seq", "source", "source_event_id", "payload")}
        if row["original_occurred_at"]:
            detail["original_occurred_at"] = row["original_occurred_at"]
        found.append(Moment(row["occurred_at"], "event", row["type"], None, row["journey_id"], detail, (row["seq"], _EVENT, 0, 0)))
    return found


def _transitions(conn: sa.Connection, journeys: Sequence[int]) -> list[Moment]:
    rows = conn.execute(sa.select(journey_transitions).where(journey_transitions.c.journey_id.in_(journeys))).mappings()
    return [
        Moment(
            row["at"],
            "journey",
            row["why"],
            row["workflow_id"],
            row["journey_id"],
            {name: row[name] for name in _OF_A_TRANSITION} | dict(row["detail"] or {}),
            (row["at_seq"], _JOURNEY, row["id"], 1),
        )
        for row in rows
    ]


def _place(row: sa.RowMapping, leaving: Mapping[Any, tuple[int, ...]]) -> tuple[int, ...]:
    move = leaving.get((row["journey_id"], row["step_key"], row["visit"]))
    return (*move[:3], 0) if move else (_TIMER_SEQ, _JOURNEY, 0, 0)


def _messages(conn: sa.Connection, customer_id: str, leaving: Mapping[Any, tuple[int, ...]]) -> list[Moment]:
    m = messages.c
    latest = sa.select(messages).where(m.customer_id == customer_id).order_by(m.id.desc()).limit(MAX_MESSAGES)
    return [
        Moment(
            row["planned_at"],
            "message",
            row["state"],
            row["workflow_id"],
            row["journey_id"],
            {name: row[name] for name in (*_OF_A_MESSAGE, *_OF_A_MESSAGE_TOO)},
            _place(row, leaving),
        )
        for row in conn.execute(latest).mappings()
    ]


def _actions(conn: sa.Connection, journeys: Sequence[int], leaving: Mapping[Any, tuple[int, ...]]) -> list[Moment]:
    found_tasks = conn.execute(sa.select(tasks).where(tasks.c.journey_id.in_(journeys))).mappings()
    by_action = {(task["journey_id"], task["step_key"], task["action_id"], task["visit"]): task for task in found_tasks}
    found = []
    for row in conn.execute(sa.select(workflow_action_logs).where(workflow_action_logs.c.journey_id.in_(journeys))).mappings():
        if row["kind"] in CHANNELS:
            continue  # the ledger tells it better
        detail = {name: row[name] for name in _OF_AN_ACTION} | dict(row["detail"] or {})
        if task := by_action.get((row["journey_id"], row["step_key"], row["action_id"], row["visit"])):
            detail |= {name: task[name] for name in ("title", "assignee", "due_at", "status")}
        found.append(Moment(row["at"], "action", row["kind"], row["workflow_id"], row["journey_id"], detail, _place(row, leaving)))
    return found


def _goals(conn: sa.Connection, journeys: Sequence[int]) -> list[Moment]:
    rows = conn.execute(sa.select(conversions).where(conversions.c.journey_id.in_(journeys))).mappings()
    return [
        Moment(
            row["at"],
            "goal",
            row["event_type"],
            row["workflow_id"],
            row["journey_id"],
            {"value": row["value"], "exposed": row["exposed"], "event": row["event_seq"]},
            (row["event_seq"], _GOAL, row["journey_id"], 0),
        )
        for row in rows
    ]


def _refused(conn: sa.Connection, customer_id: str) -> list[Moment]:
    q = event_quarantine.c
    latest = sa.select(event_quarantine).where(q.customer_id == customer_id).order_by(q.id.desc()).limit(MAX_REFUSED)
    return [
        Moment(
            row["occurred_at"] or row["received_at"] or row["quarantined_at"],
            "refused",
            row["type"] or "event",
            None,
            None,
            {name: row[name] for name in _OF_A_REFUSAL},
            (row["inbox_id"] or 0, _REFUSED, row["id"], 0),
        )
        for row in conn.execute(latest).mappings()
    ]
