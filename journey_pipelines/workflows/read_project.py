"""policies.yaml and catalogue.yaml -> their models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parseaddr
from typing import Any, get_args

from journey_pipelines.expressions import names as language
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows import times
from journey_pipelines.workflows.check_expressions import check_expression
from journey_pipelines.workflows.events import RESERVED_PREFIXES
from journey_pipelines.workflows.fields import Fields, kind_of, plain
from journey_pipelines.workflows.known import Known
from journey_pipelines.workflows.problems import Problems, nearest, one_of
from journey_pipelines.workflows.project import (
    AttributeType,
    Breaker,
    Catalogue,
    Expires,
    FieldType,
    Policies,
    Retry,
    Sender,
)
from journey_pipelines.workflows.reading import Reading
from journey_pipelines.workflows.yaml_nodes import Map, Node, Text

# Delivery's defaults: a day is a day of the clock, three attempts with a pause that doubles
DEFAULT_EXPIRES = Expires(marketing=Duration.parse("1 day"), transactional=Duration.parse("3 days"))
DEFAULT_RETRY = Retry(attempts=3, backoff=Duration.parse("1 minute"), max_backoff=Duration.parse("1 hour"))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def default_policies() -> Policies:
    """Those of a project without policies.yaml: no consent by rule, UTC."""
    return Policies(expires=DEFAULT_EXPIRES, retry=DEFAULT_RETRY)


def read_policies(node: Node, known: Known, problems: Problems) -> Policies:
    """What is wrong stays at its default, and is said. `known`: all but the brand, which stands here."""
    fields = Fields.of(node, "policies", ("consent", "zone", "expires", "brand", "sender", "retry", "breaker"), problems)
    if fields is None:
        return default_policies()
    brand = _brand(fields, problems)
    return Policies.model_validate(
        {
            "consent": _consent(fields, replace(known, brand=brand), problems),
            "zone": fields.parsed("zone", times.zone_name, "the name of a time zone, such as Europe/Berlin") or "UTC",
            "expires": _expires(fields, problems),
            "brand": brand,
            "breaker": _breaker(fields, problems),
            "sender": _sender(fields, problems),
            "retry": _retry(fields, problems),
        }
    )


def _consent(fields: Fields, known: Known, problems: Problems) -> dict[str, str]:
    node = fields.mapping("consent")
    if node is None:
        return {}
    consent = Fields(node, "consent", ("email", "sms", "push"), problems)
    reading = Reading(problems)
    rules = {channel: text for channel in consent.values if (text := reading.expression(consent, channel, "consent"))}
    for expression in reading.expressions:
        check_expression(expression.node, expression.text, expression.label, "consent", known, problems)
    return rules


def _breaker(fields: Fields, problems: Problems) -> Breaker:
    node = fields.mapping("breaker")
    if node is None:
        return Breaker()
    breaker = Fields(node, "breaker", ("factor", "minimum"), problems)
    factor, value = Breaker().factor, breaker.get("factor")
    if isinstance(value, Text) and isinstance(value.value, int | float) and not isinstance(value.value, bool) and 1 < value.value <= 1e6:
        factor = float(value.value)
    elif value is not None:
        breaker.wrong("factor", "a number above 1")
    return Breaker(factor=factor, minimum=breaker.integer("minimum", 1, 1_000_000_000) or Breaker().minimum)


def _expires(fields: Fields, problems: Problems) -> Expires:
    node = fields.mapping("expires")
    if node is None:
        return DEFAULT_EXPIRES
    expires = Fields(node, "expires", ("marketing", "transactional"), problems)
    return Expires(
        marketing=expires.duration("marketing", elapsed=True) or DEFAULT_EXPIRES.marketing,
        transactional=expires.duration("transactional", elapsed=True) or DEFAULT_EXPIRES.transactional,
    )


def _brand(fields: Fields, problems: Problems) -> dict[str, Any]:
    node = fields.mapping("brand")
    brand: dict[str, Any] = {}
    for key, value in node.items if node else ():
        if not _NAME.fullmatch(key.written):
            problems.error(key.at, f"brand: expected a name of letters, digits and _, got {kind_of(key)}; templates write brand.NAME")
        elif isinstance(value, Text) and value.value is None:
            problems.error(value.at, f"brand: '{key.written}' is empty; give it a value or take it out")
        else:
            brand[key.written] = plain(value)
    return brand


def _sender(fields: Fields, problems: Problems) -> Sender:
    node = fields.mapping("sender")
    if node is None:
        return Sender()
    sender = Fields(node, "sender", ("from", "reply_to"), problems)
    return Sender(from_address=_address(sender, "from"), reply_to=_address(sender, "reply_to"))


def _address(sender: Fields, key: str) -> str | None:
    text = sender.text(key)
    if text is None:
        return None
    _, address = parseaddr(text)
    local, _, domain = address.rpartition("@")
    if local and domain and not any(c.isspace() for c in address):
        return text
    sender.wrong(key, "a mail address, such as `Acme <hello@example.org>`")
    return None


def _retry(fields: Fields, problems: Problems) -> Retry:
    node = fields.mapping("retry")
    if node is None:
        return DEFAULT_RETRY
    retry = Fields(node, "retry", ("attempts", "backoff", "max_backoff"), problems)
    backoff = retry.duration("backoff", elapsed=True) or DEFAULT_RETRY.backoff
    longest = retry.duration("max_backoff", elapsed=True) or max(DEFAULT_RETRY.max_backoff, backoff, key=Duration.elapsed)
    if longest.elapsed() < backoff.elapsed():
        problems.error(retry.at, f"retry: 'max_backoff' ({longest}) is shorter than 'backoff' ({backoff}); make it at least as long")
    return Retry(attempts=retry.integer("attempts", 1, 100) or DEFAULT_RETRY.attempts, backoff=backoff, max_backoff=longest)


def read_catalogue(node: Node, problems: Problems) -> Catalogue:
    """`events: {purchase: {total: number}}` and `attributes: {plan: text}`."""
    fields = Fields.of(node, "catalogue", ("events", "attributes"), problems)
    if fields is None:
        return Catalogue()
    events: dict[str, dict[str, str]] | None = None
    declared = fields.mapping("events")
    if declared is not None:
        events = {}
        for key, value in declared.items:
            if key.written.startswith(RESERVED_PREFIXES):
                problems.error(key.at, f"events: '{key.written}': names with {one_of(RESERVED_PREFIXES)} are the engine's; take it out")
            elif isinstance(value, Map):
                events[key.written] = dict(_types(value, f"events.{key.written}", get_args(FieldType), problems))
            elif isinstance(value, Text) and value.value is None:
                events[key.written] = {}
            else:
                problems.error(
                    value.at, f"events.{key.written}: expected fields with their types, such as {{total: number}}, got {kind_of(value)}"
                )
    attributes: dict[str, str] = {}
    own = fields.mapping("attributes")
    for name, kind, key in _typed(own, "attributes", get_args(AttributeType), problems) if own else ():
        if name in language.CUSTOMER_COLUMNS:
            problems.error(key.at, f"attributes: '{name}' is a column of every profile and needs no declaration; take it out")
        else:
            attributes[name] = kind
    return Catalogue.model_validate({"events": events, "attributes": attributes})


def _types(node: Map, what: str, allowed: tuple[str, ...], problems: Problems) -> Iterator[tuple[str, str]]:
    return ((name, kind) for name, kind, _ in _typed(node, what, allowed, problems))


def _typed(node: Map, what: str, allowed: tuple[str, ...], problems: Problems) -> Iterator[tuple[str, str, Text]]:
    for key, value in node.items:
        if not _NAME.fullmatch(key.written):
            problems.error(key.at, f"{what}: expected a name of letters, digits and _, got {kind_of(key)}")
        elif isinstance(value, Text) and value.written in allowed:
            yield key.written, value.written, key
        else:
            near = nearest(value.written, allowed) if isinstance(value, Text) else ""
            problems.error(value.at, f"{what}.{key.written}: expected {one_of(allowed)}, got {kind_of(value)}.{near}")
