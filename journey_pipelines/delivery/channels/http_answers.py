"""What an HTTP answer, or its absence, says about a message (delivery.md): shared by every channel that speaks HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from journey_pipelines.delivery.channel import Idempotency, Outcome

CONNECT_PAUSE = 15.0
CREDENTIALS_PAUSE = 60.0
BUSY_PAUSE = 30.0
# An hour: whatever a provider asks for, its messages are looked at again in an hour
MAX_RETRY_AFTER = 3600.0
_TRY_AGAIN = {408, 409, 425}


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds of a Retry-After header, a number or a date (RFC 9110 10.2.3), within 1 second and 1 hour; None where it says nothing
    usable.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - (now or datetime.now(UTC))).total_seconds()
    return min(MAX_RETRY_AFTER, max(1.0, seconds))


def outcome_of_status(status: int, headers: Mapping[str, str], said: str, idempotency: Idempotency, *, shared: bool) -> Outcome:
    """The outcome of an answer other than 2xx. `shared`: all messages go to one provider, so its being busy is everybody's pause."""
    reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    wait = retry_after(headers.get("Retry-After"))
    if status in (401, 403) and shared:
        return Outcome("unsent", f"credentials refused: {reason}", pause=CREDENTIALS_PAUSE)
    if status == 429 or (status == 503 and wait is not None):
        pause = wait or BUSY_PAUSE
        return Outcome("postponed", reason, wait=pause, pause=pause if shared else None)
    if status in _TRY_AGAIN or status == 503 or (status in (401, 403) and not shared):
        return Outcome("retry", reason, wait=wait)
    if status >= 500:
        # the provider's fault, at an unknown point of its work
        return Outcome("retry", reason, wait=wait) if idempotency == "key" else Outcome("unknown", reason)
    if 300 <= status < 400:
        return Outcome("failed", f"{reason}: redirects are not followed")
    return Outcome("failed", reason)


def outcome_of_error(error: BaseException, *, shared: bool) -> Outcome:
    """The outcome of a request that got no answer: a connection that never stood is proof, everything later is doubt."""
    said = (" ".join(str(error).split()) or type(error).__name__)[:300]
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return Outcome("failed", f"bad address: {said}")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Outcome("postponed", f"connect: {said}", pause=CONNECT_PAUSE) if shared else Outcome("retry", f"connect: {said}")
    return Outcome("unknown", f"no answer: {said}")
