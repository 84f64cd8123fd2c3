"""The shop's writing: its own tables, the engine's inbox, and the journals that say afterwards what was committed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from journey_pipelines.demo.journal import Journal
from journey_pipelines.demo.shop.people import Person

log = logging.getLogger("shop")

ORDERS_SOURCE = "shop_orders"
"""The id under which workflow_defs/sources.yaml declares shop.orders."""

_TABLES = """
CREATE TABLE IF NOT EXISTS shop.runs (
    run bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, seed integer NOT NULL, started_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS shop.customers (
    number bigint PRIMARY KEY, customer_id text NOT NULL UNIQUE, first_name text, last_name text, email_address text, phone_number text,
    push_token text, timezone text, country text, language text, subscription_status text, plan text NOT NULL, referrer text,
    lifetime_value double precision NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS customers_email ON shop.customers (email_address);
CREATE INDEX IF NOT EXISTS customers_phone ON shop.customers (phone_number);
CREATE INDEX IF NOT EXISTS customers_push ON shop.customers (push_token);
CREATE TABLE IF NOT EXISTS shop.orders (
    order_id text PRIMARY KEY, customer_id text NOT NULL, total numeric(12, 2) NOT NULL, items integer NOT NULL, cart_id text,
    placed_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS orders_updated ON shop.orders (updated_at);
"""
_RUN = "INSERT INTO shop.runs (seed, started_at) VALUES (%s, journeys.clock_now()) RETURNING run"
_FIELDS = (
    "number", "customer_id", "first_name", "last_name", "email_address", "phone_number", "push_token", "timezone", "country", "language",
    "subscription_status", "plan", "referrer", "lifetime_value",
)  # fmt: skip
_CUSTOMER = sql.SQL("INSERT INTO shop.customers ({}) VALUES ({}) ON CONFLICT (number) DO UPDATE SET {}").format(
    sql.SQL(", ").join(map(sql.Identifier, _FIELDS)),
    sql.SQL(", ").join(map(sql.Placeholder, _FIELDS)),
    sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(f)) for f in _FIELDS[2:]),
)
_EVENT = """
INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type, occurred_at, payload, profile)
VALUES ('shop', %s, %s, %s, journeys.clock_now(), %s::jsonb, %s::jsonb)
"""
# Written again under the same id when the answer to the first try was lost.
_ORDER = """
INSERT INTO shop.orders (order_id, customer_id, total, items, cart_id, placed_at, updated_at)
SELECT %s, %s, %s, %s, %s, t, t FROM (SELECT journeys.clock_now() AS t) AS clock ON CONFLICT (order_id) DO NOTHING
"""
_Result = TypeVar("_Result")
_PATIENCE = 60.0


class Ledger:
    """One connection as role `shop`. Every write is one transaction; its journal line follows the commit.

    A write whose connection breaks is tried again under the same ids for a minute: the engine counts an id once.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None
        self.events = Journal(folder / "events.jsonl")
        self.profiles = Journal(folder / "profiles.jsonl")
        self.written = 0

    def prepare(self, reader: str | None) -> None:
        """Make the shop's tables; let the role `reader` (the engine's) read the orders."""

        def make(connection: psycopg.Connection[Any]) -> None:
            connection.execute(_TABLES)
            if reader is not None:
                rights = sql.SQL("GRANT USAGE ON SCHEMA shop TO {0}; GRANT SELECT ON shop.orders TO {0}")
                connection.execute(rights.format(sql.Identifier(reader)))

        self._transaction(make)

    def begin(self, seed: int) -> tuple[int, list[Person]]:
        """This run's number, which makes its ids differ from those of earlier runs, and everybody known so far."""

        def read(connection: psycopg.Connection[Any]) -> tuple[int, list[Person]]:
            row = connection.execute(_RUN, (seed,)).fetchone()
            assert row is not None
            columns = sql.SQL(", ").join(map(sql.Identifier, _FIELDS))
            known = connection.execute(sql.SQL("SELECT {} FROM shop.customers ORDER BY number").format(columns)).fetchall()
            return int(row[0]), [Person(**dict(zip(_FIELDS, r, strict=True))) for r in known]

        return self._transaction(read)

    def save(self, person: Person, *events: tuple[str, str, dict[str, Any]]) -> None:
        """Write a person's profile and, in the same transaction, events (id, type, payload) of theirs."""

        def write(connection: psycopg.Connection[Any]) -> None:
            self._customer(connection, person)
            connection.execute("SELECT journeys.upsert_profile(%s, %s::jsonb)", (person.customer_id, json.dumps(person.profile())))
            for identity, kind, payload in events:
                connection.execute(_EVENT, (identity, person.customer_id, kind, json.dumps(payload), None))

        self._with_profile(person, write, events)

    def register(self, person: Person, identity: str, payload: dict[str, Any]) -> None:
        """A registration whose event carries the profile, so that no second call is needed."""

        def write(connection: psycopg.Connection[Any]) -> None:
            self._customer(connection, person)
            connection.execute(_EVENT, (identity, person.customer_id, "user_registered", json.dumps(payload), json.dumps(person.profile())))

        self._with_profile(person, write, ((identity, "user_registered", payload),))

    def event(self, person: Person, identity: str, kind: str, payload: dict[str, Any]) -> None:
        self._transaction(lambda connection: connection.execute(_EVENT, (identity, person.customer_id, kind, json.dumps(payload), None)))
        self._note(person, (identity, kind))

    def order(self, person: Person, order_id: str, total: float, items: int, cart_id: str | None) -> None:
        """A purchase: a row of the shop's own table, which the engine reads as an event source."""
        self._transaction(lambda connection: connection.execute(_ORDER, (order_id, person.customer_id, total, items, cart_id)))
        self._note(person, (order_id, "order"), source=ORDERS_SOURCE)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self.events.close()
        self.profiles.close()

    def _customer(self, connection: psycopg.Connection[Any], person: Person) -> None:
        connection.execute(_CUSTOMER, {field: getattr(person, field) for field in _FIELDS})

    def _with_profile(
        self, person: Person, write: Callable[[psycopg.Connection[Any]], None], events: tuple[tuple[str, str, dict[str, Any]], ...]
    ) -> None:
        # A grant may count from before its transaction, a withdrawal must count from after it: so both times are on record.
        began_at = self._clock()
        self._transaction(write)
        committed_at = self._clock()
        self.profiles.append(
            {
                "customer_id": person.customer_id, "began_at": began_at.isoformat(), "committed_at": committed_at.isoformat(),
                "consent": person.consents, "subscription_status": person.subscription_status, "email": person.email_address,
                "sms": person.phone_number, "push": person.push_token, "at": time.time(),
            }
        )  # fmt: skip
        self._note(person, *((identity, kind) for identity, kind, _ in events))

    def _note(self, person: Person, *written: tuple[str, str], source: str = "shop") -> None:
        customer_id, now = person.customer_id, time.time()
        self.events.append(*({"source": source, "id": i, "customer_id": customer_id, "type": kind, "at": now} for i, kind in written))
        self.written += len(written)

    def _clock(self) -> datetime:
        row = self._transaction(lambda connection: connection.execute("SELECT journeys.clock_now()").fetchone())
        assert row is not None
        clock: datetime = row[0]
        return clock

    def _transaction(self, work: Callable[[psycopg.Connection[Any]], _Result]) -> _Result:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(self._url, application_name="demo shop", connect_timeout=5)
                with self._connection.transaction():
                    return work(self._connection)
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("the database does not answer, trying again: %s", " ".join(str(error).split()))
                if self._connection is not None:
                    self._connection.close()
                time.sleep(0.5)
