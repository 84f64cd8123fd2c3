"""One micro-batch: what all its parts share."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.engine.low_water import LowWater
from journey_pipelines.engine.plans import Plans
from journey_pipelines.engine.reports import TickReport
from journey_pipelines.store.patience import BEGINNING

#: a customer makes at most this many rounds in a batch (engine.md, 2)
ROUNDS_PER_CUSTOMER = 8


@dataclass
class Batch:
    """A transaction that holds `shards`, at engine time `now` (inclusive), with what it has done so far.

    stopped: workflows that are held or paused: nobody in them advances. marks: where the ids of what this batch writes begin. water: where
    its questions begin.
    """

    conn: sa.Connection
    plans: Plans
    now: datetime
    shards: list[int]
    size: int
    report: TickReport
    stopped: frozenset[str] = frozenset()
    marks: dict[str, int] = field(default_factory=dict)
    water: LowWater = field(default_factory=LowWater)
    #: dates, changes and segments at the instant of a schedule's tick come after it
    moments_until: datetime | None = None
    #: workflow -> bucket of time -> journeys entered, for the breaker
    entered: dict[str, dict[datetime, int]] = field(default_factory=dict)

    def values(self, **more: Any) -> dict[str, Any]:
        """The run-time parameters of compiled statements (`compiler.statement`)."""
        return {
            "now": self.now,
            "shards": self.shards,
            "due_from": BEGINNING,
            "row_limit": self.size,
            "salt": self.plans.salt,
            "default_zone": self.plans.default_zone,
            **more,
        }
