"""`5000/hour` as counters can keep it: buckets of time, and how many more each may take.

A limit holds in any window of its length, whenever it begins. Entries and sends are counted in buckets of a sixtieth of that length; a
window touches at most so many whole buckets and one more, and all of them together stay below the limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from journey_pipelines.workflows.model import Limits, Rate

#: what is not limited is counted by the minute
MINUTE = timedelta(minutes=1)
_SHORTEST = timedelta(milliseconds=100)
#: where buckets begin
ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)


def bucket_length(rate: Rate | None) -> timedelta:
    """A sixtieth of the rate's time, at least 100 ms; a minute where there is no rate."""
    return max(_SHORTEST, rate.per.elapsed() / 60) if rate else MINUTE


def entry_bucket(limits: Limits | None) -> timedelta:
    """The length of the buckets in which a workflow's entries are counted."""
    return bucket_length(limits.entries if limits else None)


def bucket_of(at: datetime, length: timedelta) -> datetime:
    """When the bucket of `at` begins."""
    return ORIGIN + (at - ORIGIN) // length * length


def reach(rate: Rate) -> timedelta:
    """How far from a bucket the others lie that share a window with it."""
    length = bucket_length(rate)
    return -(-rate.per.elapsed() // length) * length


def allowances(rate: Rate, counted: Mapping[datetime, int], wanted: Mapping[datetime, int]) -> dict[datetime, int]:
    """Of those who want to enter, by bucket, how many may: the earliest first, so that no window of the rate's length holds more than its
    count. `counted`: by bucket, who is in already, at least `reach` before and behind those wanted.
    """
    length, span = bucket_length(rate), reach(rate) // bucket_length(rate)
    taken = {(at - ORIGIN) // length: n for at, n in counted.items()}
    allowed: dict[datetime, int] = {}
    for at in sorted(wanted):
        place = (at - ORIGIN) // length
        near = [n for n in range(place - span, place + span + 1) if taken.get(n)]
        # the fullest window that holds this bucket: windows that begin with a bucket in use, or here, are enough to look at
        fullest = max(
            sum(taken[n] for n in near if start <= n <= start + span) for start in {place, place - span, *(n for n in near if n <= place)}
        )
        allowed[at] = max(0, min(wanted[at], rate.count - fullest))
        taken[place] = taken.get(place, 0) + allowed[at]
    return allowed
