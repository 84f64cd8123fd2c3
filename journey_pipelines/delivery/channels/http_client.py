"""The HTTP side of a channel: one event loop in a thread of its own, connections kept between batches, a bounded number in flight.

aiohttp itself and not httpx over it: five times the messages a second, and exact errors. The adapter reports a connection lost after the
request as a time-out of connecting, which would make a doubt look like proof.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

T = TypeVar("T")

# Wall seconds for connecting, and for a whole request
CONNECT_TIMEOUT = 10.0
TOTAL_TIMEOUT = 20.0
MAX_ANSWER = 65_536
# below the 5 s after which common servers close an idle connection: a request must not meet the closing
KEEP_ALIVE = 4.0


@dataclass(frozen=True)
class Answer:
    """Status, headers and the first 64 kB of the body."""

    status: int
    headers: Any
    body: bytes

    def said(self) -> str:
        """The body's beginning as one line."""
        return " ".join(self.body[:400].decode("utf-8", "replace").split())[:200]

    def message_id(self) -> str | None:
        """`id` or `message_id` of a JSON answer."""
        try:
            answer = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        found = (answer.get("id") or answer.get("message_id")) if isinstance(answer, dict) else None
        return str(found)[:200] if isinstance(found, str | int) else None


class HttpClient:
    """`in_flight` requests at once. Started by the first `each`, stopped by `close`."""

    def __init__(self, *, in_flight: int = 32, resolver: AbstractResolver | None = None, total_timeout: float = TOTAL_TIMEOUT) -> None:
        self.in_flight = in_flight
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=total_timeout, sock_connect=CONNECT_TIMEOUT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None

    def each(self, work: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
        """Run `work` over the items, `in_flight` at a time; returns when all are done."""

        async def everything() -> None:
            rest = iter(items)

            async def worker() -> None:
                for item in rest:
                    await work(item)

            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.in_flight, len(items))):
                    group.create_task(worker())

        self._run(everything())

    async def request(self, method: str, url: str | URL, body: bytes | None, headers: dict[str, str]) -> Answer:
        """One request, redirects not followed; inside `each` only. Raises what aiohttp raises when there is no answer."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self.in_flight, resolver=self._resolver, keepalive_timeout=KEEP_ALIVE)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=["Accept-Encoding"],
            )
        async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            return Answer(response.status, response.headers, await _read(response))

    def close(self) -> None:
        if self._loop is None or self._thread is None:
            return
        if self._session is not None:
            self._run(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = self._session = None

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)
            self._thread.start()
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body as far as it is wanted. The status has been read: what breaks now does not change the answer."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size >= MAX_ANSWER:
                response.close()
                break
    except (aiohttp.ClientError, TimeoutError, OSError):
        response.close()
    return b"".join(parts)[:MAX_ANSWER]
