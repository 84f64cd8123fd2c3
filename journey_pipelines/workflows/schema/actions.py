"""What a step does: one schema a kind of action, in the order of the language page."""

from __future__ import annotations

from typing import Any, get_args

from journey_pipelines.workflows.model import ActionKind
from journey_pipelines.workflows.schema.parts import Schema, choice, form, list_of, mapping, ref

_ATTRIBUTE = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
_COMMON: dict[str, Schema] = {
    "id": ref("id", "Default: the kind of action; two of one kind in a step need ids."),
    "name": ref("line", "For people."),
    "when": ref("expression", "Done only where it is true."),
}
_EXPIRES = ref("elapsed", "Not sent any more so long after its time; absent: as the policies say.")
_HEADERS: Schema = {
    "type": "object",
    "description": "Header: text. Those that the channel writes itself are refused.",
    "propertyNames": {"pattern": "^[A-Za-z0-9-]{1,60}$"},
    "additionalProperties": {"type": ["string", "number", "boolean"], "pattern": r"^[^\n]*$"},
}
_VALUE: Schema = {
    "description": "Any value; a text that is one lone {{ expression }} keeps its type.",
    "type": ["string", "number", "boolean", "array", "object"],
}


def actions() -> dict[str, Schema]:
    """The `$defs` of this module: `action`, an item of `do`, and one for each kind."""
    kinds = {
        "send_email": _send_email(),
        "send_sms": _action(
            "A text message: either `text` or `template`.",
            {"text": ref("text"), "template": ref("template", "A file NAME.txt, without its ending."), "expires": _EXPIRES},
            oneOf=[{"required": ["text"]}, {"required": ["template"]}],
        ),
        "send_push": _action(
            "A push message.", {"title": ref("line"), "text": ref("line"), "expires": _EXPIRES}, required=("title", "text")
        ),
        "webhook_call": _webhook_call(),
        "update_profile": _update_profile(),
        "add_to_segment": _with_id("segment", "Puts the customer into a static segment: its id, or `{segment: ID, when: ...}`."),
        "remove_from_segment": _with_id("segment", "Takes the customer out of a static segment: its id, or `{segment: ID, when: ...}`."),
        "create_task": _action(
            "Something for a person to do; closing it is the event task.done, its outcome steps.STEP.outcome.",
            {
                "title": ref("line"),
                "assignee": ref("line", "Who is to do it."),
                "due": ref("elapsed", "How long after the step's time it is due."),
                "body": ref("text"),
            },
            required=("title",),
        ),
        "emit_event": _action(
            "Writes an event of the customer, which may start, wake and end journeys.",
            {"type": ref("eventType"), "payload": _payload("The event's payload.")},
            required=("type",),
        ),
        "start_workflow": _with_id("workflow", "Asks another workflow to take the customer in: its id, or `{workflow: ID, payload: ...}`.",
                                   payload=_payload("What that workflow sees as `event`.")),
        "exit_workflow": _with_id("workflow", "Ends the customer's journeys in a workflow: its id, or `{workflow: ID, when: ...}`."),
    }  # fmt: skip
    assert kinds.keys() == set(get_args(ActionKind))
    every = {kind: ref(kind) for kind in kinds}
    action = mapping(every, title="Action", description="One thing the step does.", minProperties=1, maxProperties=1)
    return {"action": action, **kinds}


def _action(description: str, properties: dict[str, Schema], *, required: tuple[str, ...] = (), **more: Any) -> Schema:
    return mapping({**properties, **_COMMON}, required=required, description=description, **more)


def _with_id(key: str, description: str, **others: Schema) -> Schema:
    """An action that is an id alone, or a mapping with it."""
    return {"description": description, "anyOf": [ref("id"), mapping({key: ref("id"), **others, **_COMMON}, required=(key,))]}


def _payload(description: str) -> Schema:
    return {"type": "object", "description": description, "propertyNames": ref("payloadKey"), "additionalProperties": _VALUE}


def _send_email() -> Schema:
    return _action(
        "A mail. Rendered and sent later, once.",
        {
            "template": ref("template", "A file NAME.html, without its ending; NAME.txt beside it is the text part."),
            "subject": ref("line", "The mail's subject."),
            "from": ref("line", "Who it comes from; absent: `sender` of the policies, then JOURNEYS_SENDER."),
            "reply_to": ref("line", "Where answers go."),
            "headers": _HEADERS,
            "expires": _EXPIRES,
        },
        required=("template", "subject"),
        examples=[{"template": "hello", "subject": "Welcome, {{ customer.first_name | default('friend') }}!"}],
    )


def _webhook_call() -> Schema:
    return _action(
        "Calls another system, at least once; its answer is steps.STEP.response and the event webhook.answered.",
        {
            "url": form(
                r"^\s*https?://[^{\s/@?]+(/[\s\S]*|\?[\s\S]*)?$",
                "expected https:// and a host written out; only the path and the query may hold {{ }}",
                "https:// and a host written out; path and query may hold {{ }}.",
                ["https://api.example.org/leads"],
            ),
            "method": choice(("POST", "PUT", "PATCH", "DELETE", "GET"), "The method.", "POST"),
            "headers": _HEADERS,
            "body": {"description": "Text, or a mapping or list that is sent as JSON."},
            "expires": _EXPIRES,
        },
        required=("url",),
    )


def _update_profile() -> Schema:
    names = {"propertyNames": {"pattern": _ATTRIBUTE}}
    amount = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*\{\{[\s\S]*\}\}\s*$"}]}
    return _action(
        "Writes to the customer's profile; seen from the next step on.",
        {
            "set": {"type": "object", "description": "Attribute: value.", **names, "additionalProperties": _VALUE},
            "unset": list_of({"type": "string", "pattern": _ATTRIBUTE}, "Attributes to take away."),
            "increment": {"type": "object", "description": "Attribute: number, or one {{ }}.", **names, "additionalProperties": amount},
        },
        anyOf=[{"required": [key]} for key in ("set", "unset", "increment")],
    )
