"""`do:` -> `Action`s: one reader a kind, with the parameters it may have."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlsplit

from journey_pipelines.workflows.fields import Fields, kind_of, plain, walk_text
from journey_pipelines.workflows.headers import header_problem
from journey_pipelines.workflows.model import Action
from journey_pipelines.workflows.problems import nearest, one_of
from journey_pipelines.workflows.reading import Reading, TemplateFile, TextTemplate
from journey_pipelines.workflows.yaml_nodes import Map, Node, Text

_COMMON = ("id", "name", "when")
_TEMPLATE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_LONE = re.compile(r"\{\{(?:(?!\}\}).)*\}\}", re.DOTALL)
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_IDENTITY = ("customer_id", "zone", "zone_source", "shard", "updated_at")


class _Reader:
    """One action's mapping, the step it stands in and where findings go."""

    def __init__(self, fields: Fields, step: str, reading: Reading) -> None:
        self.fields, self.step, self.reading = fields, step, reading

    def text(self, key: str, *, needed: str | None = None, one_line: bool = True, computed: bool = False) -> dict[str, str]:
        """{key: text}, empty where it is absent or wrong; `needed` is the example shown where it is missing."""
        if needed is not None and self.fields.need(key, needed) is None:
            return {}
        value = self.fields.text(key, one_line=one_line) if key in self.fields.values else None
        if value is None:
            return {}
        node = self.fields.values[key]
        assert isinstance(node, Text)
        self.remember(node, key, computed=computed)
        return {key: value}

    def remember(self, node: Text, key: str, *, computed: bool) -> None:
        self.reading.texts.append(TextTemplate(node, f"{self.fields.what}: '{key}'", computed, self.step))

    def duration(self, key: str) -> dict[str, str]:
        value = self.fields.duration(key, elapsed=True) if key in self.fields.values else None
        return {key: value.text} if value else {}

    def template(self, needed: str, optional: str | None) -> dict[str, str]:
        node = self.fields.need("template", "hello")
        if node is None:
            return {}
        if not isinstance(node, Text) or not _TEMPLATE.fullmatch(node.written):
            self.fields.wrong(
                "template", f"the name of a file in the workflow's folder without its ending, such as hello for hello{needed}"
            )
            return {}
        self.reading.files.append(TemplateFile(node.at, node.written, needed, optional, self.step))
        return {"template": node.written}

    def headers(self, kind: Literal["mail", "http"]) -> dict[str, dict[str, str]]:
        node = self.fields.mapping("headers")
        headers: dict[str, str] = {}
        for key, value in node.items if node else ():
            problem = header_problem(key.written, kind)
            if problem:
                self.fields.problems.error(key.at, f"{self.fields.what}: {problem}")
            elif not isinstance(value, Text) or value.value is None or "\n" in value.written:
                self.fields.problems.error(
                    value.at, f"{self.fields.what}: header '{key.written}' expected text on one line, got {kind_of(value)}"
                )
            else:
                self.remember(value, f"headers.{key.written}", computed=False)
                headers[key.written] = value.written
        return {"headers": headers} if headers else {}


def _send_email(reader: _Reader) -> dict[str, Any]:
    return {
        **reader.template(".html", ".txt"),
        **reader.text("subject", needed="Welcome!"),
        **reader.text("from"),
        **reader.text("reply_to"),
        **reader.headers("mail"),
        **reader.duration("expires"),
    }


def _send_sms(reader: _Reader) -> dict[str, Any]:
    fields = reader.fields
    if ("text" in fields.values) == ("template" in fields.values):
        got = "both" if "text" in fields.values else "neither"
        fields.problems.error(fields.at, f"{fields.what}: expected either `text` or `template`, got {got}; keep one of the two")
        return {}
    content = reader.text("text", one_line=False) if "text" in fields.values else reader.template(".txt", None)
    return {**content, **reader.duration("expires")}


def _send_push(reader: _Reader) -> dict[str, Any]:
    return {**reader.text("title", needed="10% off"), **reader.text("text", needed="Until tomorrow"), **reader.duration("expires")}


def _webhook_call(reader: _Reader) -> dict[str, Any]:
    fields = reader.fields
    params: dict[str, Any] = reader.text("url", needed="https://api.example.org/leads")
    if "url" in params and not _fixed_host(params["url"]):
        fields.wrong("url", "https:// and a host written out; only the path and the query may hold {{ }}")
    params["method"] = fields.choice("method", ("POST", "PUT", "PATCH", "DELETE", "GET"), "POST")
    params |= reader.headers("http")
    body = fields.get("body")
    if body is not None:
        walk_text(body, lambda text: reader.remember(text, "body", computed=False))
        params["body"] = plain(body)
    return {**params, **reader.duration("expires")}


def _fixed_host(url: str) -> bool:
    """Whether no profile can choose the host, which would be a way to send anything anywhere. No passwords either."""
    try:
        parts = urlsplit(url.split("{{")[0].split("{%")[0])
    except ValueError:
        return False
    whole = "{" not in url or parts.path.startswith("/") or bool(parts.query)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and whole


def _update_profile(reader: _Reader) -> dict[str, Any]:
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


def _writable(reader: _Reader, node: Node, key: str) -> bool:
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


def _segment(reader: _Reader) -> dict[str, Any]:
    reader.fields.need("segment", "lapsed")
    segment = reader.fields.identifier("segment", "segment id") if "segment" in reader.fields.values else None
    return {"segment": segment} if segment else {}


def _create_task(reader: _Reader) -> dict[str, Any]:
    return {
        **reader.text("title", needed="Call the customer", computed=True),
        **reader.text("assignee", computed=True),
        **reader.duration("due"),
        **reader.text("body", one_line=False, computed=True),
    }


# kind -> its own keys and its reader
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[_Reader], dict[str, Any]]]] = {
    "send_email": (("template", "subject", "from", "reply_to", "headers", "expires"), _send_email),
    "send_sms": (("text", "template", "expires"), _send_sms),
    "send_push": (("title", "text", "expires"), _send_push),
    "webhook_call": (("url", "method", "headers", "body", "expires"), _webhook_call),
    "update_profile": (("set", "unset", "increment"), _update_profile),
    "add_to_segment": (("segment",), _segment),
    "remove_from_segment": (("segment",), _segment),
    "create_task": (("title", "assignee", "due", "body"), _create_task),
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
    if kind not in _KINDS:
        problems.error(key.at, f"{step.what}: unknown action '{kind}'.{nearest(kind, _KINDS)} Allowed here: {', '.join(_KINDS)}")
        return None
    own_keys, read = _KINDS[kind]
    if kind.endswith("_segment") and isinstance(value, Text):
        value = Map(value.at, ((Text(key.at, "segment", "segment", plain=True), value),), flow=False)
    fields = Fields.of(value, f"{step.what}: {kind}", (*own_keys, *_COMMON), problems)
    if fields is None:
        return None
    before = problems.errors
    action_id = fields.identifier("id", "action id") if "id" in fields.values else kind
    name, when = fields.text("name"), reading.expression(fields, "when", "step", step_id)
    params = read(_Reader(fields, step_id, reading))
    if action_id is None or problems.errors > before:
        return None
    return Action.model_validate({"kind": kind, "id": action_id, "name": name, "when": when, "params": params})
