"""The web inbox: one list, one page per message, the switches for failures, and the JSON behind them. Nothing here keeps anything."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from journey_pipelines.demo.sandbox.faults import MODES, FaultError, Faults
from journey_pipelines.demo.sandbox.mailbox import CHANNELS, Mailbox
from journey_pipelines.demo.sandbox.reactions import Reactions

PAGE = 50
_CHANNEL_NAMES = {"email": "E-mail", "sms": "SMS", "push": "Push"}


def routes(mailbox: Mailbox, faults: Faults, reactions: Reactions | None, started: float) -> list[Route]:
    """`/`, `/messages/N`, `/api/messages`, `/api/messages/N`, `/api/status`, `/control`, `/healthz`."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    environment.filters["clock"] = lambda at: time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    environment.globals.update(names=_CHANNEL_NAMES, channels=CHANNELS)

    def status() -> dict[str, Any]:
        return {
            "accepted": {channel: mailbox.counts[channel] for channel in CHANNELS},
            "total": sum(mailbox.counts.values()),
            "repeats": mailbox.repeats,
            "last": mailbox.last,
            "faults": faults.as_json(),
            "reactions": {"on": reactions.on, "written": reactions.written} if reactions else None,
            "up_seconds": round(time.monotonic() - started, 1),
        }

    def render(name: str, code: int = 200, **values: Any) -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        html = environment.get_template(name).render(nonce=nonce, status=status(), modes=MODES, **values)
        return HTMLResponse(html, code, headers={"Content-Security-Policy": _policy(nonce), "Referrer-Policy": "no-referrer"})

    async def inbox(request: Request) -> Response:
        wanted = _wanted(request)
        found = mailbox.find(**wanted, limit=PAGE + 1)
        query, channel = wanted["recipient"], wanted["channel"]
        return render("inbox.html", messages=[m.summary() for m in found[:PAGE]], more=len(found) > PAGE, query=query, channel=channel,
                      before=wanted["before"])  # fmt: skip

    async def message(request: Request) -> Response:
        found = mailbox.get(request.path_params["number"])
        if found is None:
            return render("missing.html", 404, number=request.path_params["number"])
        return render("message.html", message=found, rows=found.summary())

    async def api_messages(request: Request) -> Response:
        oldest_first = request.query_params.get("order") == "oldest"
        try:
            limit = min(1000, max(1, int(request.query_params.get("limit", PAGE))))
        except ValueError:
            return JSONResponse({"error": "limit: expected a number from 1 to 1000"}, status_code=400)
        found = mailbox.find(**_wanted(request), limit=limit, oldest_first=oldest_first)
        return JSONResponse({"messages": [m.summary() for m in found], "status": status()})

    async def api_message(request: Request) -> Response:
        found = mailbox.get(request.path_params["number"])
        if found is None:
            return JSONResponse({"error": "no such message"}, status_code=404)
        return JSONResponse(found.__dict__)

    async def api_status(request: Request) -> Response:
        return JSONResponse(status())

    async def control(request: Request) -> Response:
        is_form = "json" not in request.headers.get("content-type", "")
        try:
            asked = dict(parse_qsl((await request.body()).decode(errors="replace"))) if is_form else await request.json()
            _control(asked, faults, reactions)
        except (FaultError, json.JSONDecodeError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return RedirectResponse("/", 303) if is_form else JSONResponse(status())

    async def healthz(request: Request) -> Response:
        return JSONResponse({"ok": True})

    return [
        Route("/", inbox),
        Route("/messages/{number:int}", message),
        Route("/api/messages", api_messages),
        Route("/api/messages/{number:int}", api_message),
        Route("/api/status", api_status),
        Route("/control", control, methods=["POST"]),
        Route("/healthz", healthz),
    ]


def _policy(nonce: str) -> str:
    # A rendered mail inherits this: it may carry its own styles and inline pictures, and can ask for nothing from outside.
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _wanted(request: Request) -> dict[str, Any]:
    asked: Callable[[str], str] = lambda name: request.query_params.get(name, "").strip()  # noqa: E731 -- three uses, one line
    channel = asked("channel")
    return {
        "recipient": asked("q")[:200],
        "channel": channel if channel in CHANNELS else "",
        "after": int(asked("after")) if asked("after").isdecimal() else 0,
        "before": int(asked("before")) if asked("before").isdecimal() else None,
    }


def _control(asked: Any, faults: Faults, reactions: Reactions | None) -> None:
    if not isinstance(asked, dict):
        raise FaultError('expected a JSON object such as {"channel": "sms", "mode": "429", "count": 5}')
    if "reactions" in asked and reactions is not None:
        reactions.switch(asked["reactions"] in (True, "on"))
    if "channel" not in asked:
        if "reactions" not in asked:
            raise FaultError(f"channel: expected one of {', '.join(MODES)}, got nothing")
        return
    try:
        count = int(asked["count"]) if asked.get("count") not in (None, "") else None
        seconds = float(asked.get("seconds") or 60)
    except (TypeError, ValueError) as error:
        raise FaultError(f"count and seconds: expected numbers: {error}") from error
    faults.set(str(asked["channel"]), str(asked.get("mode", "ok")), count, seconds, str(asked.get("retry_after", "2")))
