"""One micro-batch: what all its parts share."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.engine.plans import Plans
from journey_pipelines.engine.reports import TickReport

#: a customer makes at most this many rounds in a batch (engine.md, 2)
ROUNDS_PER_CUSTOMER = 8


@dataclass
class Batch:
    """A transaction that holds `shards`, at engine time `now` (inclusive), with what it has done so far."""

    conn: sa.Connection
    plans: Plans
    now: datetime
    shards: list[int]
    size: int
    report: TickReport

    def values(self, **more: Any) -> dict[str, Any]:
        """The run-time parameters of compiled statements (`compiler.statement`)."""
        return {
            "now": self.now,
            "shards": self.shards,
            "row_limit": self.size,
            "salt": self.plans.salt,
            "default_zone": self.plans.default_zone,
            **more,
        }
