"""From rows of the ledger to messages ready for their claim: the context each template sees, and one reason for each that cannot be
rendered.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import ValidationError

from journey_pipelines.delivery.actions import Actions
from journey_pipelines.delivery.channel import Content
from journey_pipelines.delivery.claim import Prepared
from journey_pipelines.delivery.gate import ADDRESS_COLUMNS
from journey_pipelines.delivery.policies import DeliveryPolicies
from journey_pipelines.delivery.settle import MAX_REASON
from journey_pipelines.delivery.templates import RenderError
from journey_pipelines.expressions.environment import customer_names, event_names
from journey_pipelines.store.tables import automation_workflows
from journey_pipelines.workflows.definition import Definition

Version = tuple[str, int]


class Renderer:
    """Keeps the compiled versions of a run: they are immutable, so what was loaded once stays right."""

    def __init__(self, policies: DeliveryPolicies) -> None:
        self._policies = policies
        self._versions: dict[Version, tuple[Actions, Definition] | RenderError] = {}

    def load(self, conn: sa.Connection, rows: Sequence[sa.Row[Any]]) -> None:
        """Read and compile the versions that `rows` need and this run has not seen. A version nobody can read fails its own messages
        only.
        """
        wanted = {(row.workflow_id, row.workflow_version) for row in rows} - self._versions.keys()
        if not wanted:
            return
        table = automation_workflows
        found: dict[Version, Any] = {
            (row.id, row.version): row.definition
            for row in conn.execute(
                sa.select(table.c.id, table.c.version, table.c.definition).where(sa.tuple_(table.c.id, table.c.version).in_(sorted(wanted)))
            )
        }
        for version in wanted:
            self._versions[version] = self._compile(version, found.get(version))

    def prepare(self, rows: Sequence[sa.Row[Any]], now: datetime) -> list[Prepared]:
        """In the order of `rows`. Rows whose address went away since the gate are left out: the next round's gate gives them their
        reason.
        """
        return [prepared for row in rows if (prepared := self._prepared(row, now)) is not None]

    def _prepared(self, row: sa.Row[Any], now: datetime) -> Prepared | None:
        content: Content | None = None
        error: str | None = None
        frozen = row.frozen_id is not None
        column = ADDRESS_COLUMNS.get(row.channel)
        address = getattr(row, column) if column else ""
        if frozen:
            content = Content(row.address, row.subject, row.body_text, row.body_html, row.headers)
        elif address is None:
            return None
        else:
            try:
                content = self._content(row, address, now)
            except RenderError as problem:
                error = str(problem)[:MAX_REASON]
        return Prepared(row.id, row.shard, row.customer_id, row.message_key, row.category, content, error, frozen)

    def _content(self, row: sa.Row[Any], address: str, now: datetime) -> Content:
        version = self._versions[(row.workflow_id, row.workflow_version)]
        if isinstance(version, RenderError):
            raise version
        actions, definition = version
        action = actions.get(row.step_key, row.action_id)
        return action.content(self._context(row, definition, now), address, now)

    def _context(self, row: sa.Row[Any], definition: Definition, now: datetime) -> dict[str, Any]:
        columns = row._mapping
        return {
            "customer": customer_names(
                {**columns, "created_at": row.customer_created_at, "updated_at": row.customer_updated_at}, definition.catalogue
            ),
            "event": event_names(row.event_type, row.entered_at, row.event),
            "arrived": event_names(row.arrived_type, row.arrived_at, row.arrived),
            "journey": {
                "id": row.journey_id, "entered_at": row.entered_at, "step_entered_at": row.planned_at, "visit": row.visit,
                "trigger": row.trigger_id,
            },
            "message": {
                "message_key": row.message_key, "step": row.step_key, "action": row.action_id, "channel": row.channel,
                "workflow": row.workflow_id, "category": row.category, "topic": row.topic, "planned_at": row.planned_at,
            },
            "brand": self._policies.brand,
            **({"unsubscribe_url": self._policies.brand["unsubscribe_url"]} if "unsubscribe_url" in self._policies.brand else {}),
            "current_date": f"{now.astimezone(self._zone(row.zone)):%Y-%m-%d}",
            "now": now,
        }  # fmt: skip

    def _zone(self, name: str | None) -> ZoneInfo:
        return _zone(name) or _zone(self._policies.zone) or ZoneInfo("UTC")

    def _compile(self, version: Version, stored: Any) -> tuple[Actions, Definition] | RenderError:
        where = f"workflow {version[0]} version {version[1]}"
        if stored is None:
            return RenderError(f"{where} is not deployed")
        try:
            definition = Definition.model_validate(stored)
        except ValidationError as error:
            first = error.errors()[0]
            return RenderError(f"{where} cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        return Actions(definition, self._policies.sender, self._policies.reply_to), definition


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):
        return None
