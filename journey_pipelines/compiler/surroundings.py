"""What of the whole project a workflow's statements are compiled with: a change of it compiles them anew, and makes no new version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any


@dataclass(frozen=True)
class Surroundings:
    """brand: `brand.*` of the policies. expires: category -> life of an unsent message.

    named: the built-in event types that something deployed names (a trigger, a wait, a rule, an expression): only these are written.
    segments: the segments whose transitions something names. watched: the profile keys that a condition or a date reads.
    """

    brand: Mapping[str, Any] = field(default_factory=dict)
    expires: Mapping[str, timedelta] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()
