"""How long a dear look is left out: the rest of low-water marks is with those who keep them.

Under an old snapshot the dead of a queue stay in its index, and a question about the queue's first row reads them all. Who asks often asks
from where it has found nothing, and from the queue's beginning only where that is cheap, or after a while.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: before all times that a queue can hold
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
#: of an empty queue, so far back are rows expected: those of transactions under way
OVERLAP = timedelta(seconds=10)
#: seconds; a look that took longer is left out until PATIENCE times its time has gone by: it costs at most a twentieth of the time
SLOW, PATIENCE = 0.01, 20.0


@dataclass
class Patience:
    """Of one question: how long its last whole look took, and when that was."""

    _seconds: float = 0.0
    _ended: float = 0.0

    @property
    def over(self) -> bool:
        """Whether to look at everything again."""
        return self._seconds <= SLOW or time.monotonic() >= self._ended + PATIENCE * self._seconds

    def looked(self, since: float) -> None:
        """A whole look began at `since`, of time.monotonic(), and has ended."""
        self._ended = time.monotonic()
        self._seconds = self._ended - since

    def forget(self) -> None:
        """The next look is a whole one."""
        self._seconds = 0.0
