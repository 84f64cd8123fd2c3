"""The demo shop: an app with an app's rights, whose journals hold exactly what was committed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from journey_pipelines.demo.journal import Journal, read
from journey_pipelines.demo.prepare import shop_role
from journey_pipelines.demo.shop.ledger import Ledger
from journey_pipelines.demo.shop.life import Life
from journey_pipelines.demo.shop.people import INVALID_ZONE, Person, person


class Notes:
    """Life written down in a list."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def save(self, person: Person, *events: tuple[str, str, dict[str, Any]]) -> None:
        self.lines.append(("save", person, *events))

    def register(self, person: Person, identity: str, payload: dict[str, Any]) -> None:
        self.lines.append(("register", person, identity, payload))

    def event(self, person: Person, identity: str, kind: str, payload: dict[str, Any]) -> None:
        self.lines.append((kind, person.customer_id, identity, payload))

    def order(self, person: Person, order_id: str, total: float, items: int, cart_id: str | None) -> None:
        self.lines.append(("order", person.customer_id, order_id, total, items, cart_id))


@pytest.fixture
def shop_url(db: sa.Engine, tmp_path: Path) -> Iterator[str]:
    url = shop_role(db, tmp_path / "shop.password")
    yield url
    with db.begin() as conn:
        conn.execute(sa.text("DROP OWNED BY shop CASCADE"))


def test_a_seed_makes_the_same_life_again() -> None:
    def lines(seed: int) -> list[tuple[Any, ...]]:
        notes = Notes()
        life = Life(notes, seed=seed, run=1, known=[], pace=12)
        life.until(30.0, limit=10_000)
        return notes.lines

    assert lines(7) == lines(7)
    assert lines(7) != lines(8)


def test_the_customers_are_as_various_as_promised() -> None:
    people = [person(7, n) for n in range(400)]
    assert len({p.timezone for p in people} - {None, INVALID_ZONE}) >= 8
    assert [p.number for p in people if p.timezone == INVALID_ZONE] == [9, 209]
    for missing in ("first_name", "phone_number", "email_address", "timezone", "subscription_status"):
        assert any(getattr(p, missing) is None for p in people), missing
    assert 0.7 < sum(p.consents for p in people) / len(people) < 0.9
    assert any(not p.first_name.isascii() for p in people if p.first_name)


def test_it_paces_itself_and_people_react(tmp_path: Path) -> None:
    notes = Notes()
    life = Life(notes, seed=7, run=1, known=[], pace=12)
    life.until(120.0, limit=100_000)
    kinds = [line[0] for line in notes.lines]
    registered = [line[1] for line in notes.lines if line[0] == "register"]
    registered += [line[1] for line in notes.lines if line[0] == "save" and any(event[1] == "user_registered" for event in line[2:])]
    assert sum(p.consents and p.email_address is not None for p in registered) > 200
    assert kinds.count("cart_updated") > 300 and kinds.count("order") > 50 and kinds.count("cart_emptied") > 10
    before = len(notes.lines)
    for someone in registered:
        if someone.email_address:
            life.receives(120.0, someone.email_address, "email", "Welcome")
    life.until(140.0, limit=100_000)
    after = notes.lines[before:]
    assert any(line[0] == "save" and line[1].subscription_status == "unsubscribed" and line[2:] for line in after)
    assert any(line[0] == "order" for line in after)


def test_the_shop_may_append_and_no_more(db: sa.Engine, shop_url: str) -> None:
    with psycopg.connect(shop_url, autocommit=True) as shop:
        for forbidden in (
            "SELECT * FROM journeys.event_inbox",
            "DELETE FROM journeys.event_inbox",
            "SELECT * FROM journeys.messages",
            "SELECT * FROM journeys.customer_profiles",
            "INSERT INTO journeys.event_inbox (customer_id, type, received_at) VALUES ('a', 'b', now())",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                shop.execute(forbidden)
        shop.execute("CREATE TABLE shop.own (id int)")
        assert shop.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'shop'").fetchone() == (False,)


def test_the_password_stays_with_the_folder(db: sa.Engine, shop_url: str, tmp_path: Path) -> None:
    kept = tmp_path / "shop.password"
    assert kept.stat().st_mode & 0o077 == 0
    assert shop_role(db, kept) == shop_url
    kept.unlink()
    with psycopg.connect(shop_role(db, kept)) as again:
        assert again.execute("SELECT current_user").fetchone() == ("shop",)


def test_a_run_is_on_record_line_by_line_and_goes_on_where_it_was(db: sa.Engine, shop_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    environment = {**os.environ, "SHOP_DATABASE_URL": shop_url}
    command = [sys.executable, "-m", "journey_pipelines.demo.shop", "--folder", str(folder), "--pace", "200"]
    with db.connect() as conn:
        owner = conn.scalar(sa.text("SELECT current_user"))
    subprocess.run([*command, "--prepare", "--reader", owner], env=environment, check=True, timeout=30)
    for _ in range(2):
        shop = subprocess.Popen(command, env=environment)
        time.sleep(4)
        shop.terminate()
        assert shop.wait(10) == 0
    lines = list(read(folder / "events.jsonl"))
    with db.connect() as conn:
        inbox = conn.execute(sa.text("SELECT source_event_id, customer_id, type FROM journeys.event_inbox WHERE source = 'shop'")).all()
        orders = set(conn.execute(sa.text("SELECT order_id FROM shop.orders")).scalars())
        customers = conn.execute(sa.text("SELECT count(*), count(DISTINCT customer_id), max(number) + 1 FROM shop.customers")).one()
        profiles = conn.execute(sa.text("SELECT count(*) FROM journeys.customer_profiles")).scalar_one()
    logged = [line for line in lines if line["source"] == "shop"]
    assert len(logged) > 100
    assert sorted((line["id"], line["customer_id"], line["type"]) for line in logged) == sorted(tuple(row) for row in inbox)
    assert {line["id"] for line in lines if line["source"] == "shop_orders"} == orders
    assert customers[0] == customers[1] == customers[2] and 0 < profiles <= customers[0]
    people = list(read(folder / "profiles.jsonl"))
    assert {line["customer_id"] for line in people} == {f"c{n:06d}" for n in range(customers[0])}
    assert all(line["began_at"] <= line["committed_at"] for line in people)


def test_a_database_that_goes_away_is_waited_for(db: sa.Engine, shop_url: str, tmp_path: Path) -> None:
    ledger = Ledger(shop_url, tmp_path / "shop")
    ledger.prepare(None)
    ledger.begin(7)
    someone = person(7, 0)
    ledger.save(someone, ("registered-1-1", "user_registered", {"plan": "free"}))
    with db.begin() as conn:
        conn.execute(sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'"))
    ledger.event(someone, "cart-1", "cart_updated", {"cart_id": "c"})
    ledger.order(someone, "order-1", 12.5, 2, "c")
    ledger.close()
    assert [line["id"] for line in read(tmp_path / "shop" / "events.jsonl")] == ["registered-1-1", "cart-1", "order-1"]


def test_without_a_database_it_says_what_to_set(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SHOP_DATABASE_URL"}
    command = [sys.executable, "-m", "journey_pipelines.demo.shop", "--folder", str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2 and "SHOP_DATABASE_URL is not set" in ended.stderr


def test_a_journal_survives_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(json.dumps({"id": 1}) + "\n" + '{"id": 2')
    journal = Journal(path)
    journal.append({"id": 3}, {"id": "ü"})
    journal.close()
    assert [line["id"] for line in read(path)] == [1, 3, "ü"]
    assert list(read(tmp_path / "none.jsonl")) == []
