"""How much each measurement makes: the sizes that figures are quoted for, and small ones that only show that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Customers, journeys and seconds. `parked` is measured in this order, on one table that grows, in so many `rounds` each."""

    throughput: int = 200_000
    branch: int = 1_000_000
    parked: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    rounds: int = 8
    workflows: int = 200
    due: int = 10_000
    segment: int = 1_000_000
    latency_seconds: float = 180.0


FULL = Sizes()
QUICK = Sizes(
    throughput=5_000,
    branch=20_000,
    parked=(1_000, 10_000),
    rounds=2,
    workflows=10,
    due=500,
    segment=20_000,
    latency_seconds=10.0,
)
