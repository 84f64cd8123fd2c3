"""What each outcome means for the ledger."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from journey_pipelines.delivery.channel import Content, Idempotency, Outcome, Rendered
from journey_pipelines.delivery.settle import MAX_REASON, RetryPolicy, Settled, settle
from journey_pipelines.delivery.timing import Reading

NOW = datetime(2026, 3, 2, tzinfo=UTC)
CLOCK = Reading(NOW, NOW, NOW, NOW, 1.0)


def settled(outcome: Outcome, idempotency: Idempotency = "key", **fields: Any) -> Settled:
    message: dict[str, Any] = {"attempt": 1, "doubts": 0, "category": "marketing", **fields}
    rendered = Rendered(id=1, key="k", epoch=4, content=Content("a@example.org"), deadline=0, **message)
    return settle(rendered, outcome, idempotency, RetryPolicy(), CLOCK, random.Random(7))


@pytest.mark.parametrize(
    ("outcome", "idempotency", "fields", "state", "spent", "doubt"),
    [
        (Outcome("accepted"), "none", {}, "accepted", True, False),
        (Outcome("failed", "550"), "none", {}, "failed", True, False),
        (Outcome("retry", "451"), "none", {}, "retry", True, False),
        (Outcome("retry", "451"), "none", {"attempt": 2}, "retry", True, False),
        (Outcome("retry", "451"), "none", {"attempt": 3}, "dead", True, False),
        (Outcome("postponed", "429", pause=5), "key", {"attempt": 3}, "retry", False, False),
        (Outcome("unsent", "401", pause=60), "key", {"attempt": 3}, "planned", False, False),
        (Outcome("unsent", "lease"), "key", {}, "planned", False, False),
        (Outcome("unknown", "reset"), "key", {}, "retry", True, True),
        (Outcome("unknown", "reset"), "key", {"attempt": 3}, "in_doubt", True, True),
        (Outcome("unknown", "reset"), "none", {}, "in_doubt", True, True),
        (Outcome("unknown", "reset"), "none", {"category": "transactional"}, "retry", True, True),
        (Outcome("unknown", "reset"), "none", {"category": "transactional", "doubts": 1}, "in_doubt", True, True),
    ],
)
def test_states(outcome: Outcome, idempotency: Idempotency, fields: Any, state: str, spent: bool, doubt: bool) -> None:
    found = settled(outcome, idempotency, **fields)
    assert (found.state, found.attempt_spent, found.doubt, found.epoch) == (state, spent, doubt, 4)
    assert state in ("accepted", "planned") or found.reason


def test_waits_grow_are_spread_and_obey_the_provider() -> None:
    policy, chance = RetryPolicy(attempts=9, backoff=60, max_backoff=600), random.Random(3)
    waits = [[policy.wait(attempt, chance) for _ in range(200)] for attempt in (1, 2, 3, 9)]
    for some, longest in zip(waits, (60, 120, 240, 600), strict=True):
        assert longest / 2 <= min(some) < max(some) <= longest and len(set(some)) > 190
    after = settled(Outcome("retry", "503", wait=100)).send_after
    assert after is not None and timedelta(seconds=100) <= after - NOW <= timedelta(seconds=110)


def test_reasons_are_bounded() -> None:
    assert len(settled(Outcome("failed", "x" * 9_999)).reason or "") == MAX_REASON
