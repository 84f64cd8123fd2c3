"""The deployed policies as far as sending needs them; deploy wrote them, this only reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from journey_pipelines.delivery.settle import RetryPolicy
from journey_pipelines.store.tables import deployment
from journey_pipelines.workflows.project import Policies


@dataclass(frozen=True, slots=True)
class DeliveryPolicies:
    """`brand` is what templates read; `zone` is for customers without one; `sender` and `reply_to` are for mails that name none."""

    brand: Mapping[str, Any] = field(default_factory=dict)
    zone: str = "UTC"
    sender: str | None = None
    reply_to: str | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)


def read_policies(conn: sa.Connection) -> DeliveryPolicies:
    """What the last deploy stored; before the first one, the defaults."""
    stored = conn.scalar(sa.select(deployment.c.policies))
    if not stored:
        return DeliveryPolicies()
    policies = Policies.model_validate(stored)
    retry = RetryPolicy(
        policies.retry.attempts, policies.retry.backoff.elapsed().total_seconds(), policies.retry.max_backoff.elapsed().total_seconds()
    )
    return DeliveryPolicies(policies.brand, policies.zone, policies.sender.from_address, policies.sender.reply_to, retry)
