"""The words of the language: what may be named, called, filtered and tested, with the types of what comes out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

# A value's kind: number, text, true/false, point in time, or JSON whose kind only the row knows.
Kind = Literal["num", "text", "bool", "ts", "json"]

ROOTS = ("customer", "event", "arrived", "steps", "journey", "brand", "now")

CUSTOMER_COLUMNS: Mapping[str, Kind] = {
    "customer_id": "text",
    "email_address": "text",
    "phone_number": "text",
    "push_token": "text",
    "first_name": "text",
    "last_name": "text",
    "language": "text",
    "country": "text",
    "timezone": "text",
    "zone": "text",
    "subscription_status": "text",
    "lifetime_value": "num",
    "created_at": "ts",
    "updated_at": "ts",
}
JOURNEY_FIELDS: Mapping[str, Kind] = {"id": "num", "entered_at": "ts", "step_entered_at": "ts", "visit": "num", "trigger": "text"}
# A catalogue's words for the types of attributes. A date is the first instant of its day in UTC.
CATALOGUE_KINDS: Mapping[str, Kind] = {"text": "text", "number": "num", "bool": "bool", "date": "ts", "datetime": "ts"}


@dataclass(frozen=True)
class Signature:
    """How a function is called: least and most plain arguments, then which may be given by name."""

    least: int
    most: int
    named: frozenset[str]
    usage: str
    kind: Kind


_WINDOW = frozenset({"within", "since", "when"})
_NONE: frozenset[str] = frozenset()

FUNCTIONS: Mapping[str, Signature] = {
    "has_event": Signature(1, 1, _WINDOW, "has_event('purchase', within='7 days', since='entry', when='event.total > 10')", "bool"),
    "event_count": Signature(1, 1, _WINDOW, "event_count('purchase', within='30 days')", "num"),
    "event_sum": Signature(2, 2, _WINDOW, "event_sum('purchase', 'total', within='30 days')", "num"),
    "last_event": Signature(1, 1, _WINDOW, "last_event('purchase')", "ts"),
    "in_segment": Signature(1, 1, _NONE, "in_segment('vip')", "bool"),
    "in_workflow": Signature(1, 1, _NONE, "in_workflow('welcome')", "bool"),
    "opened": Signature(1, 2, _NONE, "opened('remind') or opened('remind', 'second_mail')", "bool"),
    "clicked": Signature(1, 2, _NONE, "clicked('remind') or clicked('remind', 'second_mail')", "bool"),
    "replied": Signature(1, 2, _NONE, "replied('remind')", "bool"),
    "bounced": Signature(1, 2, _NONE, "bounced('remind')", "bool"),
    "days_since": Signature(1, 1, _NONE, "days_since(customer.created_at)", "num"),
    "days_until": Signature(1, 1, _NONE, "days_until(customer.renewal)", "num"),
    "add": Signature(2, 2, _NONE, "add(customer.created_at, '7 days')", "ts"),
    "local_hour": Signature(0, 0, _NONE, "local_hour()", "num"),
    "local_weekday": Signature(0, 0, _NONE, "local_weekday() in ['sat', 'sun']", "text"),
}
HISTORY = frozenset({"has_event", "event_count", "event_sum", "last_event"})
# What a person did with a message, and the event type that says so.
ENGAGEMENT: Mapping[str, str] = {
    "opened": "message.opened",
    "clicked": "message.clicked",
    "replied": "message.replied",
    "bounced": "message.bounced",
}

# filter -> (least, most) constant arguments
FILTERS: Mapping[str, tuple[int, int]] = {
    "lower": (0, 0),
    "upper": (0, 0),
    "trim": (0, 0),
    "length": (0, 0),
    "default": (1, 2),
    "int": (0, 0),
    "float": (0, 0),
    "round": (0, 1),
    "date": (0, 1),
}
FILTER_ALIASES = {"d": "default", "count": "length"}
TESTS = frozenset({"defined", "undefined", "none", "string", "number"})

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

BUILT_IN_EVENTS = frozenset({
    *(f"message.{what}" for what in ("accepted", "delivered", "opened", "clicked", "replied", "bounced", "complained", "unsubscribed")),
    "webhook.answered", "task.done", "journey.entered", "journey.ended", "segment.entered", "segment.left",
})  # fmt: skip
# What tells of steps.<id>, of in_workflow(), and the payload's keys that steps.<id> has.
STEP_EVENTS = ("webhook.answered", "task.done")
WORKFLOW_EVENTS = ("journey.entered", "journey.ended")
STEP_RESULTS = (
    "status", "response", "outcome", "note", "task_id", "action", "channel", "workflow", "step", "message_key", "visit", "created_at",
)  # fmt: skip


@dataclass(frozen=True)
class Catalogue:
    """What a project declares; None = not declared, so every name is taken as it comes.

    attributes: profile attribute -> text | number | bool | date | datetime. event_types, segments: their names.
    """

    attributes: Mapping[str, str] | None = None
    event_types: Collection[str] | None = None
    segments: Collection[str] | None = None


def as_catalogue(given: object) -> Catalogue:
    """A Catalogue from anything with its fields (`events` will do for `event_types`), from a mapping attribute -> type, or from None."""
    if given is None:
        return Catalogue()
    if isinstance(given, Catalogue):
        return given
    if isinstance(given, Mapping):
        return Catalogue(attributes=given or None)
    return Catalogue(
        attributes=getattr(given, "attributes", None) or None,
        event_types=getattr(given, "event_types", None) or getattr(given, "events", None) or None,
        segments=getattr(given, "segments", None) or None,
    )


def attribute_kind(catalogue: Catalogue, name: str) -> Kind | None:
    """The declared kind of a profile attribute, or None where it is not declared."""
    return CATALOGUE_KINDS.get((catalogue.attributes or {}).get(name, ""))
