"""A small world for the engine's tests: a project written as YAML, people, their events, and time that only moves when told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.engine.deploy import DeployReport, deploy
from journey_pipelines.engine.reports import TickReport
from journey_pipelines.engine.tick import Worker
from journey_pipelines.store import moment_tables as m
from journey_pipelines.store import tables as t
from journey_pipelines.workflows.load import load_project

_STAND_STILL = "UPDATE journeys.engine_clock SET wall_at = clock_timestamp(), engine_at = :at, rate = 1e-9"

#: a Monday, far from every change of clocks
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def at(days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
    """A point in time, counted from the world's start."""
    return START + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


class World:
    """A database, a project's folder and one worker."""

    def __init__(self, db: sa.Engine, root: Path, *, batch_size: int = 10_000) -> None:
        self.db, self.root = db, root
        self.worker = Worker(db, batch_size=batch_size)

    # -- what a user writes ------------------------------------------------------------------------------------------

    def deploy(self, *workflows: str, policies: str = "", now: datetime = START) -> DeployReport:
        """Write the workflows into the project's folder, beside those that are there, and deploy it. Each may use the template `hello`."""
        if policies:
            (self.root / "policies.yaml").write_text(policies, encoding="utf-8")
        for text in workflows:
            folder = self.root / text.split("workflow:", 1)[1].split()[0]
            folder.mkdir(exist_ok=True)
            (folder / "hello.html").write_text("<p>Hello</p>", encoding="utf-8")
            (folder / "workflow.yaml").write_text(text, encoding="utf-8")
        project = load_project(self.root)
        assert not project.errors, "\n".join(map(str, project.errors))
        return deploy(self.db, project, now)

    def profile(self, customer: str, when: datetime = START, **fields: Any) -> None:
        with self.db.begin() as conn:
            # the app's write is received when it happens: the clock stands at that time
            conn.execute(sa.text(_STAND_STILL), {"at": when})
            conn.execute(sa.select(sa.func.journeys.upsert_profile(customer, sa.literal(fields, JSONB), when)))

    def event(
        self,
        customer: str,
        type_: str,
        when: datetime,
        *,
        received: datetime | None = None,
        profile: Mapping[str, Any] | None = None,
        **payload: Any,
    ) -> int:
        """Put an event into the inbox, received when it happened if nothing else is said; returns its place in the order of arrival."""
        row = {"customer_id": customer, "type": type_, "occurred_at": when, "received_at": received or when, "payload": payload}
        return self.events([{**row, "profile": profile} if profile is not None else row])[0]

    def events(self, rows: Sequence[dict[str, Any]]) -> list[int]:
        """Many events at once, in the order given; rows of one shape."""
        with self.db.begin() as conn:
            insert = sa.insert(t.event_inbox).returning(t.event_inbox.c.id, sort_by_parameter_order=True)
            return list(conn.scalars(insert, list(rows)))

    def tick(self, now: datetime) -> TickReport:
        """Everything that is due at `now`."""
        return self.worker.tick(now)

    def begin_worker(self, *, batch_size: int = 10_000) -> None:
        """A new process takes over: nothing is remembered but what the database holds."""
        self.worker = Worker(self.db, batch_size=batch_size)

    def begin_again(self, *, batch_size: int = 10_000) -> None:
        """Forget all that happened, keep what is deployed: the same events get the same places again."""
        deployed = {t.automation_workflows, t.workflow_steps, t.interests, t.deployment, m.segments}
        fixed = {t.engine_shards, t.delivery_shards, t.zone_offsets, t.engine_clock, t.engine_identity}
        names = ", ".join(str(table) for table in t.metadata.sorted_tables if table not in deployed | fixed)
        with self.db.begin() as conn:
            conn.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY"))
        self.worker = Worker(self.db, batch_size=batch_size)

    # -- what happened -----------------------------------------------------------------------------------------------

    def rows(self, table: sa.Table, customer: str | None = None, *, order: Sequence[str] = ("id",)) -> list[Any]:
        query = sa.select(table).order_by(*(table.c[name] for name in order))
        if customer is not None:
            query = query.where(table.c.customer_id == customer)
        with self.db.connect() as conn:
            return list(conn.execute(query))

    def journeys(self, customer: str | None = None) -> list[Any]:
        """Journeys in the order they were entered."""
        return self.rows(t.customer_journeys, customer)

    def journey(self, customer: str) -> Any:
        """The only journey of a customer."""
        (journey,) = self.journeys(customer)
        return journey

    def transitions(self, customer: str | None = None) -> list[Any]:
        return self.rows(t.journey_transitions, customer)

    def way(self, customer: str) -> list[str]:
        """The steps a customer reached, `end` where a journey ended, in the order they were written."""
        return [row.to_step or "end" for row in self.transitions(customer)]

    def messages(self, customer: str | None = None) -> list[Any]:
        return self.rows(t.messages, customer)

    def sent(self, customer: str) -> list[tuple[str, str]]:
        """(step, state) of a customer's rows in the ledger, by logical time."""
        return [(m.step_key, m.state) for m in self.rows(t.messages, customer, order=("planned_at", "id"))]

    def log(self, customer: str | None = None) -> list[Any]:
        """What was done besides messages."""
        return self.rows(t.workflow_action_logs, customer, order=("at", "journey_id", "step_key", "action_id"))

    def attributes(self, customer: str) -> dict[str, Any]:
        (profile,) = self.rows(t.customer_profiles, customer, order=("customer_id",))
        found: dict[str, Any] = profile.attributes
        return found

    def segments(self, customer: str) -> set[str]:
        """The segments a customer is in now."""
        return {row.segment_id for row in self.rows(t.segment_memberships, customer, order=("entered_at",)) if row.left_at is None}

    # -- what the other parts of the product do ----------------------------------------------------------------------

    def accept(self, customer: str, when: datetime) -> None:
        """Delivery's part: a provider took all that is planned for a customer."""
        m = t.messages
        planned = sa.update(m).where(m.c.customer_id == customer, m.c.state == "planned")
        with self.db.begin() as conn:
            conn.execute(planned.values(state="accepted", accepted_at=when, updated_at=when))

    def react(self, customer: str, type_: str, when: datetime, *, step: str, **payload: Any) -> int:
        """A provider's event (message.clicked ...) about the latest message that a step sent to the customer."""
        message = [m for m in self.messages(customer) if m.step_key == step][-1]
        return self.event(customer, type_, when, message_key=message.message_key, **payload)
