"""The files beside the workflows (segments, policies, catalogue, sources), and the whole put together."""

from __future__ import annotations

import json
from typing import get_args

from journey_pipelines.workflows.events import RESERVED_PREFIXES
from journey_pipelines.workflows.project import AttributeType, Channel, FieldType
from journey_pipelines.workflows.schema.actions import actions
from journey_pipelines.workflows.schema.parts import Schema, form, list_of, mapping, parts, ref, whole
from journey_pipelines.workflows.schema.steps import steps
from journey_pipelines.workflows.schema.workflow import workflow

FILE_NAME = "schema.json"
#: the first line of a file, by which editors find the schema: file -> line
MODELINES = {
    "workflow.yaml": f"# yaml-language-server: $schema=../{FILE_NAME}",
    "segments": f"# yaml-language-server: $schema=../{FILE_NAME}#/$defs/segment",
    "policies.yaml": f"# yaml-language-server: $schema={FILE_NAME}#/$defs/policies",
    "catalogue.yaml": f"# yaml-language-server: $schema={FILE_NAME}#/$defs/catalogue",
    "sources.yaml": f"# yaml-language-server: $schema={FILE_NAME}#/$defs/sources",
}
_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_COLUMN = r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$"
_TABLE = r"^[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}$"


def schema() -> Schema:
    """The schema of workflow.yaml; the other files' are `$defs/segment`, `policies`, `catalogue` and `sources` in it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Customer journeys",
        "$comment": "Made by `journeys schema`; change the code, not this file.",
        **ref("workflow"),
        "$defs": {**workflow(), **steps(), **actions(), **_files(), **parts()},
    }


def schema_text() -> str:
    """What stands in the file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _files() -> dict[str, Schema]:
    return {"segment": _segment(), "policies": _policies(), "catalogue": _catalogue(), **_sources()}


def _segment() -> Schema:
    table = mapping(
        {
            "table": _name(_TABLE, "The table, with its schema.", "analytics.vips"),
            "column": _name(_COLUMN, "The column with the customers' ids; default customer_id.", "customer_id"),
            "every": ref("elapsed", "How often it is read."),
        },
        required=("table",),
        description="A table that somebody else builds: who stands in it is in the segment.",
    )
    return mapping(
        {
            "segment": ref("id", "The id, equal to the file's name."),
            "name": ref("line", "For people."),
            "description": ref("text", "For people."),
            "when": ref("expression", "Everybody for whom this is true is in it."),
            "static": {"const": True, "description": "Apps and steps put people in and take them out."},
            "from": table,
        },
        required=("segment",),
        title="Segment",
        description="segments/ID.yaml: by a condition, by what apps write, or by a table.",
        oneOf=[{"required": [key]} for key in ("when", "static", "from")],
    )


def _policies() -> Schema:
    return mapping(
        {
            "consent": mapping(
                {channel: ref("expression", "Who may get marketing on this channel.") for channel in get_args(Channel)},
                description="A condition over `customer` for each channel; explicit consents override it.",
            ),
            "zone": ref("zone", "The zone of customers whose profile names none, and of the reports' days; default UTC."),
            "expires": mapping(
                {
                    "marketing": ref("elapsed", "Default 1 day."),
                    "transactional": ref("elapsed", "Default 3 days."),
                },
                description="Life of an unsent message after its time.",
            ),
            "brand": {
                "type": "object",
                "description": "Any values; texts read them as brand.NAME.",
                "propertyNames": {"pattern": _NAME},
                "additionalProperties": {"not": {"type": "null"}},
                "examples": [{"name": "Acme", "website": "https://shop.example"}],
            },
            "sender": mapping(
                {
                    "from": ref("address", "Who mails come from that name nobody."),
                    "reply_to": ref("address", "Where answers go."),
                },
                description="Of mails that name none.",
            ),
            "retry": mapping(
                {
                    "attempts": whole(1, 100, "In all, for one message; default 3."),
                    "backoff": ref("elapsed", "Before the first retry, then twice as long each time; default 1 minute."),
                    "max_backoff": ref("elapsed", "The longest; default 1 hour."),
                },
                description="When a provider is out of order.",
            ),
            "breaker": mapping(
                {
                    "factor": {"type": "number", "exclusiveMinimum": 1, "description": "So many times the usual; default 10."},
                    "minimum": whole(1, 1_000_000_000, "And at least so many entrants in an hour; default 500."),
                },
                description="When far more people enter than usual the workflow's sends are held, until an operator releases them.",
            ),
        },
        title="Policies",
        description="policies.yaml: what holds for every workflow.",
    )


def _catalogue() -> Schema:
    names = {"pattern": _NAME}
    fields = {
        "type": ["object", "null"],
        "description": "Payload field: its type.",
        "propertyNames": names,
        "additionalProperties": {"enum": list(get_args(FieldType))},
    }
    reserved = "|".join(prefix.replace(".", "[.]") for prefix in RESERVED_PREFIXES)
    return mapping(
        {
            "events": {
                "type": "object",
                "description": "Event types of the apps, with their payload fields.",
                "propertyNames": {"not": {"pattern": f"^({reserved})"}},
                "additionalProperties": fields,
                "examples": [{"purchase": {"order_id": "text", "total": "number"}}],
            },
            "attributes": {
                "type": "object",
                "description": "Attributes of profiles, beside the columns.",
                "propertyNames": names,
                "additionalProperties": {"enum": list(get_args(AttributeType))},
                "examples": [{"plan": "text", "renewal": "date"}],
            },
        },
        title="Catalogue",
        description="catalogue.yaml: event types and attributes; what is declared is all there is.",
    )


def _sources() -> dict[str, Schema]:
    column = {
        key: _name(_COLUMN, description, example)
        for key, description, example in (
            ("id", "The column that tells one event from another.", "order_id"),
            ("customer_id", "The column with the customer's id.", "customer_id"),
            ("type_column", "The column that holds the event type.", "kind"),
            ("occurred_at", "The column that says when it happened.", "placed_at"),
            ("cursor", "A column that grows when a row is written or changed.", "updated_at"),
        )
    }
    source = mapping(
        {
            "table": _name(_TABLE, "The table, with its schema.", "shop.orders"),
            **column,
            "type": ref("eventType", "The event type of all its rows."),
            "overlap": ref("elapsed", "How far each read goes back behind the last one; default 10 minutes."),
            "payload": list_of({"type": "string", "pattern": _COLUMN}, "Columns that become payload keys.", uniqueItems=True),
        },
        required=("table", "id", "customer_id", "occurred_at", "cursor"),
        title="Event source",
        oneOf=[{"required": ["type"]}, {"required": ["type_column"]}],
    )
    return {
        "sources": mapping(
            {
                "sources": {
                    "type": "object",
                    "description": "Id: what is read, and how.",
                    "propertyNames": ref("id"),
                    "additionalProperties": ref("source"),
                }
            },
            required=("sources",),
            title="Event sources",
            description="sources.yaml: tables of apps that are read as events.",
        ),
        "source": source,
        "address": form(
            r"^[^\n]*[^\s@<>]+@[^\s@<>]+>?\s*$",
            "expected a mail address, such as Acme <hello@example.org>",
            "A mail address.",
            ["Acme <hello@example.org>"],
        ),
    }


def _name(pattern: str, description: str, example: str) -> Schema:
    return {"type": "string", "pattern": pattern, "description": description, "examples": [example]}
