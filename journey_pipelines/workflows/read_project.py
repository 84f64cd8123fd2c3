"""policies.yaml, catalogue.yaml and sources.yaml -> their models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parseaddr
from functools import lru_cache
from typing import Any, get_args
from zoneinfo import available_timezones

from journey_pipelines.expressions import analyse
from journey_pipelines.expressions import names as language
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.check_names import place_in
from journey_pipelines.workflows.fields import Fields, clean_id, kind_of, plain
from journey_pipelines.workflows.problems import Problems, nearest, one_of
from journey_pipelines.workflows.project import AttributeType, Catalogue, EventSource, Expires, FieldType, Policies, Retry, Sender
from journey_pipelines.workflows.yaml_nodes import Map, Node, Seq, Text

# Delivery's defaults: a day is a day of the clock, three attempts with a pause that doubles
DEFAULT_EXPIRES = Expires(marketing=Duration.parse("1 day"), transactional=Duration.parse("3 days"))
DEFAULT_RETRY = Retry(attempts=3, backoff=Duration.parse("1 minute"), max_backoff=Duration.parse("1 hour"))
# a transaction that wrote a row commits some time after the row's own time
DEFAULT_OVERLAP = Duration.parse("10 minutes")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")


def default_policies() -> Policies:
    """Those of a project without policies.yaml: no consent by rule, UTC."""
    return Policies(expires=DEFAULT_EXPIRES, retry=DEFAULT_RETRY)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


# -- policies.yaml -----------------------------------------------------------------------------------------------------


def read_policies(node: Node, catalogue: Catalogue, problems: Problems) -> Policies:
    """What is wrong stays at its default, and is said."""
    fields = Fields.of(node, "policies", ("consent", "zone", "expires", "brand", "sender", "retry"), problems)
    if fields is None:
        return default_policies()
    return Policies.model_validate(
        {
            "consent": _consent(fields, catalogue, problems),
            "zone": _zone(fields),
            "expires": _expires(fields, problems),
            "brand": _brand(fields, problems),
            "sender": _sender(fields, problems),
            "retry": _retry(fields, problems),
        }
    )


def _consent(fields: Fields, catalogue: Catalogue, problems: Problems) -> dict[str, str]:
    node = fields.mapping("consent")
    if node is None:
        return {}
    consent = Fields(node, "consent", ("email", "sms", "push"), problems)
    rules: dict[str, str] = {}
    for channel in consent.values:
        value = consent.get(channel)
        if not isinstance(value, Text):
            if value is not None:
                consent.wrong(channel, "an expression such as `customer.subscription_status == 'active'`")
            continue
        text = value.written.strip().lower() if isinstance(value.value, bool) else value.written.strip()
        found = analyse(text, catalogue.attributes or None)
        for error in found.errors:
            problems.error(place_in(value, error), f"consent.{channel}: {error.message}")
        for root in sorted(found.names & {"event", "arrived", "journey"}):
            problems.error(value.at, f"consent.{channel}: '{root}' is not known here; consent is asked about `customer` alone")
        for function in sorted(found.functions & language.ENGAGEMENT.keys()):
            problems.error(value.at, f"consent.{channel}: {function}() asks about messages of a journey, and there is none here")
        rules[channel] = text
    return rules


def _zone(fields: Fields) -> str:
    node = fields.get("zone")
    if node is None:
        return "UTC"
    if isinstance(node, Text) and node.written in _zones():
        return node.written
    near = did_you_mean(node.written, _zones()) if isinstance(node, Text) else ""
    fields.problems.error(node.at, f"policies: 'zone' expected the name of a time zone, such as Europe/Berlin, got {kind_of(node)}.{near}")
    return "UTC"


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


# -- catalogue.yaml ----------------------------------------------------------------------------------------------------


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
            if key.written.startswith("message."):
                problems.error(key.at, f"events: '{key.written}' is built in; take it out")
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


# -- sources.yaml ------------------------------------------------------------------------------------------------------

_SOURCE = ("table", "id", "customer_id", "type", "type_column", "occurred_at", "cursor", "overlap", "payload")


def read_sources(node: Node, catalogue: Catalogue, problems: Problems) -> dict[str, EventSource]:
    """`sources: {shop_orders: {table: shop.orders, ...}}`; a source with a fault is left out."""
    top = Fields.of(node, "sources", ("sources",), problems)
    declared = top.mapping("sources") if top and top.need("sources", "followed by the name of a source") is not None else None
    found: dict[str, EventSource] = {}
    for key, value in declared.items if declared else ():
        source_id = clean_id(key, "source id", problems)
        fields = Fields.of(value, f"source {key.written}", _SOURCE, problems)
        source = _source(fields, catalogue, problems) if fields else None
        if source_id and source:
            found[source_id] = source
    return found


def _source(fields: Fields, catalogue: Catalogue, problems: Problems) -> EventSource | None:
    before = problems.errors
    values: dict[str, Any] = {"table": _table(fields)}
    for key, example in (("id", "order_id"), ("customer_id", "customer_id"), ("occurred_at", "placed_at"), ("cursor", "updated_at")):
        if fields.need(key, example) is not None:
            values[key] = _column(fields, fields.values[key], key)
    if ("type" in fields.values) == ("type_column" in fields.values):
        got = "both" if "type" in fields.values else "neither"
        problems.error(fields.at, f"{fields.what}: expected either `type: purchase` or `type_column: kind`, got {got}; keep one of the two")
    elif "type_column" in fields.values:
        node = fields.get("type_column")
        values["type_column"] = _column(fields, node, "type_column") if node else None
    else:
        values["type"] = fields.text("type")
        if values["type"] and catalogue.events is not None and values["type"] not in catalogue.events:
            near = did_you_mean(values["type"], catalogue.events)
            problems.error(fields.place("type"), f"{fields.what}: catalogue.yaml declares no event type '{values['type']}'.{near}")
    overlap = fields.duration("overlap", elapsed=True, zero=True)
    values["overlap"] = DEFAULT_OVERLAP if overlap is None else overlap
    values["payload"] = tuple(name for item in fields.items("payload", "payload: [total]") if (name := _column(fields, item, "payload")))
    return EventSource.model_validate(values) if problems.errors == before else None


def _table(fields: Fields) -> str | None:
    if fields.need("table", "shop.orders") is None:
        return None
    node = fields.values["table"]
    parts = node.written.split(".") if isinstance(node, Text) else []
    if len(parts) == 2 and all(_COLUMN.fullmatch(part) for part in parts):
        return ".".join(parts)
    fields.wrong("table", "the name of a table with its schema, such as shop.orders")
    return None


def _column(fields: Fields, node: Node, key: str) -> str | None:
    if isinstance(node, Text) and _COLUMN.fullmatch(node.written):
        return node.written
    shown = "a list of columns" if isinstance(node, Seq) else kind_of(node)
    fields.problems.error(node.at, f"{fields.what}: '{key}' expected the name of a column, got {shown}")
    return None
