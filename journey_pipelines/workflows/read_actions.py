"""`do:` -> `Action`s: which kinds there are, and the parameters of those that change a profile, a segment, a task list or a workflow."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from journey_pipelines.workflows import read_messages
from journey_pipelines.workflows.action_reader import ActionReader
from journey_pipelines.workflows.fields import Fields, kind_of, plain, walk_text
from journey_pipelines.workflows.model import Action
from journey_pipelines.workflows.problems import Place, nearest, one_of
from journey_pipelines.workflows.reading import Emitted, Reading, WorkflowName
from journey_pipelines.workflows.yaml_nodes import Map, Node, Text

_COMMON = ("id", "name", "when")
_LONE = re.compile(r"\{\{(?:(?!\}\}).)*\}\}", re.DOTALL)
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_IDENTITY = ("customer_id", "zone", "zone_source", "shard", "updated_at")


def _update_profile(reader: ActionReader) -> dict[str, Any]:
    fields = reader.fields
    params: dict[str, Any] = {}
    if not fields.values.keys() & {"set", "unset", "increment"}:
        fields.problems.error(
            fields.at, f"{fields.what}: write `set: {{plan: gold}}`, `unset: [plan]` or `increment: {{visits: 1}}`, got none of them"
        )
    for key in ("set", "increment"):
        node = fields.mapping(key)
        for name, value in node.items if node else ():
            if not _writable(reader, name, key):
                continue
            if key == "increment" and not _amount(value):
                fields.problems.error(
                    value.at,
                    f"{fields.what}: increment '{name.written}' expected a number or one {{{{ expression }}}}, got {kind_of(value)}",
                )
                continue
            if isinstance(value, Text) and value.value is None:
                fields.problems.error(value.at, f"{fields.what}: set '{name.written}' to nothing is `unset: [{name.written}]`")
                continue
            walk_text(value, lambda text, label=f"{key}.{name.written}": reader.remember(text, label, computed=True))  # type: ignore[misc]
            params.setdefault(key, {})[name.written] = plain(value)
    names = [item for item in fields.items("unset", "unset: [plan]") if _writable(reader, item, "unset")]
    if names:
        params["unset"] = [item.written for item in names if isinstance(item, Text)]
    everything = [*params.get("set", {}), *params.get("increment", {}), *params.get("unset", [])]
    for twice in sorted({name for name in everything if everything.count(name) > 1}):
        fields.problems.error(fields.at, f"{fields.what}: '{twice}' is changed twice; keep one of set, unset and increment")
    return params


def _writable(reader: ActionReader, node: Node, key: str) -> bool:
    what = reader.fields.what
    if not isinstance(node, Text) or not _ATTRIBUTE.fullmatch(node.written):
        reader.fields.problems.error(node.at, f"{what}: {key} expected the name of a profile attribute, got {kind_of(node)}")
        return False
    if node.written in _IDENTITY:
        reader.fields.problems.error(node.at, f"{what}: '{node.written}' is the engine's and cannot be changed by a workflow")
        return False
    reader.reading.attributes_written.append((node.at, node.written, key))
    return True


def _amount(node: Node) -> bool:
    """A number, or one lone `{{ expr }}`, which keeps its type."""
    if not isinstance(node, Text) or isinstance(node.value, bool):
        return False
    return isinstance(node.value, int | float) or (isinstance(node.value, str) and bool(_LONE.fullmatch(node.value.strip())))


def _segment(reader: ActionReader) -> dict[str, Any]:
    reader.fields.need("segment", "lapsed")
    segment = reader.reading.segment(reader.fields, "segment", changed=True) if "segment" in reader.fields.values else None
    return {"segment": segment} if segment else {}


def _payload(reader: ActionReader) -> tuple[dict[str, Any], tuple[tuple[str, Place], ...]]:
    """{payload: {key: value}} with texts computed in SQL, and where its keys stand."""
    fields = reader.fields
    node = fields.mapping("payload")
    payload: dict[str, Any] = {}
    places: list[tuple[str, Place]] = []
    for key, value in node.items if node else ():
        if not _KEY.fullmatch(key.written):
            fields.problems.error(key.at, f"{fields.what}: payload expected a name of letters, digits and _, got {kind_of(key)}")
        elif isinstance(value, Text) and value.value is None:
            fields.problems.error(value.at, f"{fields.what}: payload '{key.written}' is empty; give it a value or take it out")
        else:
            walk_text(value, lambda text, label=f"payload.{key.written}": reader.remember(text, label, computed=True))  # type: ignore[misc]
            payload[key.written] = plain(value)
            places.append((key.written, key.at))
    return ({"payload": payload} if payload else {}), tuple(places)


def _emit_event(reader: ActionReader) -> dict[str, Any]:
    fields = reader.fields
    node = fields.need("type", "cart_saved")
    payload, places = _payload(reader)
    if node is None:
        return {}
    if not isinstance(node, Text) or not isinstance(node.value, str) or not 0 < len(node.value) <= 128 or node.value != node.value.strip():
        fields.wrong("type", "an event type of 1 to 128 characters, such as cart_saved")
        return {}
    reader.reading.emitted.append(Emitted(node.at, node.value, f"{fields.what}: 'type'", places))
    return {"type": node.value, **payload}


def _other_workflow(reader: ActionReader) -> dict[str, Any]:
    fields = reader.fields
    fields.need("workflow", "welcome")
    workflow_id = fields.identifier("workflow", "workflow id") if "workflow" in fields.values else None
    payload, places = _payload(reader) if "payload" in fields.allowed else ({}, ())
    if workflow_id is None:
        return {}
    action = fields.what.rpartition(" ")[2]
    keys = tuple(key for key, _ in places)
    reader.reading.workflows.append(WorkflowName(fields.place("workflow"), workflow_id, fields.what, action, keys))
    return {"workflow": workflow_id, **payload}


def _create_task(reader: ActionReader) -> dict[str, Any]:
    return {
        **reader.text("title", needed="Call the customer", computed=True),
        **reader.text("assignee", computed=True),
        **reader.duration("due"),
        **reader.text("body", one_line=False, computed=True),
    }


# kind -> its own keys and its reader
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[ActionReader], dict[str, Any]]]] = {
    "send_email": (("template", "subject", "from", "reply_to", "headers", "expires"), read_messages.send_email),
    "send_sms": (("text", "template", "expires"), read_messages.send_sms),
    "send_push": (("title", "text", "expires"), read_messages.send_push),
    "webhook_call": (("url", "method", "headers", "body", "expires"), read_messages.webhook_call),
    "update_profile": (("set", "unset", "increment"), _update_profile),
    "add_to_segment": (("segment",), _segment),
    "remove_from_segment": (("segment",), _segment),
    "create_task": (("title", "assignee", "due", "body"), _create_task),
    "emit_event": (("type", "payload"), _emit_event),
    "start_workflow": (("workflow", "payload"), _other_workflow),
    "exit_workflow": (("workflow",), _other_workflow),
}
# kinds that may be written as `kind: ID` -> the key that the id stands for
_SHORT = {"add_to_segment": "segment", "remove_from_segment": "segment", "start_workflow": "workflow", "exit_workflow": "workflow"}
_NOT_YET = {
    "send": "send_email, send_sms or send_push",
    "send_in_app": "send_push or send_email",
    "send_direct_mail": "create_task or webhook_call",
}


def read_actions(step: Fields, step_id: str, reading: Reading) -> tuple[Action, ...]:
    """The step's actions in order; each id once in the step."""
    actions: list[Action] = []
    seen: dict[str, int] = {}
    items = step.items("do", "- send_email: {template: hello, subject: Welcome}")
    if "do" in step.values and not items and step.get("do") is not None and not isinstance(step.values["do"], Map | Text):
        reading.problems.error(step.place("do"), f"{step.what}: 'do' is empty; write `- send_email: ...` or take it out")
    for item in items:
        action = _action(item, step, step_id, reading)
        if action is None:
            continue
        if action.id in seen:
            reading.problems.error(
                item.at,
                f"{step.what}: two actions are called '{action.id}' (first in line {seen[action.id]}); give each an `id` of its own",
            )
            continue
        seen[action.id] = item.at.line
        actions.append(action)
    return tuple(actions)


def _action(item: Node, step: Fields, step_id: str, reading: Reading) -> Action | None:
    problems = reading.problems
    if not isinstance(item, Map) or len(item.items) != 1:
        keys = [key.written for key, _ in item.items] if isinstance(item, Map) else []
        got = f"a mapping with {one_of(keys)}; `id`, `name` and `when` go inside the action" if keys else kind_of(item)
        problems.error(
            item.at, f"{step.what}: 'do' expected one action an item, such as `- send_email: {{template: hello, ...}}`, got {got}"
        )
        return None
    key, value = item.items[0]
    kind = key.written
    if kind in _NOT_YET:
        problems.error(key.at, f"{step.what}: '{kind}' is not in this version of the language; until it is, use {_NOT_YET[kind]}")
        return None
    if kind not in _KINDS:
        problems.error(key.at, f"{step.what}: unknown action '{kind}'.{nearest(kind, _KINDS)} Allowed here: {', '.join(_KINDS)}")
        return None
    own_keys, read = _KINDS[kind]
    if kind in _SHORT and isinstance(value, Text):
        value = Map(value.at, ((Text(key.at, _SHORT[kind], _SHORT[kind], plain=True), value),), flow=False)
    fields = Fields.of(value, f"{step.what}: {kind}", (*own_keys, *_COMMON), problems)
    if fields is None:
        return None
    before = problems.errors
    action_id = fields.identifier("id", "action id") if "id" in fields.values else kind
    name, when = fields.text("name"), reading.expression(fields, "when", "step", step_id)
    params = read(ActionReader(fields, step_id, reading))
    if action_id is None or problems.errors > before:
        return None
    return Action.model_validate({"kind": kind, "id": action_id, "name": name, "when": when, "params": params})
