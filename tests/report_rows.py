"""Rows of the engine's tables for tests of the reports: what happened is said in a line, and written as the engine writes it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from journey_pipelines.store import tables as t

Moves = Sequence[tuple[timedelta, str]]
"""How long after entry the journey came to which step; the first is the entry itself."""


class Rows:
    """Writes through one connection; ids of journeys are the database's own."""

    def __init__(self, conn: sa.Connection) -> None:
        self.conn = conn
        self._numbers = itertools.count(1)

    def workflow(
        self,
        workflow_id: str,
        steps: Sequence[str],
        *,
        version: int = 1,
        is_current: bool = True,
        name: str | None = None,
        status: str = "active",
        **document: Any,
    ) -> None:
        """A deployed version; `document` is what else its definition holds (goal, entry, description)."""
        workflow = {"id": workflow_id, "steps": [{"id": step} for step in steps], **document}
        self._insert(
            t.automation_workflows,
            id=workflow_id,
            version=version,
            is_current=is_current,
            name=name or workflow_id,
            status=status,
            category="marketing",
            definition={"workflow": workflow},
            content_hash=f"{workflow_id}{version}",
            deployed_at=datetime.fromisoformat("2026-01-01T00:00Z"),
        )
        for position, step in enumerate(steps):
            self._insert(
                t.workflow_steps,
                workflow_id=workflow_id,
                version=version,
                step_key=step,
                position=position,
                step_uid=position,
                entry_uid=position,
                wait_kind="none",
            )

    def journey(
        self,
        workflow_id: str,
        entered_at: datetime,
        moves: Moves,
        end: tuple[timedelta, str] | None = None,
        *,
        version: int = 1,
        trigger: str = "t",
        held_out: bool = False,
        due_at: datetime | None = None,
    ) -> int:
        """A journey with its transitions; `end` is when and why. Returns its id."""
        number = next(self._numbers)
        ended_at = entered_at + end[0] if end else None
        at = entered_at + moves[-1][0]
        customer = f"c{number}"
        journey_id: int = self.conn.execute(
            sa.insert(t.customer_journeys)
            .values(
                workflow_id=workflow_id,
                version=version,
                customer_id=customer,
                shard=0,
                trigger_id=trigger,
                status="ended" if end else "active",
                step_key=moves[-1][1],
                step_uid=0,
                at=at,
                at_seq=0,
                due_at=due_at or at + timedelta(days=3650),
                due_seq=0,
                entered_at=entered_at,
                entered_seq=number,
                ended_at=ended_at,
                exit_reason=end[1] if end else None,
                held_out=held_out,
            )
            .returning(t.customer_journeys.c.id)
        ).scalar_one()
        steps = [None, *(step for _, step in moves)]
        arrivals = [(when, step, "entered" if n == 0 else "next") for n, (when, step) in enumerate(moves)]
        for from_step, (when, to_step, why) in zip(steps, [*arrivals, *([(end[0], None, end[1])] if end else [])], strict=False):
            self.transition(journey_id, workflow_id, from_step, to_step, entered_at + when, why, version=version, customer=customer)
        return journey_id

    def transition(
        self,
        journey_id: int,
        workflow_id: str,
        from_step: str | None,
        to_step: str | None,
        at: datetime,
        why: str,
        *,
        version: int = 1,
        customer: str = "c",
    ) -> None:
        self._insert(
            t.journey_transitions,
            journey_id=journey_id,
            workflow_id=workflow_id,
            version=version,
            customer_id=customer,
            visit=1,
            from_step=from_step,
            to_step=to_step,
            at=at,
            at_seq=0,
            recorded_at=at,
            why=why,
        )

    def message(
        self,
        workflow_id: str,
        planned_at: datetime,
        channel: str = "email",
        state: str = "planned",
        reason: str | None = None,
        *,
        accepted_at: datetime | None = None,
        journey_id: int = 0,
        version: int = 1,
    ) -> None:
        number = next(self._numbers)
        self._insert(
            t.messages,
            message_key=f"k{number}",
            journey_id=journey_id,
            step_key="s",
            action_id="a",
            visit=number,
            slot=channel,
            workflow_id=workflow_id,
            workflow_version=version,
            customer_id="c",
            shard=0,
            channel=channel,
            category="marketing",
            planned_at=planned_at,
            created_at=planned_at,
            send_after=planned_at,
            expires_at=planned_at + timedelta(days=1),
            state=state,
            reason=reason,
            accepted_at=(accepted_at or planned_at) if state == "accepted" else None,
            updated_at=planned_at,
        )

    def conversion(self, journey_id: int, workflow_id: str, at: datetime, exposed: bool, value: float | None = None) -> None:
        self._insert(
            t.conversions,
            journey_id=journey_id,
            event_seq=next(self._numbers),
            workflow_id=workflow_id,
            version=1,
            customer_id="c",
            event_type="purchase",
            at=at,
            value=value,
            exposed=exposed,
        )

    def _insert(self, table: sa.Table, **values: Mapping[str, Any] | Any) -> None:
        self.conn.execute(sa.insert(table).values(**values))
