"""Places where a test can end the process: `failpoint("after_claim")` does nothing unless the environment names it.

`JOURNEYS_FAILPOINTS=after_claim=kill,before_mark=raise:3`: at the named place the process kills itself (SIGKILL) or raises, the third
time it comes by. The names are FAILPOINTS; a name that is none of them is an error, so that a test cannot pass by a typing mistake.
"""

from __future__ import annotations

import os
import signal
from functools import lru_cache
from threading import Lock
from typing import NoReturn

FAILPOINTS = (
    "in_gate",
    "after_gate",
    "after_render",
    "in_claim",
    "after_claim",
    "before_send",
    "after_yes",
    "before_mark",
    "in_mark",
    "after_mark",
    "in_rescue",
)
VARIABLE = "JOURNEYS_FAILPOINTS"


class FailpointError(RuntimeError):
    """Raised where a failpoint says `raise`, and for a variable that cannot be read."""


class _Armed:
    def __init__(self, how: str, times: int) -> None:
        self.how = how
        self.left = times
        self.lock = Lock()

    def reached(self) -> bool:
        with self.lock:
            self.left -= 1
            return self.left == 0


def failpoint(name: str) -> None:
    """Nothing, or the end of this process, if JOURNEYS_FAILPOINTS names `name`."""
    armed = _armed(os.environ.get(VARIABLE, ""))
    if armed and (point := armed.get(name)) and point.reached():
        if point.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise FailpointError(f"failpoint {name}")


@lru_cache(maxsize=8)
def _armed(text: str) -> dict[str, _Armed]:
    return dict(_read(part.strip()) for part in text.split(",") if part.strip())


def _read(part: str) -> tuple[str, _Armed]:
    name, _, how = part.partition("=")
    how, _, times = how.partition(":")
    if name not in FAILPOINTS or how not in ("kill", "raise") or not (times or "1").isdigit():
        _refuse(part)
    return name, _Armed(how, int(times or "1"))


def _refuse(part: str) -> NoReturn:
    raise FailpointError(f"{VARIABLE}: expected NAME=kill or NAME=raise[:n-th time] with a name of {', '.join(FAILPOINTS)}, got {part!r}")
