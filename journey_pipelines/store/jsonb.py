"""What PostgreSQL keeps of JSON and of text, asked before it is sent: one value that cannot be stored would fail its whole batch."""

from __future__ import annotations

import re
from typing import Any

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

#: intake refuses payloads nested deeper than 100 levels; their members are a level down
MAX_DEPTH = 97


def storable(value: Any, max_depth: int = MAX_DEPTH) -> bool:
    """Whether a parsed JSON value holds no NUL and no lone surrogate, and is nested at most `max_depth` levels deep.

    Looked at level by level, not by recursion: what comes from outside is nested as deep as it likes.
    """
    level: list[Any] = [value]
    for _ in range(max_depth + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if _UNSTORABLE.search(item):
                    return False
            elif isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
        if not below:
            return True
        level = below
    return False


def storable_text(text: str) -> str:
    """The text with what a text column cannot hold replaced."""
    return _UNSTORABLE.sub("�", text)
