"""The engine's clock as the database keeps it: real time by default, a faster past in the demo (architecture.md, D3).

Engine SQL takes `:now`; a batch reads `clock_now` once and passes it on. The clock never passes the wall.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from journey_pipelines.store.tables import engine_clock

MAX_RATE = 100_000.0


def clock_now(conn: sa.Connection) -> datetime:
    """The engine's time, aware, in UTC."""
    now: datetime = conn.execute(sa.select(sa.func.journeys.clock_now(type_=sa.TIMESTAMP(timezone=True)))).scalar_one()
    return now.astimezone(UTC)


def set_clock(conn: sa.Connection, engine_at: datetime, rate: float = 1.0) -> None:
    """From now on the clock shows `engine_at` and runs at `rate` seconds a second, until it meets the wall.

    Raises ValueError for a time without zone and for a rate outside (0, 100000].
    """
    if engine_at.tzinfo is None:
        raise ValueError(f"set_clock: engine_at must carry a time zone, got {engine_at.isoformat()}")
    if not 0 < rate <= MAX_RATE:
        raise ValueError(f"set_clock: rate must be above 0 and at most {MAX_RATE:.0f}, got {rate}")
    conn.execute(sa.update(engine_clock).values(wall_at=sa.func.clock_timestamp(), engine_at=engine_at, rate=rate))
