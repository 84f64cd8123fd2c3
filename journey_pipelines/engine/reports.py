"""What a tick and a drain did: the numbers that go to metadata, logs and the command line."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class TickReport:
    """Counts of rows; lag_seconds is how old the oldest event taken was, in the engine's time.

    followed: waits moved with their date. dated: plans of date triggers written. emitted: events, changes and segment transitions that
    journeys caused. parked: came due in a held or paused workflow. released: go on after a hold. limited: did not enter because of a limit.
    breaks: workflows whose sends the breaker held. asked: customers whom a schedule asked to enter. built: shards computed after a deploy.
    """

    rows_in: int = 0
    routed: int = 0
    quarantined: int = 0
    entered: int = 0
    keyless: int = 0
    refreshed: int = 0
    restarted: int = 0
    advanced: int = 0
    ended: int = 0
    planned: int = 0
    conflicts: int = 0
    conversions: int = 0
    woken: int = 0
    taken_back: int = 0
    segment_moves: int = 0
    failed: int = 0
    emitted: int = 0
    followed: int = 0
    dated: int = 0
    parked: int = 0
    released: int = 0
    limited: int = 0
    breaks: int = 0
    asked: int = 0
    planned_ticks: int = 0
    built: int = 0
    batches: int = 0
    lag_seconds: float = 0.0

    def add(self, other: "TickReport") -> None:
        """Sum of the counts, the greater lag."""
        for field in fields(TickReport):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, max(mine, theirs) if field.name == "lag_seconds" else mine + theirs)

    @property
    def progress(self) -> bool:
        """Whether any row moved: a loop that asks this stops when nothing does (engine.md, 19)."""
        moved = self.rows_in or self.advanced or self.entered or self.segment_moves or self.woken or self.failed
        return bool(moved or self.parked or self.released or self.planned_ticks or self.built)

    def figures(self) -> dict[str, Any]:
        """As a dict, headline figures first."""
        return asdict(self)


@dataclass
class DrainReport(TickReport):
    """A drain: its ticks summed, and why it stopped: `idle` (nothing due for the linger), `budget`, or `once`."""

    stopped_reason: str = ""
