"""What makes a condition worth asking again: the events, profile keys, segments and times that it reads.

The engine routes by words: an event type; `key:<profile key>`, for a profile that changed; `recheck:<uid>`, for a condition whose time has
come. Deploy writes the words of every condition to `interests`, a round collects those that happened in it, and where the two meet the
condition's statement runs, for the rows of the round that it may concern.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.expressions import dependencies

SEGMENT_EVENTS = frozenset({"segment.entered", "segment.left"})
#: the key of a profile that changes with every write of another one
WRITTEN = "updated_at"


def key_word(key: str) -> str:
    """The word for a profile key that changed."""
    return f"key:{key}"


def recheck_word(uid: int) -> str:
    """The word for a condition whose recheck time has come."""
    return f"recheck:{uid}"


@dataclass(frozen=True)
class Relevance:
    """event_types, keys (of profiles) and segments that a condition reads; timed: it may change by time alone."""

    event_types: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    timed: bool = False

    def with_keys(self, *keys: str) -> Relevance:
        """The same, and further profile keys."""
        return replace(self, keys=self.keys | set(keys))

    def words(self) -> set[str]:
        """Everything that a round may hold and that concerns the condition, but its recheck."""
        return {*self.event_types, *(SEGMENT_EVENTS if self.segments else ()), *(key_word(key) for key in self.keys)}

    def rows(self, *more: str) -> sa.ColumnElement[bool]:
        """Which rows of a round concern the condition; `more`: further types."""
        b = batch_events.c
        types = sorted({*self.event_types, *(SEGMENT_EVENTS if self.segments else ()), *more})
        where: list[sa.ColumnElement[bool]] = [b.type.in_(types)] if types else []
        if self.keys:
            keys = sa.literal(sorted(self.keys), ARRAY(sa.Text))
            where += [b["keys"].op("&&", is_comparison=True)(keys), b.profile.op("?|", is_comparison=True)(keys)]
        if WRITTEN in self.keys:
            where.append(b.profile.is_not(None))
        return sa.or_(*where) if where else sa.false()


def relevance_of(texts: Iterable[str | None], types: Mapping[str, str]) -> Relevance:
    """Of several conditions together."""
    found = [dependencies(text, types) for text in texts if text]
    return Relevance(
        frozenset().union(*(d.event_types for d in found)),
        frozenset().union(*(d.customer_keys for d in found)),
        frozenset().union(*(d.segments for d in found)),
        any(d.timed for d in found),
    )
