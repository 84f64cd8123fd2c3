"""Lengths of time as people write them: '7 days', '90 minutes', '1 month', '1d', '1 day 12 hours'."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}
_SHORT = {
    "s": "second", "sec": "second", "m": "minute", "min": "minute", "h": "hour", "hr": "hour",
    "d": "day", "w": "week", "mo": "month", "y": "year",
}  # fmt: skip
_PART = re.compile(r"\s*(?:,\s*|and\s+)?(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]+)", re.IGNORECASE)

# A century: anything longer is a slip of the finger, and a time plus a century stays inside what dates can hold.
LONGEST_DAYS = 36_525


class DurationError(ValueError):
    """The text is not a length of time; the message says what was expected and what was found."""


class Duration:
    """A length of time: months and days are calendar units, seconds are elapsed time.

    Equal durations have equal months, days and seconds, whatever their text: '24 hours' is not '1 day', '1 week' is '7 days'.
    In a pydantic model a field of this type accepts a text and is written back as its text.
    """

    __slots__ = ("days", "months", "seconds", "text")

    months: int
    days: int
    seconds: float
    text: str

    def __init__(self, months: int = 0, days: int = 0, seconds: float = 0.0, text: str = "") -> None:
        object.__setattr__(self, "months", months)
        object.__setattr__(self, "days", days)
        object.__setattr__(self, "seconds", float(seconds))
        object.__setattr__(self, "text", text or _spell(months, days, seconds))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Duration does not change")

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read `text`; raises DurationError."""
        if not isinstance(text, str):
            raise DurationError(f"expected a duration such as '7 days' or '90 minutes', got {text!r}: write the unit")
        months = days = 0
        seconds = Decimal(0)
        at = 0
        seen: set[str] = set()
        stripped = text.strip()
        while at < len(stripped):
            found = _PART.match(stripped, at)
            if not found:
                break
            at = found.end()
            amount, unit = Decimal(found[1]), _unit(found[2], text)
            if unit in seen:
                raise DurationError(f"duration {text!r} names {unit}s twice")
            seen.add(unit)
            if unit in _SECONDS:
                seconds += amount * _SECONDS[unit]
            elif amount != int(amount):
                raise DurationError(f"duration {text!r}: {unit}s are whole numbers; write it in hours or minutes")
            elif unit in _DAYS:
                days += int(amount) * _DAYS[unit]
            else:
                months += int(amount) * _MONTHS[unit]
        if not seen or stripped[at:].strip():
            raise DurationError(f"expected a duration such as '7 days', '90 minutes', '36 hours', '2 weeks' or '1 month', got {text!r}")
        if months * 31 + days + seconds / 86_400 > LONGEST_DAYS:
            raise DurationError(f"duration {text!r} is longer than 100 years")
        return cls(months, days, float(seconds), stripped)

    def elapsed(self) -> timedelta:
        """The same as elapsed time, a day being 24 hours; raises DurationError for months, whose length depends on where they start."""
        if self.months:
            raise DurationError(f"duration {self.text!r}: months have no fixed length here; write days (30 days, 365 days)")
        return timedelta(days=self.days, seconds=self.seconds)

    @property
    def is_calendar(self) -> bool:
        """Whether it holds days or months, which a wait counts on the customer's wall clock."""
        return bool(self.months or self.days)

    def __bool__(self) -> bool:
        return bool(self.months or self.days or self.seconds)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Duration):
            return NotImplemented
        return (self.months, self.days, self.seconds) == (other.months, other.days, other.seconds)

    def __hash__(self) -> int:
        return hash((self.months, self.days, self.seconds))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"

    def __reduce__(self) -> tuple[Callable[..., Duration], tuple[int, int, float, str]]:
        return (Duration, (self.months, self.days, self.seconds, self.text))

    def __copy__(self) -> Duration:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Duration:
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls.parse(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "description": "a length of time", "examples": ["90 minutes", "7 days", "1 month"]}


def _unit(word: str, text: str) -> str:
    lower = word.lower()
    known = {**_SECONDS, **_DAYS, **_MONTHS}
    if lower in _SHORT:
        return _SHORT[lower]
    singular = lower.removesuffix("s")
    if singular in known:
        return singular
    if singular in _SHORT:
        return _SHORT[singular]
    raise DurationError(f"duration {text!r}: {word!r} is no unit; use seconds, minutes, hours, days, weeks, months or years")


def _spell(months: int, days: int, seconds: float) -> str:
    parts = [(months, "month"), (days, "day")]
    spelled = [f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n]
    if seconds or not spelled:
        number = int(seconds) if seconds == int(seconds) else seconds
        spelled.append(f"{number} second{'' if number == 1 else 's'}")
    return " ".join(spelled)
