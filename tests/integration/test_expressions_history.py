"""The functions that look beyond the row, on a real history: bounds, kept counts, machine opens, indexes; and what no plan may raise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from expression_rows import journey_of
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.expressions import Compiled, EventScope, Scope, compile_condition, compile_recheck, compile_text, compile_value
from journey_pipelines.store.tables import customer_events, customer_journeys, customer_profiles

START = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = sa.TIMESTAMP(timezone=True)
LAST_SEQ = 2**63 - 1


@pytest.fixture
def conn(db: sa.Engine) -> Iterator[sa.Connection]:
    with db.begin() as connection:
        yield connection


def scope_at(day: float, seq: int = LAST_SEQ, **changes: Any) -> Scope:
    """Customer 'a', journey 7, at a day of March 2026 and a place among that instant's events."""
    at = sa.literal(START + timedelta(days=day), INSTANT)
    payload = sa.cast(sa.literal('{"n": 0, "s": "x", "x": "2026-02-30"}', sa.Text()), JSONB)
    scope = Scope(
        customer=customer_profiles,
        customer_id=sa.literal("a", sa.Text()),
        at=at,
        at_seq=sa.literal(seq, sa.BigInteger()),
        zone=sa.literal("Europe/Berlin", sa.Text()),
        event=EventScope(payload, sa.literal("cart", sa.Text()), at),
        arrived=None,
        journey={"id": sa.literal(7, sa.BigInteger()), "entered_at": sa.literal(START + timedelta(days=2), INSTANT)},
        brand={},
        catalogue={"renewal": "date"},
        now=at,
    )
    return replace(scope, **changes)


def add(
    conn: sa.Connection, day: float, seq: int, type: str = "purchase", payload: dict[str, Any] | None = None, journey_id: int | None = None
) -> None:
    conn.execute(
        sa.insert(customer_events).values(
            seq=seq,
            customer_id="a",
            shard=0,
            type=type,
            occurred_at=START + timedelta(days=day),
            received_at=START,
            source="test",
            payload=payload or {},
            journey_id=journey_id,
        )
    )


def keep(conn: sa.Connection, n: int, last: float, last_seq: int, first: float = 0) -> None:
    values = {"n": n, "first": START + timedelta(days=first), "last": START + timedelta(days=last), "seq": last_seq}
    conn.execute(sa.text("INSERT INTO journeys.customer_event_stats VALUES ('a', 'purchase', 0, :first, :last, :seq, :n)"), values)


def answer(conn: sa.Connection, compiled: Compiled) -> Any:
    return conn.scalar(sa.select(compiled.sql))


def test_history_never_sees_past_the_rows_own_place(conn: sa.Connection) -> None:
    for seq, day in ((1, 0), (2, 3), (3, 3), (4, 5)):
        add(conn, day, seq)
    keep(conn, n=4, last=5, last_seq=4)
    counts = [
        answer(conn, compile_value("event_count('purchase')", scope_at(day, seq)))
        for day, seq in ((0, 0), (0, 1), (3, 1), (3, 2), (3, LAST_SEQ), (9, 0))
    ]
    assert counts == [0, 1, 1, 2, 3, 4]
    assert answer(conn, compile_value("last_event('purchase')", scope_at(4))) == START + timedelta(days=3)
    assert answer(conn, compile_value("event_count('purchase', within='2 days')", scope_at(5))) == 3
    assert answer(conn, compile_value("event_count('purchase', since='entry')", scope_at(5))) == 3
    assert answer(conn, compile_value("has_event('purchase', within='48 hours')", scope_at(4.9, 0)))
    assert not answer(
        conn,
        compile_value("has_event('purchase', within='36 hours')", scope_at(4.9, 0, now=sa.literal(START + timedelta(days=20), INSTANT))),
    )


def test_without_a_window_the_kept_count_answers_unless_it_knows_too_much(conn: sa.Connection) -> None:
    add(conn, 1, 1)
    keep(conn, n=500, last=1, last_seq=1, first=0.5)
    assert answer(conn, compile_value("event_count('purchase')", scope_at(2))) == 500
    assert answer(conn, compile_value("event_count('purchase')", scope_at(1, 0))) == 0
    assert answer(conn, compile_value("has_event('purchase')", scope_at(0.6)))
    assert not answer(conn, compile_value("has_event('purchase')", scope_at(0.4)))
    assert not answer(conn, compile_value("has_event('visit')", scope_at(2)))
    assert answer(conn, compile_value("event_count('visit')", scope_at(2))) == 0
    assert answer(conn, compile_value("last_event('visit')", scope_at(2))) is None


def test_the_inner_condition_sees_the_event_of_the_history(conn: sa.Connection) -> None:
    conn.execute(sa.insert(customer_profiles).values(customer_id="a", shard=0, first_name="Ann", updated_at=START))
    add(conn, 1, 1, payload={"n": 5, "by": "Ann"})
    add(conn, 1, 2, payload={"n": 7, "by": "Bob"})
    add(conn, 1, 3, payload={"n": "9", "by": "Ann"})
    compiled = compile_value("event_sum('purchase', 'n', when='event.by == customer.first_name or event.n > 6')", scope_at(2))
    assert conn.scalar(sa.select(compiled.sql).select_from(customer_profiles)) == 12


def test_what_a_machine_opened_does_not_count(conn: sa.Connection) -> None:
    add(conn, 1, 1, "message.opened", {"step": "remind", "action": "send_email", "machine": True}, journey_id=7)
    add(conn, 1, 2, "message.opened", {"step": "remind", "action": "send_email", "machine": False}, journey_id=8)
    add(conn, 1, 3, "message.clicked", {"step": "remind", "action": "second"}, journey_id=7)
    assert not answer(conn, compile_value("opened('remind')", scope_at(2)))
    assert answer(conn, compile_value("clicked('remind')", scope_at(2)))
    assert answer(conn, compile_value("clicked('remind', 'second')", scope_at(2)))
    assert not answer(conn, compile_value("clicked('remind', 'first') or clicked('offer')", scope_at(2)))
    assert not answer(conn, compile_value("clicked('remind')", scope_at(0.5)))


def test_the_result_of_a_step_is_the_last_one_of_this_journey_up_to_here(conn: sa.Connection) -> None:
    for day, seq, grade in ((1, 1, "A"), (2, 3, "B"), (2, 2, "C"), (4, 4, "D")):
        add(conn, day, seq, "webhook.answered", {"step": "score", "status": 200, "response": {"grade": grade}}, journey_id=7)
    add(conn, 2, 9, "webhook.answered", {"step": "score", "response": {"grade": "E"}}, journey_id=8)
    add(conn, 2, 10, "message.clicked", {"step": "score", "response": {"grade": "F"}}, journey_id=7)
    add(conn, 3, 11, "task.done", {"step": "call", "outcome": "won", "note": None}, journey_id=7)
    grades = [
        answer(conn, compile_value("steps.score.response.grade", scope_at(day, seq)))
        for day, seq in ((0, 9), (1, 1), (2, 2), (2, 3), (3, 0), (9, 0))
    ]
    assert grades == [None, "A", "C", "B", "B", "D"]
    for text, expected in (
        ("steps.score", True),
        ("steps.score.status == 200 and steps['score'].response is defined", True),
        ("steps.call.outcome == 'won' and steps.call.note is none and steps.call.status is undefined", True),
        ("not steps.never and steps.never is undefined and steps.never.response.grade != 'A'", True),
        ("event.s == 'x' and steps.score.response.grade / 0 > 1 or steps.score.response[2147483647]", False),
        ("has_event('task.done', when='event.outcome and steps.score.response.grade != event.step')", True),
    ):
        assert bool(answer(conn, compile_condition(text, scope_at(9)))) is expected, text
    assert not answer(conn, compile_condition("steps.score", scope_at(0.5)))
    assert not answer(conn, compile_condition("steps.call", scope_at(3, 10)))


def test_in_a_workflow_is_who_has_an_active_journey_of_it(conn: sa.Connection) -> None:
    for customer, workflow, active in (("a", "welcome", True), ("a", "winback", False), ("b", "winback", True)):
        conn.execute(sa.insert(customer_journeys).values(journey_of(customer, workflow, active)))
    assert answer(conn, compile_condition("in_workflow('welcome') and not in_workflow('winback')", scope_at(1)))
    assert answer(conn, compile_condition("not in_workflow('never') and in_workflow('welcome') is defined", scope_at(1)))


def test_the_local_clock_is_the_customers_and_an_unknown_zone_is_missing(conn: sa.Connection) -> None:
    evening = scope_at(0.97)
    assert answer(conn, compile_value("local_hour()", evening)) == 0
    assert answer(conn, compile_value("local_weekday()", evening)) == "mon"
    nowhere = replace(evening, zone=sa.literal("UTC+3", sa.Text()))
    assert answer(conn, compile_value("local_hour()", nowhere)) is None
    assert not answer(
        conn,
        compile_condition("local_hour() < 25 or local_weekday() in ['mon', 'sun']", replace(nowhere, zone=sa.cast(sa.null(), sa.Text()))),
    )


def test_texts_are_missing_as_a_whole_and_lone_expressions_keep_their_type(conn: sa.Connection) -> None:
    scope = scope_at(1)
    assert answer(conn, compile_text("n is {{ event.n }}, on {{ now }}", scope)) == "n is 0, on 2026-03-02T00:00:00Z"
    assert answer(conn, compile_text("Dear {{ event.absent }}", scope)) is None
    assert answer(conn, compile_text("Dear {{ event.absent | default('you') }}", scope)) == "Dear you"
    for template, value in (
        ("{{ event.n + 1.5 }}", 1.5),
        ("{{ event.s }}", "x"),
        ("{{ event.n == 0 }}", True),
        ("{{ event.absent }}", None),
        ("5", "5"),
        ("", ""),
    ):
        assert conn.scalar(sa.select(compile_text(template, scope).as_jsonb())) == value


@pytest.mark.parametrize(
    "text",
    [
        "event.n / 0 > 1 or 1 / event.n > 1",
        "1 / 0 == event.n or event.s | int > 1 or 'x' | int > event.n",
        "'2026-02-30' < now or event.x < now or now > 'infinity' or 'now' == now",
        "add('9999-12-28', '7 days') > now or add(event.x, '36500 days') > now or days_since('9999-12-29') < days_since('0001-01-03')",
        "999999999999999 * 999999999999999 * event.n > 0 or event.n * 999999999999999 > 0",
        "event.x[2147483647] == 1 or event.s[0][0].a.b['0'] == 1",
        "'%_' in event.s or '' in event.s or event.n in event.n or now in event.s",
        "event.s | date('\\\\\"%%') == '' or event.x | date == '' or 0.00000000000001 / 999999999999999 > event.n",
        "(event.n if event.s == 'x' and 1 / 0 == 1 else 'not a number' | int) > 0",
        "customer.renewal < now and days_until(customer.renewal) / 0 > 1",
        "steps.score.response[2147483647] / 0 > 1 or steps.score.response.n | int > 1 and in_workflow('x')",
        "(event.n if event.s == 'y' else 1 / 0) > 0 and has_event('a', within='3 days', when='days_since(event.x / 0) > 1 / 0')",
    ],
)
def test_nothing_raises_while_planning_or_running(conn: sa.Connection, text: str) -> None:
    conn.execute(sa.insert(customer_profiles).values(customer_id="a", shard=0, updated_at=START, attributes={"renewal": "infinity"}))
    compiled, again = compile_condition(text, scope_at(1)), compile_recheck(text, scope_at(1))
    statement = sa.select(sa.literal(1)).select_from(customer_profiles).where(compiled.sql)
    for empty in (
        statement.where(sa.false()),
        statement,
        sa.select(*(() if again is None else (again,)), sa.literal(1)).select_from(customer_profiles),
        sa.select(compiled.as_jsonb(), *compiled.values.values()).select_from(customer_profiles),
    ):
        conn.execute(empty).all()


def test_looks_into_history_use_its_index(conn: sa.Connection) -> None:
    conn.execute(
        sa.text(
            "INSERT INTO journeys.customer_events (seq, customer_id, shard, type, occurred_at, received_at, source, payload) SELECT n, "
            " 'c' || n % 500, 0, 'purchase', :start + n * interval '1 minute', :start, 'test', '{}' FROM generate_series(1, 20000) AS n"
        ),
        {"start": START},
    )
    conn.execute(
        sa.text(
            "INSERT INTO journeys.customer_event_stats "
            "SELECT customer_id, type, min(shard), min(occurred_at), max(occurred_at), max(seq), count(*) "
            "FROM journeys.customer_events GROUP BY 1, 2"
        )
    )
    conn.execute(
        sa.text(
            "INSERT INTO journeys.customer_journeys (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, "
            " at, at_seq, due_at, due_seq, entered_at, entered_seq) "
            "SELECT 'welcome', 1, 'c' || n, 0, 't', 's', 1, :start, 1, :start, 1, :start, 1 FROM generate_series(1, 5000) AS n"
        ),
        {"start": START},
    )
    conn.execute(sa.text("ANALYZE journeys.customer_events, journeys.customer_event_stats, journeys.customer_journeys"))
    customers = sa.select((sa.literal("c") + sa.cast(sa.func.generate_series(1, 100), sa.Text())).label("id")).subquery()
    for text, index in (
        ("has_event('purchase', within='3 days')", "customer_events_history"),
        ("event_count('purchase') > 3", "customer_event_stats_pkey"),
        ("steps.score.response.grade == 'A'", "customer_events_history"),
        ("in_workflow('welcome')", "customer_journeys_customer"),
    ):
        # for many customers at once the planner may rather read who is in the workflow, which is its good right
        scope = scope_at(9) if "in_workflow" in text else scope_at(9, customer_id=customers.c.id)
        again = compile_recheck(text, scope)
        statement = sa.select(scope.customer_id, compile_value(text, scope).sql, *(() if again is None else (again,)))
        bound = statement.compile(dialect=conn.dialect)
        plan = "\n".join(conn.exec_driver_sql(f"EXPLAIN {bound}", bound.params).scalars())
        assert index in plan
        assert "Seq Scan" not in plan
