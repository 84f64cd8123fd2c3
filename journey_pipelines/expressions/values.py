"""The truth table in Python: what every operator and filter gives for every pair of values, missing and mismatched ones included.

A value is None (missing), bool, Decimal (|x| < 1e15), str, an aware datetime in UTC, or JSON (list or mapping). Nothing here raises for
any value. The SQL functions of the migration are the same table for rows; the differential tests hold the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from jinja2 import Undefined

from .constants import NUMBER_LIMIT

# Results of arithmetic have this many decimals: a fixed number makes division the same here and in PostgreSQL.
DECIMALS = 12
SPACES = " \t\n\r\f\v\u00a0"
EARLIEST = datetime(1, 1, 3, tzinfo=UTC)
LATEST = datetime(9999, 12, 29, tzinfo=UTC)

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,9})?))? ?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_NUMBER = re.compile(r" *[+-]?([0-9]{1,15}(\.[0-9]{0,20})?|\.[0-9]{1,20}) *")
_INDEX = re.compile(r"-?[0-9]{1,9}")


def normal(value: Any) -> Any:
    """Any Python value as a value of the language; what is out of range, NaN or undefined is None."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Decimal):
        number = value if isinstance(value, Decimal) else Decimal(str(value))
        return number if number.is_finite() and number.copy_abs() < NUMBER_LIMIT else None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, Undefined):
        return None
    return list(value) if isinstance(value, tuple) else value


def kind_of(value: Any) -> str | None:
    """num, text, bool, ts or json; None for what is missing. `value` is normal."""
    match value:
        case None:
            return None
        case bool():
            return "bool"
        case Decimal():
            return "num"
        case str():
            return "text"
        case datetime():
            return "ts"
    return "json"


def fitted(number: Fraction, digits: int = DECIMALS) -> Decimal | None:
    """Rounded half away from zero; None where that leaves the range of numbers."""
    scale = 10**digits
    scaled = abs(number) * scale
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    rounded = Decimal(-whole if number < 0 else whole).scaleb(-digits) if whole < 10**28 else None
    return rounded if rounded is not None and rounded.copy_abs() < NUMBER_LIMIT else None


def arithmetic(operator: str, left: Any, right: Any) -> Decimal | None:
    """+ - * / of two numbers, with 12 decimals; None for anything else, for a division by zero and for results of 1e15 and beyond."""
    a, b = normal(left), normal(right)
    if kind_of(a) != "num" or kind_of(b) != "num":
        return None
    x, y = Fraction(a), Fraction(b)
    match operator:
        case "+":
            return fitted(x + y)
        case "-":
            return fitted(x - y)
        case "*":
            return fitted(x * y)
    # 20 decimals are what both sides of a division keep, so that rounding twice cannot show
    divisor = _exact(y)
    return fitted(_exact(x) / divisor) if divisor else None


def _exact(number: Fraction) -> Fraction:
    scale = 10**20
    scaled = abs(number) * scale
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Fraction(-whole if number < 0 else whole, scale)


def equal(left: Any, right: Any) -> bool:
    """==: false where one is missing or the kinds differ; text that is a date equals the time it names."""
    a, b = _comparable(left, right)
    kind = kind_of(a)
    if kind is None or kind != kind_of(b):
        return False
    return _same_json(a, b) if kind == "json" else bool(a == b)


def less(left: Any, right: Any) -> bool:
    """<: numbers, texts by code point, and times; anything else is false."""
    a, b = _comparable(left, right)
    kind = kind_of(a)
    return kind in ("num", "text", "ts") and kind == kind_of(b) and bool(a < b)


def _comparable(left: Any, right: Any) -> tuple[Any, Any]:
    a, b = normal(left), normal(right)
    if isinstance(a, datetime) and isinstance(b, str):
        return a, parse_time(b)
    if isinstance(b, datetime) and isinstance(a, str):
        return parse_time(a), b
    return a, b


def _same_json(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same_json(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_same_json(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, float):
        a = Decimal(str(a))
    if isinstance(b, float):
        b = Decimal(str(b))
    return type(a) is type(b) and a == b if isinstance(a, str) or isinstance(b, str) else bool(a == b)


def compare(operator: str, left: Any, right: Any) -> bool:
    """One comparison by Jinja's name of its operator. ne and notin are the exact negations of eq and in."""
    match operator:
        case "eq":
            return equal(left, right)
        case "ne":
            return not equal(left, right)
        case "lt":
            return less(left, right)
        case "lteq":
            return less(left, right) or (_ordered(left, right) and equal(left, right))
        case "gt":
            return less(right, left)
        case "gteq":
            return less(right, left) or (_ordered(left, right) and equal(left, right))
        case "in":
            return holds(right, left)
    return not holds(right, left)


def _ordered(left: Any, right: Any) -> bool:
    return kind_of(_comparable(left, right)[0]) in ("num", "text", "ts")


def holds(container: Any, item: Any) -> bool:
    """in: an element of a list, a key of a mapping, a part of a text."""
    box, thing = normal(container), normal(item)
    if isinstance(box, str):
        return isinstance(thing, str) and thing in box
    if isinstance(box, Mapping):
        return isinstance(thing, str) and thing in box
    return isinstance(box, list) and any(equal(thing, element) for element in box)


def truth(value: Any) -> bool:
    """What a condition makes of a value: 0, '', an empty list or mapping and whatever is missing are false."""
    return bool(normal(value))


def text_of(value: Any) -> str | None:
    """A value as text; lists and mappings have none. Numbers in plain notation without idle zeros, times in ISO 8601 with Z."""
    plain = normal(value)
    match plain:
        case None | str():
            return plain
        case bool():
            return "true" if plain else "false"
        case Decimal():
            digits = f"{plain:f}"
            digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
            return "0" if digits in ("-0", "") else digits
        case datetime():
            whole = f"{plain:%H:%M:%S}"
            fraction = f".{plain.microsecond:06d}".rstrip("0").rstrip(".")
            return f"{plain.year:04d}-{plain.month:02d}-{plain.day:02d}T{whole}{fraction}Z"
    return None


def number_of(value: Any) -> Decimal | None:
    """A number, or the number a text spells."""
    plain = normal(value)
    if isinstance(plain, str):
        return Decimal(plain.strip(" ")) if len(plain) <= 40 and _NUMBER.fullmatch(plain) else None
    return plain if kind_of(plain) == "num" else None


def whole_of(value: Any) -> Decimal | None:
    """`number_of` without its decimals (towards zero)."""
    number = number_of(value)
    return None if number is None else Decimal(int(number))


def rounded(value: Any, digits: Any = 0) -> Decimal | None:
    """A number with `digits` decimals, half away from zero."""
    plain, places = normal(value), normal(digits)
    if kind_of(plain) != "num" or kind_of(places) != "num" or not 0 <= places <= DECIMALS:
        return None
    return fitted(Fraction(plain), int(places))


def length_of(value: Any) -> Decimal | None:
    """Characters of a text, elements of a list, keys of a mapping."""
    plain = normal(value)
    return Decimal(len(plain)) if isinstance(plain, str | list | Mapping) else None


def time_of(value: Any) -> datetime | None:
    """A time, or the time a text spells."""
    plain = normal(value)
    if isinstance(plain, str):
        return parse_time(plain)
    return plain if isinstance(plain, datetime) else None


def parse_time(text: str) -> datetime | None:
    """ISO 8601: '2026-02-28', '2026-02-28T09:30[:15[.123456]][Z|+01:00]', UTC where no offset is written; anything else is None."""
    found = _TIME.fullmatch(text) if len(text) <= 40 else None
    if not found:
        return None
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    seconds = Fraction(found[6] or 0)
    micros = (seconds * 2_000_000 + 1) // 2
    if micros >= 60_000_000 or ((year, month) == (1, 1) and day < 3) or ((year, month) == (9999, 12) and day > 29):
        return None
    offset = timedelta(0)
    if found[7] and found[7] not in "Zz":
        digits = found[7][1:].replace(":", "").ljust(4, "0")
        if int(digits[:2]) > 15 or int(digits[2:]) > 59:
            return None
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (-1 if found[7][0] == "-" else 1)
    try:
        local = datetime(year, month, day, int(found[4] or 0), int(found[5] or 0), tzinfo=UTC)
    except ValueError:
        return None
    return local + timedelta(microseconds=int(micros)) - offset


def days_between(start: Any, end: Any) -> Decimal | None:
    """Days from start to end, a day being 24 hours, with 12 decimals."""
    a, b = time_of(start), time_of(end)
    if a is None or b is None:
        return None
    gap = b - a
    micros = (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds
    return fitted(Fraction(micros, 86_400_000_000))


def later(value: Any, length: timedelta) -> datetime | None:
    """A time plus elapsed time; None past the ends of the calendar."""
    start = time_of(value)
    if start is None:
        return None
    try:
        end = start + length
    except OverflowError:
        return None
    return end if EARLIEST <= end <= LATEST else None


def is_index(key: str) -> bool:
    """Whether a text would be a place in a list."""
    return _INDEX.fullmatch(key) is not None


def part(container: Any, key: str | int) -> Any:
    """What a list or mapping holds under a key, normal; a list takes numbers, a mapping texts, and either is read from the other's form."""
    box = normal(container)
    if isinstance(box, Mapping):
        return normal(box.get(key if isinstance(key, str) else str(key)))
    if isinstance(box, list) and (isinstance(key, int) or is_index(key)):
        index = int(key)
        return normal(box[index]) if -len(box) <= index < len(box) else None
    return None
