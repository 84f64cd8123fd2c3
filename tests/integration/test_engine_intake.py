"""What the engine takes out of the inbox: counted once, quarantined, clamped or accepted, with a reason; the batch goes on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_flows import GREETING
from engine_rows import event, one, orphans, put, rows
from engine_world import START, World
from sqlalchemy import event as sa_event

from journey_pipelines.engine.tick import tick

GOLD = """
workflow: gold
triggers:
  - event: checked_out
    when: customer.plan == 'gold'
steps:
  - id: thank
    wait: 1 hour
"""
LATER = START + timedelta(minutes=10)


@pytest.fixture
def hello(db: sa.Engine, tmp_path: Path) -> sa.Engine:
    World(db, tmp_path).deploy(GREETING, GOLD)
    return db


@pytest.fixture
def statements(hello: sa.Engine) -> Iterator[list[str]]:
    """The SQL that goes to the database."""
    seen: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    sa_event.listen(hello, "before_cursor_execute", note)
    yield seen
    sa_event.remove(hello, "before_cursor_execute", note)


def customers(db: sa.Engine, table: str = "customer_events", where: str = "true") -> list[str]:
    return [row.customer_id for row in rows(db, f"SELECT customer_id FROM journeys.{table} WHERE {where} ORDER BY customer_id")]


def put_text(db: sa.Engine, customer: str, payload: str = "{}", profile: str | None = None) -> None:
    """A signup whose JSON is written as it stands."""
    columns = "customer_id, type, payload, profile, occurred_at, received_at"
    with db.begin() as conn:
        conn.execute(
            sa.text(f"INSERT INTO journeys.event_inbox ({columns}) VALUES (:c, 'signup', cast(:p AS jsonb), cast(:f AS jsonb), :at, :at)"),
            {"c": customer, "p": payload, "f": profile, "at": START},
        )


# ---- counted once


def test_an_event_id_counts_once_in_a_batch_and_across(hello: sa.Engine) -> None:
    put(hello, *(event("ann", "signup", payload={"n": n}, source="shop", source_event_id="e1") for n in range(3)))
    first = tick(hello, START)
    assert (first.rows_in, first.routed, first.entered) == (3, 1, 1)
    put(hello, event("ann", "signup", LATER, source="shop", source_event_id="e1"))
    # the id is the app's promise: another customer or type does not make it another event
    put(hello, event("bob", "reply", LATER, source="shop", source_event_id="e1"))
    again = tick(hello, LATER)
    assert (again.rows_in, again.routed, again.entered) == (2, 0, 0)
    assert rows(hello, "SELECT customer_id, type, payload FROM journeys.customer_events") == [("ann", "signup", {"n": 0})]
    assert one(hello, "SELECT n FROM journeys.customer_event_stats") == 1


def test_the_earliest_of_a_batch_is_the_one_that_counts(hello: sa.Engine) -> None:
    put(
        hello,
        event("ann", "signup", START + timedelta(seconds=2), {"n": 1}, source_event_id="e1"),
        event("ann", "signup", START, {"n": 2}, source_event_id="e1"),
    )
    tick(hello, LATER)
    assert one(hello, "SELECT payload ->> 'n' FROM journeys.customer_events") == "2"


def test_the_same_id_from_another_source_is_another_event(hello: sa.Engine) -> None:
    put(hello, event("ann", "signup", source="shop", source_event_id="e1"), event("ann", "signup", source="till", source_event_id="e1"))
    # source and id do not run into each other
    put(hello, event("ann", "signup", source="shop2", source_event_id="1"), event("ann", "signup", source="shop", source_event_id="21"))
    assert tick(hello, START).entered == 4


def test_without_an_id_every_row_counts(hello: sa.Engine) -> None:
    put(hello, *(event("ann", "signup") for _ in range(3)))
    assert tick(hello, START).entered == 3
    assert one(hello, "SELECT count(*) FROM journeys.event_keys") == 0


def test_a_quarantined_row_does_not_use_up_its_id(hello: sa.Engine) -> None:
    """The app sends it again, mended, under the same id."""
    put(hello, event("ann", "signup", payload=[1], source_event_id="e1"), event("ann", "signup", source_event_id="e1"))
    report = tick(hello, START)
    assert (report.quarantined, report.routed, report.entered) == (1, 1, 1)


# ---- what cannot be used


REFUSED: list[tuple[Any, Any, str]] = [
    ({"text": "".join(f"{n:07x}" for n in range(150_000))}, None, "payload is larger than 64 kB"),
    # compresses to less than a kilobyte
    ({"text": "x" * 70_000}, None, "payload is larger than 64 kB"),
    ({}, {"bio": "x" * 70_000}, "profile is larger than 64 kB"),
    ([1, 2], None, "payload is not a JSON object but array"),
    ("text", None, "payload is not a JSON object but string"),
    (3, None, "payload is not a JSON object but number"),
    ({}, [], "profile is not a JSON object but array"),
    ({}, "gold", "profile is not a JSON object but string"),
    ({}, True, "profile is not a JSON object but boolean"),
]


def test_what_cannot_be_used_is_quarantined_with_its_reason(hello: sa.Engine) -> None:
    for payload, profile, _ in REFUSED:
        put(hello, event("bad", "signup", payload=payload, profile=profile), event("zoe", "signup"))
    report = tick(hello, START)
    n = len(REFUSED)
    assert (report.rows_in, report.routed, report.quarantined, report.entered) == (2 * n, n, n, n)
    found = rows(hello, "SELECT * FROM journeys.event_quarantine ORDER BY inbox_id")
    assert [(row.payload, row.reason) for row in found] == [(payload, reason) for payload, _, reason in REFUSED]
    assert {(row.customer_id, row.type, row.occurred_at, row.quarantined_at) for row in found} == {("bad", "signup", START, START)}
    assert set(customers(hello)) == {"zoe"}
    assert one(hello, "SELECT count(*) FROM journeys.event_inbox") == 0
    assert customers(hello, "customer_profiles") == []


def test_a_json_null_payload_is_quarantined(hello: sa.Engine) -> None:
    put_text(hello, "a", payload="null")
    assert tick(hello, START).quarantined == 1
    assert one(hello, "SELECT reason FROM journeys.event_quarantine") == "payload is not a JSON object but null"


def test_a_json_null_profile_is_no_profile(hello: sa.Engine) -> None:
    put_text(hello, "a", profile="null")
    report = tick(hello, START)
    assert (report.quarantined, report.entered) == (0, 1)
    assert customers(hello, "customer_profiles") == []


def test_63_kilobytes_are_accepted(hello: sa.Engine) -> None:
    put(hello, event("ann", "signup", payload={"text": "x" * 64_000}))
    assert tick(hello, START).entered == 1


# ---- times


def test_1970_is_history_and_does_not_enter(hello: sa.Engine) -> None:
    put(hello, event("ann", "signup", datetime(1970, 1, 1, tzinfo=UTC), received_at=START))
    report = tick(hello, START)
    assert (report.routed, report.quarantined, report.entered) == (1, 0, 0)
    assert one(hello, "SELECT occurred_at FROM journeys.customer_events") == datetime(1970, 1, 1, tzinfo=UTC)
    assert one(hello, "SELECT first_at FROM journeys.customer_event_stats").year == 1970


def test_lateness_is_measured_at_the_door_not_at_the_tick(hello: sa.Engine) -> None:
    """Received in time, taken after three days of standstill: it enters."""
    put(
        hello,
        event("just", "signup", START - timedelta(days=1), received_at=START),
        event("late", "signup", START - timedelta(days=1, microseconds=1), received_at=START),
    )
    assert tick(hello, START + timedelta(days=3)).entered == 1
    assert customers(hello, "customer_journeys") == ["just"]


def test_2099_is_clamped_and_the_original_kept(hello: sa.Engine) -> None:
    put(hello, event("ann", "signup", datetime(2099, 1, 1, tzinfo=UTC), received_at=START))
    assert tick(hello, START).rows_in == 0  # it has not happened yet
    assert tick(hello, START + timedelta(minutes=5)).entered == 1
    row = rows(hello, "SELECT occurred_at, original_occurred_at FROM journeys.customer_events")[0]
    assert (row.occurred_at, row.original_occurred_at) == (START + timedelta(minutes=5), datetime(2099, 1, 1, tzinfo=UTC))
    journey = rows(hello, "SELECT entered_at, due_at FROM journeys.customer_journeys")[0]
    assert journey.entered_at == START + timedelta(minutes=5)
    assert journey.due_at < START + timedelta(days=4)


def test_an_event_in_time_has_no_original(hello: sa.Engine) -> None:
    put(hello, event("ann", "signup"))
    tick(hello, START)
    assert one(hello, "SELECT original_occurred_at FROM journeys.customer_events") is None


# ---- odd values

ODD = """
workflow: odd
triggers:
  - event: odd
    when: >-
      event.at < now or event.total > 10 or event.name == 'x' or event.deep.a.b > 1 or event.items[0] == 1
      or event.total + event.name > 3 or event.total / event.zero > 1 or 'a' in event.tags
entry:
  key: event.key
steps:
  - id: first
    wait: 1 hour
    do:
      - update_profile:
          set: {seen: "{{ event.total }}"}
          increment: {sum: "{{ event.total }}"}
      - create_task: {title: "Call about {{ event.name }}", when: event.total != 3}
"""


ODD_PAYLOADS: list[dict[str, Any]] = [
    {"key": "k", "at": "now", "name": "x"},
    {"key": "k", "at": "infinity", "total": "many", "name": "x"},
    {"key": "k", "at": "2026-02-30", "total": 1e300, "name": "x"},
    {"key": "k", "total": [1], "name": {"x": 1}, "tags": "a"},
    {"key": "k", "total": True, "zero": 0, "name": "x", "deep": {"a": 3}},
    {"key": "k", "total": 11, "zero": 0, "items": {"0": 1}},
    {"key": 12.50, "total": -11, "name": "x", "items": [1]},
    {"key": "k" * 5000, "name": "x"},
    {"key": "\u202e\U0001f600'\"%s%(now)s{{ 1 }}\\", "name": "x", "total": 5},
]


def test_odd_values_harm_nobody(db: sa.Engine, tmp_path: Path) -> None:
    World(db, tmp_path).deploy(ODD)
    put(db, *(event(f"c{n}", "odd", payload=payload) for n, payload in enumerate(ODD_PAYLOADS)))
    n = len(ODD_PAYLOADS)
    report = tick(db, START)
    assert (report.routed, report.quarantined, report.failed, report.entered) == (n, 0, 0, n)
    report = tick(db, START + timedelta(hours=2))
    assert (report.advanced, report.ended, report.failed) == (n, n, 0)
    assert set(orphans(db).values()) == {0}
    profiles = rows(db, "SELECT customer_id, attributes -> 'sum' AS total FROM journeys.customer_profiles")
    assert {row.customer_id: row.total for row in profiles} == {**dict.fromkeys(f"c{n}" for n in range(9)), "c5": 11, "c6": -11, "c8": 5}


def test_now_as_text_does_not_read_the_wall_clock(db: sa.Engine, tmp_path: Path) -> None:
    """'now', 'today' and 'infinity' are valid casts to a time in PostgreSQL."""
    before, after = ODD.split("    when", 1)[0], ODD[ODD.index("entry:") :]
    World(db, tmp_path).deploy(f"{before}    when: event.at <= now or days_since(event.at) >= 0\n{after}")
    for n, text in enumerate(["now", "today", "-infinity", "epoch", "yesterday"]):
        put(db, event(f"c{n}", "odd", payload={"key": "k", "at": text}))
    put(db, event("fine", "odd", payload={"key": "k", "at": "2026-01-01"}))
    tick(db, START)
    assert customers(db, "customer_journeys") == ["fine"]


@pytest.mark.parametrize("depth", [99, 100, 500, 4000])
@pytest.mark.parametrize("column", ["payload", "profile"])
def test_nesting_that_python_could_not_read_is_quarantined(hello: sa.Engine, column: str, depth: int) -> None:
    """The outer object is a level, too: 100 in all are accepted."""
    put_text(hello, "ann", **{column: '{"a": ' + "[" * depth + "]" * depth + "}"})
    put(hello, event("zoe", "signup"))
    report = tick(hello, START)
    assert (report.entered, report.quarantined) == ((2, 0) if depth == 99 else (1, 1))
    if report.quarantined:
        found = rows(hello, "SELECT reason, payload IS NULL AS unread, raw FROM journeys.event_quarantine")[0]
        assert found.reason == f"{column} is nested deeper than 100 levels" and found.unread and found.raw


def test_an_unknown_customer_is_accepted(hello: sa.Engine) -> None:
    put(hello, event("nobody", "signup"))
    assert tick(hello, START).planned == 2
    assert customers(hello, "customer_profiles") == []


# ---- profiles beside events


def test_a_patch_comes_before_the_trigger_of_its_event(hello: sa.Engine) -> None:
    put(hello, event("ann", "checked_out", profile={"plan": "gold", "first_name": " Ann "}))
    assert tick(hello, START).entered == 1
    row = rows(hello, "SELECT first_name, attributes, updated_at FROM journeys.customer_profiles")[0]
    assert (row.first_name, row.attributes, row.updated_at) == ("Ann", {"plan": "gold"}, START)


def test_a_patch_is_seen_by_its_own_event_and_later_ones_alone(hello: sa.Engine) -> None:
    """Three events of one batch; the second one brings the plan, the third one takes it away."""
    put(
        hello,
        event("early", "checked_out"),
        event("early", "other", START + timedelta(seconds=1), profile={"plan": "gold"}),
        event("right", "other", START, profile={"plan": "gold"}),
        event("right", "checked_out", START + timedelta(seconds=1)),
        event("over", "other", START, profile={"plan": "gold"}),
        event("over", "other", START + timedelta(seconds=1), profile={"plan": None}),
        event("over", "checked_out", START + timedelta(seconds=2)),
    )
    tick(hello, LATER)
    assert customers(hello, "customer_journeys") == ["right"]


def test_a_patch_of_an_event_that_no_workflow_names_is_applied(hello: sa.Engine) -> None:
    put(hello, event("ann", "noted", profile={"plan": "gold"}))
    tick(hello, START)
    assert one(hello, "SELECT attributes FROM journeys.customer_profiles") == {"plan": "gold"}


def test_an_older_patch_only_fills_what_is_missing(hello: sa.Engine) -> None:
    put(hello, event("ann", "noted", LATER, profile={"plan": "gold", "country": "CH", "first_name": None}))
    tick(hello, LATER)
    put(hello, event("ann", "noted", START, profile={"plan": "free", "country": "DE", "first_name": "Ann", "colour": "red"}))
    tick(hello, LATER)
    row = rows(hello, "SELECT country, first_name, attributes, updated_at FROM journeys.customer_profiles")[0]
    assert (row.country, row.first_name, row.attributes, row.updated_at) == ("CH", "Ann", {"plan": "gold", "colour": "red"}, LATER)


# ---- rounds


def test_types_that_nobody_names_make_no_rounds(hello: sa.Engine, statements: list[str]) -> None:
    put(hello, *(event(f"c{n % 7}", "page_viewed", payload={"n": n}) for n in range(100)))
    report = tick(hello, START)
    assert (report.rows_in, report.routed, report.batches) == (100, 100, 1)
    rounds = [s for s in statements if "batch_events" in s and "INSERT INTO batch_events" not in s and "CREATE" not in s]
    assert rounds == []
    assert one(hello, "SELECT sum(n) FROM journeys.customer_event_stats") == 100


def test_a_customer_makes_at_most_eight_rounds_in_a_batch(hello: sa.Engine) -> None:
    put(hello, *(event("ann", "signup", START + timedelta(seconds=n)) for n in range(20)), event("zoe", "signup", LATER))
    report = tick(hello, LATER, batch_size=10_000)
    assert (report.entered, report.batches) == (21, 3)
    entered = rows(hello, "SELECT at_seq FROM journeys.journey_transitions WHERE customer_id = 'ann' AND from_step IS NULL ORDER BY id")
    assert [row.at_seq for row in entered] == sorted(row.at_seq for row in entered)


def test_events_of_the_future_wait_in_the_inbox(hello: sa.Engine) -> None:
    put(hello, event("ann", "signup", START + timedelta(seconds=1)), event("bob", "signup", START))
    assert tick(hello, START).entered == 1
    assert tick(hello, START + timedelta(seconds=1), exclusive=True).entered == 0
    assert tick(hello, START + timedelta(seconds=1)).entered == 1


def test_what_was_written_can_be_read_back(hello: sa.Engine) -> None:
    """Nothing of a payload is lost or changed on its way into the history."""
    payload = {"n": 1.25, "u": "é\u2028", "nested": {"list": [1, None, True, "x"]}, "empty": {}}
    put(hello, event("ann", "noted", payload=payload))
    tick(hello, START)
    assert one(hello, "SELECT payload FROM journeys.customer_events") == payload
