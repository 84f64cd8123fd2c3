"""The people behind the addresses: they receive, open and click, which the sandbox writes to the inbox as an app's rows.

It logs in as the shop's role and knows who lives at an address from the shop's own table. Whether and when a person reacts
depends on the message's key alone, so that a run can be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import json
import logging
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psycopg

from journey_pipelines.demo.journal import Journal
from journey_pipelines.demo.sandbox.mailbox import Message

log = logging.getLogger("sandbox.reactions")

# Shares of people, and wall seconds at the demo's 600x (a second is ten minutes of the demo clock).
OPENS = {"email": 0.6, "sms": 0.0, "push": 0.5}
MACHINE_OPENS = 0.1
CLICKS_AFTER_OPEN = 0.35
CLICKS_SMS = 0.12
DELIVERED_AFTER = (0.1, 0.6)
OPENED_AFTER = (1.0, 12.0)
CLICKED_AFTER = (0.5, 4.0)

_INSERT = """
INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type, payload)
VALUES ('sandbox', %s, %s, %s, %s::jsonb)
"""
_WHO = {
    "email": "SELECT customer_id FROM shop.customers WHERE email_address = %s",
    "sms": "SELECT customer_id FROM shop.customers WHERE phone_number = %s",
    "push": "SELECT customer_id FROM shop.customers WHERE push_token = %s",
}


@dataclass(order=True)
class _Event:
    due: float
    order: int
    message: Message = field(compare=False)
    type: str = field(compare=False)
    payload: dict[str, Any] = field(compare=False)


class Reactions:
    """Writes message.delivered, message.opened and message.clicked rows; `journal` gets each one's id after its commit."""

    def __init__(self, url: str, journal: Journal, seed: int) -> None:
        self._url = url
        self._journal = journal
        self._seed = seed
        self._due: list[_Event] = []
        self._count = itertools.count()
        self._wake = asyncio.Event()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self.on = True
        self.written = 0
        self.unknown = 0

    def message(self, message: Message) -> None:
        """Plan what the recipient of a message just kept will do; nothing while switched off."""
        if not self.on or not message.key:
            return
        for delay, kind, payload in reactions_to(message, self._seed):
            heapq.heappush(self._due, _Event(time.monotonic() + delay, next(self._count), message, kind, payload))
        self._wake.set()

    def switch(self, on: bool) -> None:
        """Off also forgets what was planned: nobody opens or clicks any more."""
        self.on = on
        if not on:
            self._due.clear()

    async def run(self) -> None:
        """Write what is due until cancelled; a database that is away is waited for."""
        while True:
            self._wake.clear()
            wait = self._due[0].due - time.monotonic() if self._due else None
            if wait is None or wait > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait)
                continue
            event = heapq.heappop(self._due)
            try:
                await self._write(event)
            except psycopg.Error as error:
                log.warning("cannot write %s, trying again: %s", event.type, " ".join(str(error).split()))
                await self._drop_connection()
                if self.on:
                    heapq.heappush(self._due, event)
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        await self._drop_connection()
        self._journal.close()

    async def _write(self, event: _Event) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, application_name="channel sandbox", connect_timeout=5
            )
        cursor = await self._connection.execute(_WHO[event.message.channel], (event.message.recipient,))
        found = await cursor.fetchone()
        if found is None:
            self.unknown += 1
            return
        identity = f"{event.message.key}:{event.type.removeprefix('message.')}"
        # An INSERT whose answer was lost is written again under the same id, and counts once (source, source_event_id).
        await self._connection.execute(_INSERT, (identity, found[0], event.type, json.dumps(event.payload)))
        self._journal.append({"source": "sandbox", "id": identity, "customer_id": found[0], "type": event.type, "at": time.time()})
        self.written += 1

    async def _drop_connection(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def reactions_to(message: Message, seed: int) -> list[tuple[float, str, dict[str, Any]]]:
    """(seconds from now, event type, payload) of everything a person does with a message; the same for the same key and seed."""
    chance = Random(f"{seed}:{message.key}")  # noqa: S311 -- a simulation, to be repeated
    payload: dict[str, Any] = {"message_key": message.key}
    click = payload | {"link": "https://shop.example/", "machine": False}
    at = chance.uniform(*DELIVERED_AFTER)
    planned = [(at, "message.delivered", payload)]
    if message.channel == "sms":
        if chance.random() < CLICKS_SMS:
            planned.append((at + chance.uniform(*OPENED_AFTER), "message.clicked", click))
        return planned
    if chance.random() < MACHINE_OPENS:
        return [*planned, (at + 0.1, "message.opened", payload | {"machine": True})]
    if chance.random() < OPENS[message.channel]:
        at += chance.uniform(*OPENED_AFTER)
        planned.append((at, "message.opened", payload | {"machine": False}))
        if chance.random() < CLICKS_AFTER_OPEN:
            at += chance.uniform(*CLICKED_AFTER)
            planned.append((at, "message.clicked", click))
    return planned
