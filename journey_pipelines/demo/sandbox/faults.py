"""Telling the sandbox to fail: one mode per channel, for a number of messages or until told otherwise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# What each mode does, in the words of the page. "Kept" means the message is in the inbox: the sender was not told.
EMAIL_MODES = {
    "ok": "accept",
    "421": "421 at MAIL FROM and close: try later",
    "451": "451 after the final dot: not kept, try later",
    "550": "550 at RCPT TO: refused for good",
    "timeout_after_accept": "kept, then silence instead of the answer",
    "drop_after_dot": "kept, then the connection is dropped instead of the answer",
    "reset": "the same as drop_after_dot",
    "refuse": "the connection is closed before the greeting: not kept",
}
HTTP_MODES = {
    "ok": "accept",
    "429": "429 with Retry-After: not kept",
    "500": "500: not kept",
    "timeout_after_accept": "kept, then silence instead of the answer",
    "reset": "kept, then the connection is reset instead of the answer",
    "refuse": "the connection is reset before anything is read: not kept",
}
MODES = {"email": EMAIL_MODES, "sms": HTTP_MODES, "push": HTTP_MODES}


class FaultError(ValueError):
    """The control request asks for something the sandbox cannot do."""


@dataclass
class Fault:
    """`count` None = until told otherwise; `seconds` = how long a silence lasts; `retry_after` is sent as it is, nonsense included."""

    mode: str = "ok"
    count: int | None = None
    seconds: float = 60.0
    retry_after: str = "2"


class Faults:
    """The modes of the three channels."""

    def __init__(self) -> None:
        self._faults = {channel: Fault() for channel in MODES}

    def set(self, channel: str, mode: str, count: int | None = None, seconds: float = 60.0, retry_after: str = "2") -> Fault:
        if channel not in MODES:
            raise FaultError(f"channel: expected one of {', '.join(MODES)}, got {channel!r}")
        if mode not in MODES[channel]:
            raise FaultError(f"mode of {channel}: expected one of {', '.join(MODES[channel])}, got {mode!r}")
        if count is not None and count < 1:
            raise FaultError(f"count: expected a positive number or none at all, got {count}")
        if not 0 < seconds <= 3600:
            raise FaultError(f"seconds: expected more than 0 and at most 3600, got {seconds}")
        self._faults[channel] = Fault(mode, None if mode == "ok" else count, seconds, retry_after)
        return self._faults[channel]

    def peek(self, channel: str) -> Fault:
        return self._faults[channel]

    def take(self, channel: str) -> Fault:
        """The fault for the next message of a channel; uses up one of its count."""
        fault = self._faults[channel]
        if fault.mode == "ok" or fault.count is None:
            return fault
        fault.count -= 1
        if fault.count == 0:
            self._faults[channel] = Fault()
        return Fault(fault.mode, 1, fault.seconds, fault.retry_after)

    def as_json(self) -> dict[str, dict[str, Any]]:
        return {channel: asdict(fault) for channel, fault in self._faults.items()}
