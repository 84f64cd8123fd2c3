"""Rates: no window of the rate's length ever holds more than its count, whatever came before and in whatever order it is counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey_pipelines.workflows.model import Rate
from journey_pipelines.workflows.rates import MINUTE, ORIGIN, allowances, bucket_length, bucket_of, entry_bucket, reach

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOURLY = Rate.model_validate({"count": 10, "per": "1 hour"})


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


@pytest.mark.parametrize(
    ("per", "length"),
    [("1 second", timedelta(milliseconds=100)), ("1 minute", timedelta(seconds=1)), ("1 hour", MINUTE), ("1 day", timedelta(minutes=24))],
)
def test_buckets_are_a_sixtieth(per: str, length: timedelta) -> None:
    rate = Rate.model_validate({"count": 1, "per": per})
    assert bucket_length(rate) == length and reach(rate) >= rate.per.elapsed()
    assert bucket_of(ORIGIN + length * 1.5, length) == ORIGIN + length


def test_without_a_limit_the_minute_counts() -> None:
    assert entry_bucket(None) == MINUTE


def test_the_earliest_come_first() -> None:
    assert allowances(HOURLY, {}, {at(0): 7, at(1): 7, at(59): 7, at(61): 7}) == {at(0): 7, at(1): 3, at(59): 0, at(61): 7}


def test_who_is_in_already_counts_before_and_behind() -> None:
    assert allowances(HOURLY, {at(0): 6}, {at(30): 9}) == {at(30): 4}
    assert allowances(HOURLY, {at(60): 6}, {at(30): 9}) == {at(30): 4}
    # 6 before and 6 behind lie in no window together
    assert allowances(HOURLY, {at(0): 6, at(70): 6}, {at(35): 9}) == {at(35): 4}
    assert allowances(HOURLY, {at(0): 6, at(50): 6}, {at(35): 9}) == {at(35): 0}


minutes = st.dictionaries(st.integers(0, 200).map(at), st.integers(0, 15), max_size=12)


@given(st.lists(minutes, min_size=1, max_size=5), st.integers(1, 30))
def test_no_window_is_ever_over_full(asked: list[dict[datetime, int]], count: int) -> None:
    rate = Rate.model_validate({"count": count, "per": "1 hour"})
    inside: dict[datetime, int] = {}
    for wanted in asked:
        allowed = allowances(rate, inside, wanted)
        assert all(0 <= allowed[when] <= wanted[when] for when in wanted)
        for when, n in allowed.items():
            inside[when] = inside.get(when, 0) + n
    for start in inside:
        # anything within a minute may lie anywhere in it: 61 buckets can share a window of 60 minutes
        assert sum(n for when, n in inside.items() if start <= when <= start + timedelta(hours=1)) <= count
