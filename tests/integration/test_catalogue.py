"""`journeys catalogue`: what was seen, merged with what is declared."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import START
from typer.testing import CliRunner

from journey_pipelines.audience.seen import Seen, main_type, seen
from journey_pipelines.cli import build_app
from journey_pipelines.scaffold.catalogue import merged
from journey_pipelines.settings import settings
from journey_pipelines.store.tables import customer_events, customer_profiles
from journey_pipelines.workflows.load import load_project


@pytest.fixture
def world(db: sa.Engine) -> sa.Engine:
    """A history with fields of every type, a field of two, the engine's own events, and profiles."""
    rows = [
        ("purchase", {"total": 12.5, "order_id": "o-1", "items": [1], "gift": True, "address": {"city": "Bern"}, "note": None}),
        ("purchase", {"total": 20, "order_id": "o-2", "placed": "2026-03-02T09:00:00Z", "day": "2026-03-02"}),
        ("purchase", {"total": "9.90", "order_id": "2026-03-02", "placed": "2026-03-03", "day": "2026-03-04"}),
        ("unsubscribed", {}),
        ("order.paid", {"amount": 1}),
        ("message.opened", {"message_key": "k"}),
        ("enter.hello", {"trigger": "manual"}),
    ]
    people: list[dict[str, Any]] = [
        {"plan": "gold", "renewal": "2026-05-01", "visits": 3, "vip": True, "tags": ["a"], "last_visit": "2026-03-01T10:00:00+01:00"},
        {"plan": "free", "visits": "four", "full name": "Ann"},
        {"visits": 5},
    ]
    common = {"occurred_at": START, "received_at": START, "source": "app"}
    with db.begin() as conn:
        for n, (type_, payload) in enumerate(rows):
            row = {"seq": n + 1, "customer_id": "c", "shard": 1, "type": type_, "payload": payload}
            conn.execute(sa.insert(customer_events).values({**common, **row}))
        for n, attributes in enumerate(people):
            profile = {"customer_id": f"c{n}", "shard": 1, "attributes": attributes, "updated_at": START + timedelta(hours=n)}
            conn.execute(sa.insert(customer_profiles).values(profile))
    return db


def look(db: sa.Engine, **bounds: int) -> Seen:
    with db.connect() as conn:
        return seen(conn, **bounds)


def test_types_of_fields_and_attributes(world: sa.Engine) -> None:
    found = look(world)
    assert found.events == {
        "order.paid": {"amount": {"number": 1}},
        "purchase": {
            "address": {"object": 1},
            "day": {"date": 2},
            "gift": {"bool": 1},
            "items": {"list": 1},
            "order_id": {"date": 1, "text": 2},
            "placed": {"date": 1, "datetime": 1},
            "total": {"number": 2, "text": 1},
        },
        "unsubscribed": {},
    }
    assert found.attributes == {
        "full name": {"text": 1},
        "last_visit": {"datetime": 1},
        "plan": {"text": 2},
        "renewal": {"date": 1},
        "tags": {"list": 1},
        "vip": {"bool": 1},
        "visits": {"number": 2, "text": 1},
    }


def test_the_sample_is_bounded(world: sa.Engine) -> None:
    assert look(world, of_a_type=1).events["purchase"]["total"] == {"text": 1}, "the newest of its type"
    assert look(world, newest=3).events == {"order.paid": {"amount": {"number": 1}}}, "of the newest events those that apps wrote"
    assert sum(look(world, profiles=1).attributes["visits"].values()) == 1


def test_a_large_table_of_profiles_is_sampled(world: sa.Engine) -> None:
    with world.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO journeys.customer_profiles (customer_id, shard, attributes, updated_at) "
            """SELECT 'p' || n, 1, '{"plan": "free"}', now() FROM generate_series(1, 20000) n"""
        )
        conn.exec_driver_sql("ANALYZE journeys.customer_profiles")
    plan = look(world, profiles=500).attributes["plan"]["text"]
    assert 0 < plan <= 500


def test_a_time_among_days_is_a_time_and_otherwise_the_most_frequent_wins() -> None:
    assert main_type({"date": 5, "datetime": 1}) == "datetime"
    assert main_type({"text": 5, "number": 6, "date": 1}) == "number"


def test_what_was_seen_becomes_a_catalogue_that_loads(world: sa.Engine, tmp_path: Path) -> None:
    text = merged(None, look(world))
    (tmp_path / "catalogue.yaml").write_text(text, encoding="utf-8")
    project = load_project(tmp_path)
    assert project.errors == []
    assert project.catalogue.events == {
        "order.paid": {"amount": "number"},
        "purchase": {
            "address": "object", "day": "date", "gift": "bool", "items": "list", "order_id": "text", "placed": "datetime",
            "total": "number",
        },
        "unsubscribed": {},
    }  # fmt: skip
    assert project.catalogue.attributes == {
        "last_visit": "datetime", "plan": "text", "renewal": "date", "vip": "bool", "visits": "number",
    }  # fmt: skip
    assert "#   purchase.total: number above, seen number 66.7 %, text 33.3 %\n" in text
    assert "order_id: text above" not in text, "a text may spell a date"
    assert "#   attributes.tags: list; an attribute is declared as text, number, bool, date, datetime\n" in text
    assert "#   attributes.full name: not a name that expressions can use\n" in text


DECLARED = """\
# Ours.
events:
  # what people buy
  purchase: {total: text, coupon: text}   # money
  visit:
  unsubscribed: {}
attributes:
  visits: number
"""


def test_what_is_declared_stays_with_its_comments(world: sa.Engine) -> None:
    text = merged(DECLARED, look(world))
    assert text.startswith("# Ours.\nevents:\n  # what people buy\n  purchase: {total: text, coupon: text, address: object, day: date, ")
    assert "# money" in text and "\n  visit:\n" in text and "\n  order.paid: {amount: number}\n" in text
    assert "#   purchase.total: text above, seen number 66.7 %, text 33.3 %\n" in text
    assert "visits: number above, seen number 66.7 %, text 33.3 %" in text


def test_twice_is_once(world: sa.Engine) -> None:
    for start in (None, DECLARED, "# only a comment\n", ""):
        once = merged(start, look(world))
        assert merged(once, look(world)) == once
        assert start is None or once.startswith(start.split("\n")[0])


def test_nothing_seen_changes_nothing() -> None:
    assert merged(DECLARED, Seen()) == DECLARED


@pytest.fixture
def project(tmp_path: Path, db_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATABASE_URL", db_url)
    settings.cache_clear()
    return tmp_path


def run(project: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), ["catalogue", "--project", str(project), *words])
    return result.exit_code, result.output


def test_the_command_prints_and_writes(world: sa.Engine, project: Path) -> None:
    code, said = run(project)
    assert code == 0 and "purchase: {address: object" in said
    assert list(project.iterdir()) == []
    assert run(project, "--write")[0] == 0
    assert (project / "catalogue.yaml").read_text(encoding="utf-8") == said
    assert run(project) == (0, said)


def test_a_catalogue_with_an_error_is_left_alone(world: sa.Engine, project: Path) -> None:
    (project / "catalogue.yaml").write_text("events: {purchase: {total: money}}\n", encoding="utf-8")
    code, said = run(project, "--write")
    assert code == 1 and "events.purchase.total: expected text" in said
    assert (project / "catalogue.yaml").read_text(encoding="utf-8") == "events: {purchase: {total: money}}\n"


def test_a_folder_that_is_not_there_is_refused(world: sa.Engine, project: Path) -> None:
    code, said = run(project / "nowhere", "--write")
    assert code == 1 and "make a project with `journeys init`" in said
