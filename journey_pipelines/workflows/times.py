"""Texts that mean a time or a rate: '09:00', a cron line, a zone, '2026-11-27 09:00', '-7 days', '5000/hour'.

Each function takes the text and gives its value or raises `TimeTextError`, whose message says what was expected; the readers add the place.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from journey_pipelines.expressions.durations import Duration, DurationError
from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.model import Offset, Rate

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_GROUPS: dict[str, tuple[str, ...]] = {"weekdays": WEEKDAYS[:5], "weekends": WEEKDAYS[5:]}
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_LOOSE_CLOCK = re.compile(r"(\d{1,2})(?:[:.h](\d{2}))?\s*(am|pm)?", re.IGNORECASE)
_RATE = re.compile(r"(\d{1,9})\s*/\s*([a-z]+)")
_PER = ("second", "minute", "hour", "day")
# cronsim's word for a field -> ours; a day may be wrong for the months only
_CRON_FIELDS = {
    "minute": "minute", "hour": "hour", "day-of-month": "day of the months named", "month": "month", "day-of-week": "day of the week",
}  # fmt: skip
# a year of its own, so that no cron line depends on when it is checked; 2028 has a 29 February
_CRON_FROM = datetime(2028, 1, 1, tzinfo=UTC)


class TimeTextError(ValueError):
    """The text is not what it should be; the message says what was expected, and what may have been meant."""


def clock_time(text: str) -> str:
    """'HH:MM' of a wall clock."""
    if _CLOCK.fullmatch(text):
        return text
    raise TimeTextError(f"expected a time of day from 00:00 to 23:59, such as '09:00', got {text!r}.{_nearest_clock(text)}")


def _nearest_clock(text: str) -> str:
    found = _LOOSE_CLOCK.fullmatch(text.strip())
    if not found:
        return ""
    hour, minute = int(found[1]), int(found[2] or 0)
    half = (found[3] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour == 24 and minute == 0:
        hour = 0
    return f" Did you mean '{hour:02d}:{minute:02d}'?" if hour < 24 and minute < 60 else ""


def weekdays(word: str) -> tuple[str, ...]:
    """'mon', 'weekdays', 'weekends' -> the days."""
    if word in WEEKDAYS:
        return (word,)
    if word in _GROUPS:
        return _GROUPS[word]
    short = word.lower()[:3]
    near = f" Did you mean '{short}'?" if short in WEEKDAYS else did_you_mean(word, _GROUPS)
    raise TimeTextError(f"expected weekdays, weekends, or days out of {', '.join(WEEKDAYS)}, got {word!r}.{near}")


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of all time zones."""
    return frozenset(available_timezones())


def zone_name(text: str) -> str:
    """The name of a zone that zoneinfo knows."""
    if text in zones():
        return text
    near = next((zone for zone in zones() if zone.lower() == text.lower()), None)
    hint = f" Did you mean {near!r}?" if near else did_you_mean(text, zones())
    raise TimeTextError(f"expected the name of a time zone, such as Europe/Berlin, got {text!r}.{hint}")


def cron_line(text: str) -> str:
    """A cron line of five fields that has a next time, as cronsim reads it; spaces are made single."""
    fields = text.split()
    if len(fields) != 5 or len(text) > 200:
        five = "minute, hour, day of the month, month, day of the week"
        raise TimeTextError(f"expected a cron line of five fields ({five}), such as '0 9 * * mon', got {text!r}")
    try:
        next(CronSim(" ".join(fields), _CRON_FROM))
    except StopIteration:
        raise TimeTextError(f"expected a cron line that comes to pass, got {text!r}, which no day of fifty years meets") from None
    except (CronSimError, ValueError, AssertionError) as wrong:
        parts = zip(fields, _CRON_FIELDS.items(), strict=True)
        part = next((f"; {field!r} is no {ours}" for field, (theirs, ours) in parts if str(wrong) == f"Bad {theirs}"), "")
        raise TimeTextError(f"expected a cron line such as '0 9 * * mon', got {text!r}{part}") from None
    return " ".join(fields)


def either_day(cron: str) -> bool:
    """Whether a cron line names both days of the month and days of the week: cron then ticks on each of them, not where both meet.

    As in crontab(5), a field that begins with * restricts nothing and leaves the other one alone.
    """
    _, _, day, _, weekday = cron.split()
    return not day.startswith("*") and not weekday.startswith("*")


def local_minute(text: str) -> datetime:
    """'2026-11-27 09:00' -> that wall time, without a zone."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M")  # noqa: DTZ007  (a wall time has no zone until somebody's is taken)
    except ValueError:
        raise TimeTextError(f"expected a day and a time, such as '2026-11-27 09:00', got {text!r}") from None


def start_of(text: str, zone: str) -> datetime:
    """The instant of a day's or minute's begin in a zone, in UTC."""
    try:
        return instant(datetime.combine(date.fromisoformat(text), datetime.min.time()) if len(text) == 10 else local_minute(text), zone)
    except ValueError:
        raise TimeTextError(f"expected a day such as '2026-11-27', or a day and a time such as '2026-11-27 09:00', got {text!r}") from None


def end_of(text: str, zone: str) -> datetime:
    """As `start_of`; a day alone is meant with all of it."""
    try:
        if len(text) == 10:
            text = (date.fromisoformat(text) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        pass
    return start_of(text, zone)


def instant(wall: datetime, zone: str) -> datetime:
    """A wall time in a zone as an instant in UTC: the first after a gap, the first of two."""
    tz = ZoneInfo(zone)
    first, second = (wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first
    # in a gap `fold` 0 reads the wall with the offset before it, 1 with the one after: the change lies between the two
    low, high = second, first
    before = low.astimezone(tz).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        low, high = (middle, high) if middle.astimezone(tz).utcoffset() == before else (low, middle)
    return high


def signed_offset(text: str) -> Offset:
    """'-7 days', '3 hours', '+1 month'."""
    sign = text[:1] if text[:1] in "+-" else ""
    try:
        length = Duration.parse(text[len(sign) :])
    except DurationError as wrong:
        raise TimeTextError(str(wrong)) from None
    if not length:
        raise TimeTextError(f"expected more than no time, such as '-7 days', got {text!r}; take it out")
    return Offset(length=length, before=sign == "-")


def rate(text: str) -> Rate:
    """'5000/hour'."""
    found = _RATE.fullmatch(text.strip().replace("_", "").replace(",", ""))
    per = found[2].removesuffix("s") if found else ""
    if found and per in _PER and int(found[1]):
        return Rate(count=int(found[1]), per=Duration.parse(f"1 {per}"))
    near = did_you_mean(per, _PER) if found and per not in _PER else ""
    raise TimeTextError(f"expected how many in which time, such as '5000/hour' (per second, minute, hour or day), got {text!r}.{near}")
