"""The SMS and push side: an HTTP provider that honours Idempotency-Key and fails on demand."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from journey_pipelines.demo.sandbox.faults import Fault, Faults
from journey_pipelines.demo.sandbox.mailbox import Mailbox, Message


class Protocol(H11Protocol):
    """uvicorn's protocol that also hands its connection to the application, which has to be able to break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_connection(scope: Any, receive: Any, send: Any) -> None:
            scope["connection"] = transport
            await app(scope, receive, send)

        self.app = with_connection


def routes(mailbox: Mailbox, faults: Faults, accepted: Callable[[Message], None]) -> list[Route]:
    """POST /sms and POST /push: JSON with `to` and `text` (push also `title`), header Idempotency-Key."""

    async def take(request: Request) -> Response:
        channel = request.url.path.strip("/")
        fault = faults.take(channel)
        if fault.mode == "refuse":
            return _reset(request)
        try:
            body = await request.json()
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            return JSONResponse({"error": f"expected a JSON object: {error}"}, status_code=400)
        except ClientDisconnect:
            return Response(status_code=400)
        if not isinstance(body, dict) or not isinstance(body.get("to"), str) or not body["to"]:
            return JSONResponse({"error": "expected a JSON object with the text field `to`"}, status_code=400)
        if fault.mode == "429":
            return JSONResponse({"error": "told to be busy"}, status_code=429, headers={"Retry-After": fault.retry_after})
        if fault.mode == "500":
            return JSONResponse({"error": "told to fail"}, status_code=500)
        answered = {"timeout_after_accept": "silence", "reset": "dropped"}.get(fault.mode, "yes")
        kept, new = mailbox.accept(_message(channel, body, request), answered=answered, idempotent=True)
        if new:
            accepted(kept)
        return await _answer(request, kept, fault)

    return [Route("/sms", take, methods=["POST"]), Route("/push", take, methods=["POST"])]


async def _answer(request: Request, kept: Message, fault: Fault) -> Response:
    if fault.mode == "timeout_after_accept":
        await asyncio.sleep(fault.seconds)
        return _reset(request)
    if fault.mode == "reset":
        return _reset(request)
    return JSONResponse({"id": f"{kept.channel}-{kept.number}", "status": "accepted"}, status_code=202)


def _message(channel: str, body: dict[str, Any], request: Request) -> Message:
    text = str(body.get("text") or body.get("body") or "")
    title = str(body.get("title") or "")
    rest = {name: value for name, value in body.items() if name not in ("to", "text", "body", "title", "from")}
    shown = [(name, value) for name, value in request.headers.items() if name not in ("authorization", "host", "content-length")]
    return Message(
        key=request.headers.get("idempotency-key", "").strip().strip('"'),
        channel=channel,
        recipient=body["to"],
        sender=str(body.get("from") or ""),
        subject=title,
        text=text,
        headers=shown + [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in rest.items()],
    )


def _reset(request: Request) -> Response:
    """Break the connection with a TCP reset, as a provider's load balancer does when it is restarted."""
    connection: asyncio.Transport = request.scope["connection"]
    raw = connection.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.abort()
    return Response(status_code=503)
