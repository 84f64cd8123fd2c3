"""Figures in words, and days as instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from reports.days import ReportDayError, day_of, long_day, short_day, span, window
from reports.words import Rate, count, duration, phrase


@pytest.mark.parametrize(
    ("numerator", "denominator", "text", "value"),
    [
        (0, 0, "too few", None),
        (29, 29, "too few", None),
        (0, 30, "0.0\u00a0%", 0.0),
        (20, 30, "66.7\u00a0%", 0.6667),
        (500, 500, "100.0\u00a0%", 1.0),
    ],
)
def test_a_rate_of_fewer_than_thirty_is_not_printed(numerator: int, denominator: int, text: str, value: float | None) -> None:
    rate = Rate(numerator, denominator)
    assert (str(rate), rate.value, rate.basis) == (text, value, f"{numerator} of {denominator}")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0\u00a0s"),
        (89.4, "89\u00a0s"),
        (90, "2\u00a0min"),
        (3600, "60\u00a0min"),
        (5400, "1.5\u00a0h"),
        (36_000, "10\u00a0h"),
        (172_800, "2\u00a0days"),
        (8_640_000, "100\u00a0days"),
    ],
)
def test_durations_use_the_unit_that_people_would_use(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_counts_and_codes() -> None:
    assert count(1234567) == "1,234,567"
    assert phrase("no_consent") == "no consent"
    assert phrase(None) == "no reason recorded"


def test_a_window_is_whole_days_of_the_zone() -> None:
    days = window(date(2026, 4, 1), "Europe/Berlin")
    assert (days.first, days.last, len(days.bounds)) == (date(2026, 3, 5), date(2026, 4, 1), 29)
    lengths = [b - a for a, b in zip(days.bounds, days.bounds[1:], strict=False)]
    assert [n for n, length in enumerate(lengths) if length != timedelta(hours=24)] == [(date(2026, 3, 29) - days.first).days]
    assert min(lengths) == timedelta(hours=23)
    assert days.days()[-1] == days.last


def test_a_midnight_that_does_not_exist_is_the_first_instant_after_the_gap() -> None:
    """In Santiago the clocks went from 23:59:59 to 01:00 on 8 September 2024."""
    day = span(date(2024, 9, 8), date(2024, 9, 8), "America/Santiago")
    assert day.from_at == datetime(2024, 9, 8, 4, tzinfo=UTC)
    assert day.to_at - day.from_at == timedelta(hours=23)
    assert day_of(day.from_at, "America/Santiago") == date(2024, 9, 8)
    assert day_of(day.from_at - timedelta(seconds=1), "America/Santiago") == date(2024, 9, 7)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "UTC+3"])
def test_an_unknown_zone_is_named(zone: str) -> None:
    with pytest.raises(ReportDayError, match="expected a name of the time zone database"):
        span(date(2026, 1, 1), date(2026, 1, 1), zone)


def test_dates_do_not_follow_the_locale() -> None:
    assert long_day(date(2026, 5, 12)) == "Tuesday, 12 May 2026"
    assert short_day(date(2026, 9, 1)) == "1 Sep"
