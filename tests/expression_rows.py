"""Rows for expressions: what Hypothesis may put into them, the tables that hold them, and the same rows as plain values for Jinja."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.expressions import EventScope, Scope, values
from journey_pipelines.expressions.environment import customer_names, event_names
from journey_pipelines.expressions.facts import Facts, PastEvent
from journey_pipelines.store.tables import customer_events, customer_journeys, customer_profiles, segment_memberships

CATALOGUE = {"plan": "text", "score": "number", "vip": "bool", "renewal": "date", "seen": "datetime"}
START = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = sa.TIMESTAMP(timezone=True)

cases = sa.Table(
    "cases",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger),
    sa.Column("customer_id", sa.Text),
    sa.Column("payload", JSONB),
    sa.Column("type", sa.Text),
    sa.Column("occurred_at", INSTANT),
    sa.Column("arrived", JSONB),
    sa.Column("arrived_type", sa.Text),
    sa.Column("arrived_at", INSTANT),
    sa.Column("at", INSTANT),
    sa.Column("at_seq", sa.BigInteger),
    sa.Column("zone", sa.Text),
    sa.Column("entered_at", INSTANT),
    sa.Column("entered_seq", sa.BigInteger),
    sa.Column("step_at", INSTANT),
    sa.Column("step_seq", sa.BigInteger),
    sa.Column("visit", sa.Integer),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True)
class Case:
    """One row: a customer, the event, what arrived, and the history."""

    columns: dict[str, Any]
    attributes: dict[str, Any]
    payload: dict[str, Any]
    arrived: dict[str, Any] | None
    history: list[tuple[str, int, dict[str, Any], int]]
    at: int
    at_seq: int
    zone: str | None
    segments: frozenset[str] = field(default_factory=frozenset)
    workflows: frozenset[str] = field(default_factory=frozenset)


# -- what rows may hold

special_texts = st.sampled_from([
    "", " ", "a", "A", "b", "ab", "ä", "Ä", "ÄRGER ß", "Ωσ", "😀", "e\u0301", "12", " 12 ", "-.5", "1e5", "\u0661\u0662", "12\u00a0", "now",
    "today",
    "infinity", "2026-02-28", "2026-02-30", "2026-03-29T02:30:00+01:00", "2026-03-10 10:00Z", "2026-03-10T10:00:59.9999999Z", "0001-01-02",
    "9999-12-29T23:59:59.999999-15:59", "٢٠٢٦-٠٢-٢٨", "true", "null", "%_\\", "'; drop table x; --", "x" * 41, "\n\t x \u00a0",
])  # fmt: skip
texts = special_texts | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=6)
special_numbers = st.sampled_from([
    "0", "-0.0", "1", "-1", "2", "2.5", "-2.5", "0.5", "1.0", "0.1", "100", "999999999999999", "999999999999999.9999999999999", "1e15",
    "-1e15",
    "1e-30", "1e300", "123456789012345.678901234567890123456789", "0.0000000000005", "-0.0000000000005", "1e-400", "33333333",
]).map(Decimal)  # fmt: skip
numbers = special_numbers | st.decimals(-1000, 1000, places=3) | st.integers(-10, 10).map(Decimal)
scalars = texts | numbers | st.booleans() | st.none()
lists = st.lists(scalars, max_size=3)
mappings = st.dictionaries(st.sampled_from(["k", "a", "0", "items", "1"]) | texts, scalars | lists, max_size=3)
anything = scalars | lists | mappings
KEYS = ["n", "s", "b", "l", "o", "x", "t", "items", "0"]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    kinds: dict[str, st.SearchStrategy[Any]] = {"n": numbers, "s": texts, "b": st.booleans(), "l": lists, "o": mappings}
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=6))
    return {key: draw(kinds.get(key, anything)) if draw(st.integers(0, 5)) else draw(anything) for key in keys}


answers = st.fixed_dictionaries({
    "step": st.sampled_from(["score", "call", None]),
    "status": st.sampled_from([Decimal(200), "200", None]),
    "response": anything | documents() | st.just({"grade": "A"}),
    "outcome": texts | st.none(),
})  # fmt: skip
clicks = st.fixed_dictionaries({"step": st.sampled_from(["remind", "offer", None]), "machine": st.sampled_from([True, False, None, "x"])})


@st.composite
def rows(draw: st.DrawFn) -> Case:
    moment = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=st.just(UTC)) | st.just(START)  # noqa: DTZ001
    optional_texts = st.none() | texts.filter(bool)
    columns = {
        "first_name": draw(optional_texts),
        "country": draw(optional_texts),
        "lifetime_value": draw(st.none() | numbers.filter(lambda n: abs(n) < Decimal(10) ** 14)),
        "created_at": draw(st.none() | moment),
    }
    names = st.sampled_from([*CATALOGUE, "misc"])
    attributes = draw(st.dictionaries(names, anything, max_size=4))
    event = st.tuples(
        st.sampled_from(["purchase", "visit", "message.clicked"]),
        st.integers(0, 20),
        documents() | clicks,
        st.integers(1, 3),
    )
    answer = st.tuples(st.sampled_from(["webhook.answered", "task.done"]), st.integers(0, 20), answers | documents(), st.integers(1, 2))
    return Case(
        columns,
        attributes,
        draw(documents()),
        draw(st.none() | documents()),
        draw(st.lists(event | answer, max_size=5)),
        draw(st.integers(-1, 21)),
        draw(st.sampled_from([0, 1, 2, 3, 10**9, 2**63 - 1])),
        draw(st.sampled_from([None, "UTC", "America/New_York", "Asia/Kathmandu"])),
        draw(st.frozensets(st.sampled_from(["vip", "lapsed"]))),
        draw(st.frozensets(st.sampled_from(["welcome", "winback"]))),
    )


def scope_of_cases() -> Scope:
    """Every name of the language over `cases` beside customer_profiles."""
    return Scope(
        customer=customer_profiles,
        customer_id=cases.c.customer_id,
        at=cases.c.at,
        at_seq=cases.c.at_seq,
        zone=cases.c.zone,
        event=EventScope(cases.c.payload, cases.c.type, cases.c.occurred_at),
        arrived=EventScope(cases.c.arrived, cases.c.arrived_type, cases.c.arrived_at),
        journey={
            "id": cases.c.id,
            "entered_at": cases.c.entered_at,
            "entered_seq": cases.c.entered_seq,
            "step_entered_at": cases.c.step_at,
            "step_entered_seq": cases.c.step_seq,
            "visit": cases.c.visit,
        },
        brand={"name": "Straße & Co", "vat": 19},
        catalogue=CATALOGUE,
        now=cases.c.at,
    )


def seq_of(row: int, event: int) -> int:
    return row * 100 + event + 1


def store(conn: sa.Connection, given_rows: list[Case]) -> None:
    history = []
    for row, case in enumerate(given_rows):
        customer_id = f"c{row}"
        at = START + timedelta(days=case.at)
        profile = {"customer_id": customer_id, "shard": 0, "updated_at": START, "attributes": raw(case.attributes), **case.columns}
        conn.execute(sa.insert(customer_profiles).values(profile))
        for segment in case.segments:
            member = {"segment_id": segment, "customer_id": customer_id, "entered_at": START, "source": "test"}
            conn.execute(sa.insert(segment_memberships).values(member))
        for workflow in ("welcome", "winback"):
            conn.execute(sa.insert(customer_journeys).values(journey_of(customer_id, workflow, workflow in case.workflows)))
        conn.execute(
            sa.insert(cases).values(
                id=row, customer_id=customer_id, payload=raw(case.payload), type="cart", occurred_at=START, at=at, at_seq=case.at_seq,
                arrived=sa.null() if case.arrived is None else raw(case.arrived),
                arrived_type=None if case.arrived is None else "purchase", arrived_at=None if case.arrived is None else START,
                zone=case.zone, entered_at=START + timedelta(days=3), entered_seq=seq_of(row, 1),
                step_at=START + timedelta(days=5), step_seq=seq_of(row, 2), visit=2,
            )
        )  # fmt: skip
        for number, (event_type, day, payload, journey) in enumerate(case.history):
            history.append({
                "seq": seq_of(row, number), "customer_id": customer_id, "shard": 0, "type": event_type,
                "occurred_at": START + timedelta(days=day), "received_at": START, "source": "test", "payload": raw(payload),
                "journey_id": row if journey == 1 else 1000,
            })  # fmt: skip
    for event in history:
        conn.execute(sa.insert(customer_events).values(event))
    conn.execute(
        sa.text(
            "INSERT INTO journeys.customer_event_stats (customer_id, type, shard, first_at, last_at, last_seq, n) "
            "SELECT customer_id, type, min(shard), min(occurred_at), max(occurred_at), "
            "       (array_agg(seq ORDER BY occurred_at DESC, seq DESC))[1], count(*) "
            "FROM journeys.customer_events GROUP BY 1, 2"
        )
    )


def journey_of(customer_id: str, workflow: str, active: bool) -> dict[str, Any]:
    """A journey of a workflow: a customer who has only one that ended is not in it."""
    ended = {} if active else {"status": "ended", "ended_at": START, "exit_reason": "completed"}
    places = {"at": START, "at_seq": 1, "due_at": START, "due_seq": 1, "entered_at": START, "entered_seq": 1}
    return {
        "workflow_id": workflow, "version": 1, "customer_id": customer_id, "shard": 0, "trigger_id": "t", "step_key": "s", "step_uid": 1,
        **places, **ended,
    }  # fmt: skip


def raw(document: Any) -> sa.ColumnElement[Any]:
    """JSON text with every number as it is written, which no Python float would keep."""
    return sa.cast(sa.literal(dumps(document), sa.Text()), JSONB)


def dumps(value: Any) -> str:
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)}: {dumps(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(dumps, value)) + "]"
    return json.dumps(value)


def oracle(row: int, case: Case, at: datetime | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Names and functions of one row; `at`: as if it were then, and not the row's own time."""
    at = at or START + timedelta(days=case.at)
    names = {
        "customer": customer_names({**case.columns, "attributes": case.attributes}, CATALOGUE),
        "event": event_names("cart", START, case.payload),
        "arrived": None if case.arrived is None else event_names("purchase", START, case.arrived),
        "journey": {"visit": 2, "entered_at": START + timedelta(days=3)},
        "brand": {"name": "Straße & Co", "vat": 19},
        "now": at,
    }
    journey = {
        "id": row,
        "entered_at": START + timedelta(days=3),
        "entered_seq": seq_of(row, 1),
        "step_entered_at": START + timedelta(days=5),
        "step_entered_seq": seq_of(row, 2),
    }
    history = [
        PastEvent(event_type, START + timedelta(days=day), seq_of(row, number), payload, row if its == 1 else 1000)
        for number, (event_type, day, payload, its) in enumerate(case.history)
    ]
    facts = Facts(
        now=at,
        at=at,
        at_seq=case.at_seq,
        zone=case.zone,
        history=history,
        segments=case.segments,
        workflows=case.workflows,
        journey=journey,
    )
    names["steps"] = facts.steps()
    return names, facts.functions(names)


def same(expected: Any, found: str | None) -> bool:
    if expected is None or found is None:
        return expected is None and found is None
    value = json.loads(found, parse_float=Decimal, parse_int=Decimal)
    return values.equal(values.text_of(expected) if isinstance(expected, datetime) else expected, value) or (
        isinstance(expected, list | dict) and isinstance(value, list | dict) and dumps_sorted(expected) == dumps_sorted(value)
    )


def dumps_sorted(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda number: str(number.normalize()))
