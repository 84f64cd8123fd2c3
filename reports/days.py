"""Calendar days as instants. A report day is a local day of one zone: 23 or 25 hours long when the clocks change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

WINDOW_DAYS = 28
"""A page looks back four whole weeks, so that every weekday weighs the same."""

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class ReportDayError(ValueError):
    """A report was asked for a day or a zone that cannot be reported; the message says what to ask for instead."""


@dataclass(frozen=True)
class Span:
    """Consecutive report days: ``bounds`` are the instants at which they begin, and the one at which the last ends."""

    first: date
    last: date
    bounds: tuple[datetime, ...]

    @property
    def from_at(self) -> datetime:
        return self.bounds[0]

    @property
    def to_at(self) -> datetime:
        return self.bounds[-1]

    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range(len(self.bounds) - 1)]


def span(first: date, last: date, zone: str) -> Span:
    """The days ``first`` to ``last`` (both included) of ``zone``. Raises `ReportDayError` for a zone that does not exist."""
    try:
        info = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as unknown:
        raise ReportDayError(
            f"report zone: expected a name of the time zone database such as 'Europe/Berlin', got {zone!r}; "
            "correct the default zone in policies.yaml"
        ) from unknown
    if last < first:
        raise ReportDayError(f"report days: expected the first day not after the last, got {first} to {last}")
    # fold=0: a midnight that happens twice counts once, a midnight that is skipped is the first instant after the gap
    starts = [datetime.combine(first + timedelta(days=n), time.min, info).astimezone(UTC) for n in range((last - first).days + 2)]
    return Span(first, last, tuple(starts))


def window(day: date, zone: str, days: int = WINDOW_DAYS) -> Span:
    """The ``days`` days that end with ``day``."""
    return span(day - timedelta(days=days - 1), day, zone)


def day_of(at: datetime, zone: str) -> date:
    """The report day in which an instant lies."""
    return at.astimezone(ZoneInfo(zone)).date()


def long_day(day: date) -> str:
    """``Tuesday, 12 May 2026``: spelled here, because strftime follows the locale and a file must not."""
    return f"{WEEKDAYS[day.weekday()]}, {day.day} {MONTHS[day.month - 1]} {day.year}"


def short_day(day: date) -> str:
    """``12 May``."""
    return f"{day.day} {MONTHS[day.month - 1][:3]}"
