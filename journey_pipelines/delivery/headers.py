"""Header values: one line, whatever a profile or a payload put into them. Which names a workflow may set is `workflows.headers`'
business.
"""

from __future__ import annotations

import re

_BREAKS = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")
MAX_VALUE = 2_000


def one_line(value: str) -> str:
    """Line breaks and control characters become one space."""
    return _BREAKS.sub(" ", value).strip()[:MAX_VALUE]
