"""The parameters of actions that are rows of the ledger: mails, text messages, push messages, webhooks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from journey_pipelines.workflows.action_reader import ActionReader
from journey_pipelines.workflows.fields import plain, walk_text


def send_email(reader: ActionReader) -> dict[str, Any]:
    return {
        **reader.template(".html", ".txt"),
        **reader.text("subject", needed="Welcome!"),
        **reader.text("from"),
        **reader.text("reply_to"),
        **reader.headers("mail"),
        **reader.duration("expires"),
    }


def send_sms(reader: ActionReader) -> dict[str, Any]:
    fields = reader.fields
    if ("text" in fields.values) == ("template" in fields.values):
        got = "both" if "text" in fields.values else "neither"
        fields.problems.error(fields.at, f"{fields.what}: expected either `text` or `template`, got {got}; keep one of the two")
        return {}
    content = reader.text("text", one_line=False) if "text" in fields.values else reader.template(".txt", None)
    return {**content, **reader.duration("expires")}


def send_push(reader: ActionReader) -> dict[str, Any]:
    return {**reader.text("title", needed="10% off"), **reader.text("text", needed="Until tomorrow"), **reader.duration("expires")}


def webhook_call(reader: ActionReader) -> dict[str, Any]:
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
