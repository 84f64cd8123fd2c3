"""The channels that the settings name, checked when a worker starts and not at its first mail."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from journey_pipelines.delivery.channel import VARIABLES, Channel
from journey_pipelines.delivery.channels.http import HttpChannel
from journey_pipelines.delivery.channels.smtp import SmtpChannel
from journey_pipelines.delivery.channels.smtp_dialogue import Server, Tls
from journey_pipelines.delivery.channels.webhook import WebhookChannel
from journey_pipelines.settings import Settings

_SENDER = re.compile(r"[^@\s<>]+@[^@\s<>]+|[^<>\r\n]*<[^@\s<>]+@[^@\s<>]+>")


class ChannelConfigError(ValueError):
    """A channel's settings cannot be used; names the variable, never its value's secrets."""


def channels_from_settings(settings: Settings) -> dict[str, Channel]:
    """Channel name -> channel, for those that are configured; webhooks always are. Opens no connection. Raises ChannelConfigError.

    Options stand behind `#` of a URL: `smtp://host:25#connections=8&tls=required` (tls: offered, required, never),
    `https://host/sms#in_flight=64&idempotency=none`.
    """
    channels: dict[str, Channel] = {"webhook": WebhookChannel(settings.webhook_allow)}
    if settings.smtp_url is not None:
        channels["email"] = _smtp(settings.smtp_url, settings.sender)
    for name, url, key in (("sms", settings.sms_url, settings.sms_key), ("push", settings.push_url, settings.push_key)):
        if url is not None:
            parts, options = _options(VARIABLES[name], url, {"in_flight": r"[1-9][0-9]{0,2}", "idempotency": "key|none"})
            channels[name] = HttpChannel(
                name,
                urlunsplit(parts),
                key,
                in_flight=int(options.get("in_flight", 32)),
                idempotency="none" if options.get("idempotency") == "none" else "key",
            )
    return channels


def _smtp(url: str, sender: str | None) -> SmtpChannel:
    parts, options = _options("JOURNEYS_SMTP_URL", url, {"connections": r"[1-9][0-9]?", "tls": "offered|required|never"})
    if not sender or not _SENDER.fullmatch(sender):
        got = "nothing" if not sender else repr(sender)
        raise ChannelConfigError(f"JOURNEYS_SENDER: e-mail needs the address it comes from, such as 'Shop <shop@example.org>'; got {got}")
    user = unquote(parts.username) if parts.username else None
    # a password in the clear is no password: with one, TLS is verified
    tls: Tls = "required" if user else "offered"
    match options.get("tls"):
        case "required":
            tls = "required"
        case "never":
            tls = "never"
        case "offered":
            tls = "offered"
    if parts.scheme == "smtps":
        tls = "implicit"
    assert parts.hostname is not None
    server = Server(
        parts.hostname, parts.port or (465 if tls == "implicit" else 25), user, unquote(parts.password) if parts.password else None, tls
    )
    return SmtpChannel(server, sender, connections=int(options.get("connections", 4)))


def _options(variable: str, url: str, known: dict[str, str]) -> tuple[SplitResult, dict[str, str]]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ChannelConfigError(f"{variable}: {error}") from None
    if not parts.hostname or port == 0:
        raise ChannelConfigError(f"{variable}: expected scheme://host:port, got no host")
    options = dict(parse_qsl(parts.fragment, keep_blank_values=True))
    for name, value in options.items():
        if name not in known:
            raise ChannelConfigError(f"{variable}: unknown option {name!r} behind '#'; there is: {', '.join(known)}")
        if not re.fullmatch(known[name], value):
            raise ChannelConfigError(f"{variable}: option {name}: expected {known[name]}, got {value!r}")
    return parts._replace(fragment=""), options
