"""Small schemas that the rest is made of: ids, texts, expressions, durations, times of day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from journey_pipelines.workflows.base import END, ID_PATTERN
from journey_pipelines.workflows.waits import Weekday

Schema = dict[str, Any]

WEEKDAYS: tuple[str, ...] = get_args(Weekday)
WORKING_DAYS = ("weekdays", "weekends")
_FIXED_UNITS = (
    "[Ss]econds?", "[Ss]ecs?", "s", "[Mm]inutes?", "[Mm]ins?", "m", "[Hh]ours?", "[Hh]rs?", "h", "[Dd]ays?", "d", "[Ww]eeks?", "w",
)  # fmt: skip
_CALENDAR_UNITS = ("[Mm]onths?", "mo", "[Yy]ears?", "y")


def ref(name: str, description: str | None = None, **more: Any) -> Schema:
    """A pointer to `$defs/name`; `description` says what it is for in this place."""
    return {"$ref": f"#/$defs/{name}", **({"description": description} if description else {}), **more}


def mapping(
    properties: Mapping[str, Schema], *, required: Iterable[str] = (), description: str | None = None, title: str | None = None, **more: Any
) -> Schema:
    """An object that has these keys and no others."""
    made: Schema = {"type": "object"}
    if title:
        made["title"] = title
    if description:
        made["description"] = description
    made |= {"properties": dict(properties), "additionalProperties": False}
    if needed := list(required):
        made["required"] = needed
    return {**made, **more}


def choice(values: Iterable[str], description: str, default: str | None = None) -> Schema:
    """One of a few words."""
    return {"enum": list(values), "description": description, **({"default": default} if default is not None else {})}


def list_of(items: Schema, description: str | None = None, **more: Any) -> Schema:
    return {"type": "array", "items": items, **({"description": description} if description else {}), **more}


def whole(low: int, high: int, description: str, **more: Any) -> Schema:
    """A whole number from `low` to `high`."""
    return {"type": "integer", "minimum": low, "maximum": high, "description": description, **more}


def flag(description: str, default: bool = False) -> Schema:
    return {"type": "boolean", "default": default, "description": description}


def one_key_of(*keys: str) -> list[Schema]:
    """For `oneOf`: exactly one of the keys is there."""
    return [{"required": [key]} for key in keys]


def form(regex: str, said: str, description: str, examples: Iterable[str]) -> Schema:
    """Text of a form. Of the two messages editors show the one in place of the pattern, the other where there is no text at all."""
    words = {"patternErrorMessage": said, "errorMessage": said}
    return {"type": "string", "pattern": regex, **words, "description": description, "examples": list(examples)}


def _duration(units: Iterable[str], sign: str = "") -> str:
    part = rf"\d{{1,9}}(\.\d{{1,6}})?\s*({'|'.join(units)})"
    return rf"^\s*{sign}{part}(\s*(,\s*|and\s+)?{part})*\s*$"


def parts() -> dict[str, Schema]:
    """The `$defs` of this module."""
    every = (*_FIXED_UNITS, *_CALENDAR_UNITS)
    lengths = ("90 minutes", "1 day", "2 weeks", "1 day 12 hours")
    target = {
        **form(ID_PATTERN, f"expected the id of a step, or {END}", "The id of a step, or `end`.", [END]),
        "not": {"const": ""},
    }
    days = {"enum": [*WORKING_DAYS, *WEEKDAYS]}
    return {
        "id": {
            **form(ID_PATTERN, "expected a lower-case letter, then at most 62 of a-z, 0-9 and _", "An id.", ["welcome"]),
            "not": {"const": END},
        },
        "target": target,
        "eventType": {
            "type": "string",
            "minLength": 1,
            "maxLength": 128,
            "pattern": r"^\S(.*\S)?$",
            "description": "An event type: of your apps, or built in (message.*, webhook.answered, task.done, journey.*, segment.*).",
            "examples": ["purchase", "message.clicked", "webhook.answered", "task.done"],
        },
        "payloadKey": form(
            r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
            "expected the name of a payload key",
            "A payload key that both events have: `match: cart_id` means arrived.cart_id == event.cart_id.",
            ["cart_id"],
        ),
        "expression": {
            "type": ["string", "boolean", "number"],
            "pattern": r"\S",
            "not": {"type": "string", "pattern": r"^\s*\{\{[\s\S]*\}\}\s*$"},
            "description": "An expression in Jinja's syntax, without {{ }}.",
            "examples": ["event.total > 50", "customer.subscription_status == 'active'", "has_event('purchase', within='30 days')"],
        },
        "text": {"type": ["string", "number"], "pattern": r"\S", "description": "Text; `{{ }}` may hold expressions."},
        "line": {"type": ["string", "number"], "pattern": r"^\s*\S.*\s*$", "description": "Text on one line, with `{{ }}` or without."},
        "template": form(
            r"^[a-z0-9][a-z0-9_-]{0,62}$",
            "expected a file's name without its ending, such as hello for hello.html",
            "A file in the workflow's folder or in partials/, without its ending.",
            ["hello"],
        ),
        "duration": form(
            _duration(every), "expected a duration such as '7 days' or '90 minutes'",
            "A length of time. Days and longer follow the customer's calendar, hours and shorter are elapsed time.", (*lengths, "1 month"),
        ),
        "elapsed": form(
            _duration(_FIXED_UNITS), "expected a duration such as '7 days' or '90 minutes'; months and years have no fixed length here",
            "A length of time; a day is 24 hours.", lengths,
        ),
        "offset": form(
            _duration(every, r"([-+]\s*)?"), "expected a duration with or without a sign, such as '-7 days'",
            "How long after the date, or, with a minus, before it.", ("-7 days", "1 day"),
        ),
        "clock": form(
            r"^\s*([01]\d|2[0-3]):[0-5]\d\s*$", "expected a local time such as '09:00'", "A time of day in the customer's zone.", ["09:00"]
        ),
        "days": {
            "description": "Only on these weekdays.", "anyOf": [days, list_of(days, minItems=1, uniqueItems=True)],
        },
        "zone": {
            "type": "string", "minLength": 1, "description": "The name of a time zone.", "examples": ["Europe/Berlin", "UTC"],
        },
        "rate": form(
            r"^\s*[\d_,]+\s*/\s*(second|minute|hour|day)s?\s*$", "expected a number per time, such as 5000/hour",
            "So many in any window of that length: second, minute, hour or day.", ("5000/hour", "20/second"),
        ),
    }  # fmt: skip
