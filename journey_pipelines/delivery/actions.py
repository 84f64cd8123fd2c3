"""One sending action of one workflow version, compiled: from a message's context to what will be sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Protocol

from journey_pipelines.delivery.addresses import CHECKS, BadAddress
from journey_pipelines.delivery.channel import METHOD, Content
from journey_pipelines.delivery.headers import one_line
from journey_pipelines.delivery.templates import RenderError, Text, TextPart, Value, environment_of, json_value
from journey_pipelines.expressions.environment import Environment
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.headers import header_problem
from journey_pipelines.workflows.model import Action

Context = Mapping[str, Any]


class CompiledAction(Protocol):
    """`content` raises RenderError; its message is the reason on the ledger."""

    def content(self, context: Context, address: str, now: datetime) -> Content: ...


class Actions:
    """The sending actions of one version, compiled when first asked for. `sender`: the From and Reply-To of mails that name none."""

    def __init__(self, definition: Definition, sender: str | None = None, reply_to: str | None = None) -> None:
        self._definition = definition
        self._defaults = {"from": sender, "reply_to": reply_to}
        self._environment = environment_of(definition.templates)
        self._known: dict[tuple[str, str], CompiledAction | RenderError] = {}

    def get(self, step: str, action: str) -> CompiledAction:
        """Raises RenderError, the same for every message of an action that cannot be compiled."""
        key = (step, action)
        if key not in self._known:
            try:
                self._known[key] = self._compile(step, action)
            except RenderError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, RenderError):
            raise found
        return found

    def _compile(self, step_id: str, action_id: str) -> CompiledAction:
        for step, action in self._definition.workflow.actions():
            if step.id == step_id and action.id == action_id:
                break
        else:
            raise RenderError(f"workflow {self._definition.workflow.id} has no action {action_id} in step {step_id}")
        compilers: dict[str, Callable[[_Source], CompiledAction]] = {
            "send_email": _Email,
            "send_sms": _Sms,
            "send_push": _Push,
            "webhook_call": _Webhook,
        }
        if action.kind not in compilers:
            raise RenderError(f"step {step_id}: {action.kind} sends nothing")
        return compilers[action.kind](_Source(self._definition, self._environment, action, step_id, self._defaults))


class _Source:
    """What a compiler of an action needs, with labels for its errors."""

    def __init__(
        self, definition: Definition, environment: Environment, action: Action, step: str, defaults: Mapping[str, str | None]
    ) -> None:
        self.definition = definition
        self.environment = environment
        self.params = {**{name: value for name, value in defaults.items() if value}, **action.params}
        self.where = f"step {step}: {action.id}"

    def text(self, key: str, default: str | None = None) -> Text:
        value = self.params.get(key, default)
        if value is None:
            raise RenderError(f"{self.where}: '{key}' is missing")
        return Text(self.environment, f"{self.where}: {key}", str(value))

    def optional(self, key: str) -> Text | None:
        return self.text(key) if self.params.get(key) else None

    def file(self, name: str) -> Text:
        source = self.definition.templates.get(name)
        if source is None:
            raise RenderError(f"{self.where}: there is no template {name}")
        return Text(self.environment, f"template {name}", source, name=name)

    def headers(self, kind: Any) -> dict[str, Text]:
        headers = self.params.get("headers") or {}
        for name in headers:
            if problem := header_problem(name, kind):
                raise RenderError(f"{self.where}: {problem}")
        return {name: Text(self.environment, f"{self.where}: header {name}", str(value)) for name, value in headers.items()}


def _checked(channel: str, address: str) -> None:
    try:
        CHECKS[channel](address)
    except BadAddress as error:
        raise RenderError(str(error)) from error


class _Email:
    def __init__(self, source: _Source) -> None:
        template = source.params.get("template")
        self._subject = source.text("subject")
        self._html = source.file(f"{template}.html")
        own = source.file(f"{template}.txt") if f"{template}.txt" in source.definition.templates else None
        self._text = TextPart(source.environment, self._html, own)
        self._headers = source.headers("mail")
        self._from = source.optional("from")
        self._reply_to = source.optional("reply_to")

    def content(self, context: Context, address: str, now: datetime) -> Content:
        _checked("email", address)
        html = self._html.render(context)
        # the date is frozen with the rest: a retry sends the same bytes
        headers = {"Date": format_datetime(now)}
        for name, text in (("From", self._from), ("Reply-To", self._reply_to), *self._headers.items()):
            if text is not None:
                headers[name] = one_line(text.render(context))
        return Content(address, one_line(self._subject.render(context)), self._text.render(context, html), html, headers)


class _Sms:
    def __init__(self, source: _Source) -> None:
        template = source.params.get("template")
        self._text = source.file(f"{template}.txt") if template else source.text("text")

    def content(self, context: Context, address: str, now: datetime) -> Content:
        _checked("sms", address)
        return Content(address, text=self._text.render(context).strip())


class _Push:
    def __init__(self, source: _Source) -> None:
        self._title = source.text("title")
        self._text = source.text("text")

    def content(self, context: Context, address: str, now: datetime) -> Content:
        _checked("push", address)
        return Content(address, one_line(self._title.render(context)), self._text.render(context).strip())


class _Webhook:
    def __init__(self, source: _Source) -> None:
        self._url = source.text("url")
        self._method = str(source.params.get("method") or "POST")
        self._headers = source.headers("http")
        body = source.params.get("body")
        label = f"{source.where}: body"
        self._text = Text(source.environment, label, body) if isinstance(body, str) else None
        self._json = Value(source.environment, label, body) if body is not None and not isinstance(body, str) else None

    def content(self, context: Context, address: str, now: datetime) -> Content:
        headers = {METHOD: self._method, **{name: one_line(text.render(context)) for name, text in self._headers.items()}}
        body: str | None = None
        if self._json is not None:
            body = json.dumps(self._json.render(context), default=json_value, ensure_ascii=False)
            headers.setdefault("Content-Type", "application/json")
        elif self._text is not None:
            body = self._text.render(context)
            headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        return Content(self._url.render(context).strip(), text=body, headers=headers)
