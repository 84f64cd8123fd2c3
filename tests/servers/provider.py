"""A real HTTP provider on loopback: honours Idempotency-Key, keeps what it accepts, and can be told to misbehave."""

from __future__ import annotations

import http.server
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

RESET = "reset"
SILENCE = "silence"


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers.get("Idempotency-Key", "")

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Say:
    """An answer other than the usual 202. `accept`: the message was kept before it; `how`: RESET or SILENCE in its place."""

    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    accept: bool = False
    how: str | None = None
    body: bytes = b""


class Provider:
    """`answer` decides per request; None = accept. `idempotent=False` accepts a key as often as it comes.

    A context manager; `url` ends without a slash.
    """

    def __init__(self, *, idempotent: bool = True) -> None:
        self.asked: list[Asked] = []
        self.accepted: list[Asked] = []
        self.answer: Callable[[Asked], Say | None] = lambda asked: None
        self.idempotent = idempotent
        self._lock = threading.Lock()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                provider._handle(self)

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def keys(self) -> Counter[str]:
        """How often each key was accepted."""
        return Counter(asked.key for asked in self.accepted)

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        asked = Asked(handler.command, handler.path, dict(handler.headers.items()), body)
        with self._lock:
            self.asked.append(asked)
            say = self.answer(asked)
            if say is None or say.accept:
                known = self.idempotent and asked.key and any(a.key == asked.key for a in self.accepted)
                if not known:
                    self.accepted.append(asked)
        if say is not None and say.how == RESET:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
            return
        if say is not None and say.how == SILENCE:
            time.sleep(3)
        content = b'{"id": "p-%d"}' % len(self.accepted) if say is None else say.body
        try:
            handler.send_response(202 if say is None else say.status)
            for name, value in (say.headers if say else {}).items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            handler.close_connection = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""
