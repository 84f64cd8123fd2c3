"""sources.yaml -> `EventSource`s: the tables of apps that are read as events."""

from __future__ import annotations

import re
from typing import Any

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.fields import Fields, clean_id, kind_of
from journey_pipelines.workflows.problems import Problems
from journey_pipelines.workflows.project import Catalogue, EventSource
from journey_pipelines.workflows.yaml_nodes import Node, Seq, Text

# a transaction that wrote a row commits some time after the row's own time
DEFAULT_OVERLAP = Duration.parse("10 minutes")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")
_SOURCE = ("table", "id", "customer_id", "type", "type_column", "occurred_at", "cursor", "overlap", "payload")


def read_sources(node: Node, catalogue: Catalogue, problems: Problems) -> dict[str, EventSource]:
    """`sources: {shop_orders: {table: shop.orders, ...}}`; a source with a fault is left out."""
    top = Fields.of(node, "sources", ("sources",), problems)
    declared = top.mapping("sources") if top and top.need("sources", "{shop_orders: {table: shop.orders, ...}}") is not None else None
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


def read_table(fields: Fields) -> tuple[str | None, str | None]:
    """`table` and `column` (default customer_id) of a mapping that names whose customers it means."""
    column = _column(fields, fields.values["column"], "column") if "column" in fields.values else "customer_id"
    return _table(fields), column


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
