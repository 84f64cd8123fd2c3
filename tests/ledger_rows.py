"""Rows of the ledger, the journeys and the people behind them, written directly: the tests of delivery need no engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from journey_pipelines.store import tables as t
from journey_pipelines.store.hashes import message_key, shard_of
from journey_pipelines.workflows.definition import Definition

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)

FRIEND = "{{ customer.first_name | default('friend') }}"
HTML = "<html><body><h1>Hello {{ customer.first_name | default('friend') }}</h1><p>Your {{ event.item }} waits.</p></body></html>"


def definition(*, actions: list[dict[str, Any]] | None = None, templates: Mapping[str, str] | None = None, **workflow: Any) -> Definition:
    """A workflow `hello` with one step `greet` and these actions; all four kinds of sending by default."""
    kinds: list[dict[str, Any]] = actions if actions is not None else [
        {"kind": "send_email", "id": "send_email", "params": {"template": "hello", "subject": f"Welcome, {FRIEND}!"}},
        {"kind": "send_sms", "id": "send_sms", "params": {"text": f"Your {{{{ event.item }}}} waits, {FRIEND}"}},
        {"kind": "send_push", "id": "send_push", "params": {"title": "Hello", "text": "Your {{ event.item }}"}},
        {"kind": "webhook_call", "id": "webhook_call", "params": {"url": "https://api.example.org/leads", "method": "POST"}},
    ]  # fmt: skip
    return Definition.model_validate(
        {
            "workflow": {
                "id": "hello",
                "name": "Hello",
                "triggers": [{"id": "t", "event": "user_registered"}],
                "entry": {"max_lateness": "1 day"},
                "steps": [{"id": "greet", "do": kinds, "next": {"branches": [{"to": "end"}]}}],
                **workflow,
            },
            "templates": templates if templates is not None else {"hello.html": HTML},
        }
    )


def deploy(conn: sa.Connection, what: Definition | None = None, *, status: str = "active", version: int = 1) -> None:
    what = what or definition()
    conn.execute(sa.update(t.automation_workflows).where(t.automation_workflows.c.id == what.workflow.id).values(is_current=False))
    conn.execute(
        sa.insert(t.automation_workflows).values(
            id=what.workflow.id, version=version, is_current=True, name=what.workflow.name, status=status, category="marketing",
            definition=what.model_dump(mode="json"), content_hash=what.content_hash(), deployed_at=NOW,
        )
    )  # fmt: skip


def person(conn: sa.Connection, customer_id: str, **columns: Any) -> None:
    """A profile that can be reached on every channel and consents by policy."""
    values: dict[str, Any] = {
        "email_address": f"{customer_id}@example.org", "phone_number": "+41791234567", "push_token": f"token-{customer_id}",
        "first_name": customer_id.title(), "subscription_status": "active", **columns,
    }  # fmt: skip
    conn.execute(sa.insert(t.customer_profiles).values(customer_id=customer_id, shard=shard_of(customer_id), updated_at=NOW, **values))


def plan(conn: sa.Connection, customer_id: str, channel: str = "email", *, event: Mapping[str, Any] | None = None, **columns: Any) -> int:
    """A journey with one planned message; returns the message's id. `journey` (a mapping) sets columns of the journey."""
    journey = {
        "workflow_id": "hello", "version": 1, "customer_id": customer_id, "shard": shard_of(customer_id), "trigger_id": "t",
        "step_key": "greet", "step_uid": 1, "at": NOW, "at_seq": 1, "due_at": NOW, "due_seq": 1, "entered_at": NOW, "entered_seq": 1,
        **columns.pop("journey", {}),
    }  # fmt: skip
    journey_id = conn.execute(sa.insert(t.customer_journeys).values(**journey).returning(t.customer_journeys.c.id)).scalar_one()
    conn.execute(
        sa.insert(t.journey_context).values(journey_id=journey_id, event_type="user_registered", event=dict(event or {"item": "book"}))
    )
    salt = conn.scalar(sa.select(t.engine_identity.c.message_salt))
    action = {"email": "send_email", "sms": "send_sms", "push": "send_push", "webhook": "webhook_call"}[channel]
    values: dict[str, Any] = {
        "journey_id": journey_id, "step_key": "greet", "action_id": action, "visit": 1, "slot": channel, "workflow_id": "hello",
        "workflow_version": 1, "customer_id": customer_id, "shard": shard_of(customer_id), "channel": channel, "category": "marketing",
        "planned_at": NOW, "created_at": NOW, "send_after": NOW, "expires_at": NOW + timedelta(days=1), "state": "planned",
        "updated_at": NOW, **columns,
    }  # fmt: skip
    values["message_key"] = message_key(str(salt), journey_id, values["step_key"], values["action_id"], values["visit"], values["slot"])
    return conn.execute(sa.insert(t.messages).values(**values).returning(t.messages.c.id)).scalar_one()


def everyone(conn: sa.Connection, names: Iterable[str], channel: str = "email", **columns: Any) -> list[int]:
    """A reachable person with a planned message for each name."""
    found = []
    for name in names:
        person(conn, name)
        found.append(plan(conn, name, channel, **columns))
    return found


def message(db: sa.Engine, message_id: int) -> Any:
    with db.connect() as conn:
        return conn.execute(sa.select(t.messages).where(t.messages.c.id == message_id)).one()


def states(db: sa.Engine, channel: str | None = None) -> Counter[str]:
    query = sa.select(t.messages.c.state)
    with db.connect() as conn:
        return Counter(conn.scalars(query.where(t.messages.c.channel == channel) if channel else query))


def reasons(db: sa.Engine) -> Counter[str | None]:
    with db.connect() as conn:
        return Counter(conn.scalars(sa.select(t.messages.c.reason)))


def active(profile: sa.FromClause, now: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return profile.c.subscription_status == "active"


CONSENT = {"email": active, "sms": active, "push": active}
