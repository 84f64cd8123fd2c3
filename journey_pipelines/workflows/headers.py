"""Which headers a workflow may set on a mail or a webhook: none that forges, doubles or breaks a message."""

from __future__ import annotations

import re
from typing import Literal

_NAME = re.compile(r"[A-Za-z0-9-]{1,60}")

# Written by the channel itself, or able to change where a mail goes and how it is read
_MAIL = frozenset({
    "from", "sender", "reply-to", "to", "cc", "bcc", "date", "message-id", "subject", "mime-version", "received", "return-path",
    "dkim-signature", "authentication-results", "in-reply-to", "references", "x-message-key", "auto-submitted",
})  # fmt: skip
_HTTP = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect", "keep-alive", "proxy-authorization",
    "proxy-connection", "idempotency-key", "webhook-id",
})  # fmt: skip
_PREFIXES = {"mail": ("content-", "resent-", "arc-", "list-unsubscribe"), "http": ("proxy-", "sec-")}


def header_problem(name: str, kind: Literal["mail", "http"]) -> str | None:
    """Why a workflow may not set this header, or None."""
    if not _NAME.fullmatch(name):
        return f"header {name[:80]!r}: expected a name of letters, digits and dashes, at most 60"
    if name.lower() in (_MAIL if kind == "mail" else _HTTP) or name.lower().startswith(_PREFIXES[kind]):
        return f"header {name!r} is written by the channel, a workflow may not set it"
    return None
