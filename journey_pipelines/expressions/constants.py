"""What may be written out in an expression: the limits of texts and numbers, and the forms of a date."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import Any

from jinja2 import nodes

# Numbers have up to 15 digits before the point, in the database as here (journeys.num): beyond that JSON readers disagree.
NUMBER_LIMIT = Decimal(10) ** 15

# code after % -> pattern of to_char
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DATE_CODES = {
    "Y": "YYYY",
    "m": "MM",
    "d": "DD",
    "e": "FMDD",
    "H": "HH24",
    "M": "MI",
    "S": "SS",
    "B": "FMMonth",
    "b": "Mon",
    "A": "FMDay",
    "a": "Dy",
}


def constant_problem(value: Any) -> str | None:
    """Why a constant cannot be used, or None."""
    if isinstance(value, str):
        if "\x00" in value:
            return "a text cannot hold the character NUL"
        if any("\ud800" <= c <= "\udfff" for c in value):
            return "a text cannot hold half of a surrogate pair"
    elif type(value) in (int, float) and not (math.isfinite(value) and abs(Decimal(str(value))) < NUMBER_LIMIT):
        return "numbers have at most 15 digits before the point"
    return None


def format_problem(node: nodes.Expr) -> str | None:
    """Why a node cannot be the format of `date`, or None."""
    if not isinstance(node, nodes.Const) or not isinstance(node.value, str) or len(node.value) > 100:
        return "the format of date is a text such as '%d.%m.%Y'"
    if problem := constant_problem(node.value):
        return problem
    rest = node.value.replace("%%", "")
    codes = [part[:1] for part in rest.split("%")[1:]]
    unknown = [code for code in codes if code not in DATE_CODES]
    if unknown:
        return f"the format of date knows %{', %'.join(DATE_CODES)}, got %{unknown[0]}"
    return None


def date_parts(form: str) -> list[tuple[bool, str]]:
    """A format as (is a code, code letter or plain text) in order."""
    parts: list[tuple[bool, str]] = []
    at = 0
    while at < len(form):
        if form[at] == "%" and at + 1 < len(form) and form[at + 1] in DATE_CODES:
            parts.append((True, form[at + 1]))
            at += 2
            continue
        width = 2 if form[at : at + 2] == "%%" else 1
        parts.append((False, form[at]))
        at += width
    return parts


def format_date(value: datetime, form: str) -> str:
    """A UTC datetime in a format whose codes are those of DATE_CODES; month and day names are English whatever the locale."""
    made = {
        "Y": f"{value.year:04d}",
        "m": f"{value.month:02d}",
        "d": f"{value.day:02d}",
        "e": str(value.day),
        "H": f"{value.hour:02d}",
        "M": f"{value.minute:02d}",
        "S": f"{value.second:02d}",
        "B": _MONTHS[value.month - 1],
        "b": _MONTHS[value.month - 1][:3],
        "A": _DAYS[value.weekday()],
        "a": _DAYS[value.weekday()][:3],
    }
    return "".join(made[text] if is_code else text for is_code, text in date_parts(form))
