"""The clock as dispatch reads it, once per batch.

Journeys, expiry and `send_after` live on the engine's clock, which a demo runs at hundreds of times the wall's speed. A lease and a pause
before a retry are about real processes and real providers: their lengths are seconds of the wall, and `after` says what the engine's
clock will show when they are over. So a lease of 90 s is 90 s for the worker that holds it, at any rate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from journey_pipelines.store.tables import engine_clock

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """Seconds that only grow, also while this process is stopped or the machine asleep: what a lease is measured by."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True, slots=True)
class Reading:
    """The engine's time at one moment, `now`, and how it goes on."""

    now: datetime
    wall: datetime
    wall_at: datetime
    engine_at: datetime
    rate: float

    def after(self, seconds: float) -> datetime:
        """What the engine's clock will show after so many seconds of wall time."""
        return self.now + (self._shown(self.wall + timedelta(seconds=seconds)) - self._shown(self.wall))

    def _shown(self, wall: datetime) -> datetime:
        # compared as seconds: a fast clock that met the wall years ago would be past year 9999
        progress = (wall - self.wall_at).total_seconds() * self.rate
        behind = (wall - self.engine_at).total_seconds()
        return wall if progress >= behind else self.engine_at + timedelta(seconds=progress)


def read_clock(conn: sa.Connection, now: datetime | None = None) -> Reading:
    """The clock, or `now` in its place where the caller hands in the time."""
    wall, wall_at, engine_at, rate = conn.execute(
        sa.select(sa.func.clock_timestamp(), engine_clock.c.wall_at, engine_clock.c.engine_at, engine_clock.c.rate)
    ).one()
    reading = Reading(wall, wall, wall_at, engine_at, rate)
    shown = reading._shown(wall) if now is None else now
    return Reading(shown.astimezone(UTC), wall, wall_at, engine_at, rate)
