"""One bad row never stops the others: every kind of statement is made to fail for one person by the database itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_rows import event, execute, one, orphans, put, rows
from engine_world import START, World
from sqlalchemy import event as sa_event

from journey_pipelines.engine.tick import tick
from journey_pipelines.store.connect import make_engine

SHOP = """
workflow: shop
triggers:
  - event: cart
entry:
  while_active: restart
goal: {event: purchase, value: arrived.total}
exit:
  - event: emptied
steps:
  - id: wait
    wait: 1 hour
    do:
      - send_sms: {text: Hello}
  - id: answer
    wait: {for: reply, timeout: 1 day}
"""
PEOPLE = [f"c{n:02}" for n in range(30)]
BAD = "c17"
NEXT = START + timedelta(minutes=1)


@pytest.fixture
def shop(db: sa.Engine, tmp_path: Path) -> sa.Engine:
    World(db, tmp_path).deploy(SHOP)
    return db


def poison(db: sa.Engine, table: str, when: str, *, sqlstate: str = "22012", timing: str = "INSERT OR UPDATE", who: str = BAD) -> None:
    """Writing a row of `table` for one customer raises, where `when` (over NEW) holds."""
    execute(
        db,
        f"""CREATE OR REPLACE FUNCTION public.poison_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'this row is poisoned' USING ERRCODE = '{sqlstate}'; END $$""",
        f"""CREATE TRIGGER poison BEFORE {timing} ON journeys.{table} FOR EACH ROW
            WHEN (NEW.customer_id = '{who}' AND ({when})) EXECUTE FUNCTION public.poison_{table}()""",
    )


def everybody(db: sa.Engine, type_: str, at: Any = START, **columns: Any) -> None:
    put(db, *(event(customer, type_, at, **columns) for customer in PEOPLE))


def journeys(db: sa.Engine, where: str) -> set[str]:
    return {row.customer_id for row in rows(db, f"SELECT customer_id FROM journeys.customer_journeys WHERE {where}")}


def quarantine(db: sa.Engine) -> list[Any]:
    return list(rows(db, "SELECT customer_id, statement, sqlstate, reason FROM journeys.event_quarantine ORDER BY id"))


def holds_together(db: sa.Engine) -> bool:
    return {name: n for name, n in orphans(db).items() if n} == {}


# ---- steps


def test_a_step_that_fails_for_one_ends_that_journey(shop: sa.Engine) -> None:
    everybody(shop, "cart")
    tick(shop, START)
    execute(shop, f"ALTER TABLE journeys.messages ADD CONSTRAINT no_{BAD} CHECK (customer_id <> '{BAD}')")
    report = tick(shop, START + timedelta(hours=1))
    assert (report.failed, report.advanced, report.planned) == (1, 29, 29)
    failed = rows(shop, "SELECT customer_id, ended_at, exit_reason FROM journeys.customer_journeys WHERE status = 'ended'")
    assert failed == [(BAD, START + timedelta(hours=1), "error")]
    last = rows(shop, "SELECT from_step, to_step, why, detail FROM journeys.journey_transitions WHERE why = 'error'")[0]
    assert (last.from_step, last.to_step, last.detail["sqlstate"]) == ("wait", None, "23514")
    assert f"no_{BAD}" in last.detail["error"]
    assert holds_together(shop)
    assert not tick(shop, START + timedelta(hours=1)).progress


def test_a_step_that_fails_in_a_round_ends_that_journey(shop: sa.Engine) -> None:
    """The timer is due before the event of the same batch; the event then finds no journey of that person."""
    everybody(shop, "cart")
    tick(shop, START)
    poison(shop, "messages", "true")
    everybody(shop, "reply", START + timedelta(hours=2))
    report = tick(shop, START + timedelta(hours=2))
    assert (report.failed, report.planned, report.woken) == (1, 29, 29)
    assert journeys(shop, "exit_reason = 'error'") == {BAD}
    assert journeys(shop, "exit_reason = 'completed'") == set(PEOPLE) - {BAD}
    assert quarantine(shop) == []
    assert holds_together(shop)


def test_all_bad_and_all_but_one_bad(shop: sa.Engine) -> None:
    everybody(shop, "cart")
    tick(shop, START)
    execute(shop, "ALTER TABLE journeys.messages ADD CONSTRAINT only_one CHECK (customer_id = 'c05')")
    report = tick(shop, START + timedelta(hours=1))
    assert (report.failed, report.advanced) == (29, 1)
    assert journeys(shop, "status = 'active'") == {"c05"}
    assert holds_together(shop)


# ---- what events do


def _enter(db: sa.Engine) -> tuple[str, Callable[[], set[str]]]:
    poison(db, "customer_journeys", "true", timing="INSERT")
    return "cart", lambda: journeys(db, "true")


def _restart(db: sa.Engine) -> tuple[str, Callable[[], set[str]]]:
    everybody(db, "cart")
    tick(db, START)
    poison(db, "customer_journeys", "NEW.visit > 1", timing="UPDATE")
    return "cart", lambda: journeys(db, "visit = 2")


def _goal(db: sa.Engine) -> tuple[str, Callable[[], set[str]]]:
    everybody(db, "cart")
    tick(db, START)
    poison(db, "conversions", "true")
    return "purchase", lambda: {row.customer_id for row in rows(db, "SELECT customer_id FROM journeys.conversions")}


def _exit(db: sa.Engine) -> tuple[str, Callable[[], set[str]]]:
    everybody(db, "cart")
    tick(db, START)
    poison(db, "journey_transitions", "NEW.why = 'exit_rule'")
    return "emptied", lambda: journeys(db, "exit_reason = 'exit_rule'")


def _take_back(db: sa.Engine) -> tuple[str, Callable[[], set[str]]]:
    everybody(db, "cart", START - timedelta(hours=1))
    tick(db, START)
    poison(db, "messages", "NEW.state = 'suppressed'")
    return "emptied", lambda: {row.customer_id for row in rows(db, "SELECT customer_id FROM journeys.messages WHERE state = 'suppressed'")}


def _wake(db: sa.Engine) -> tuple[str, Callable[[], set[str]]]:
    everybody(db, "cart", START - timedelta(hours=1))
    tick(db, START)
    poison(db, "customer_journeys", "NEW.arrived_seq IS NOT NULL")
    return "reply", lambda: journeys(db, "exit_reason = 'completed'")


def _patch(db: sa.Engine) -> tuple[str, Callable[[], set[str]]]:
    poison(db, "customer_profiles", "true")
    return "noted", lambda: {row.customer_id for row in rows(db, "SELECT customer_id FROM journeys.customer_profiles")}


@pytest.mark.parametrize(
    ("prepare", "statement"),
    [
        (_enter, "shop v1: enter"),
        (_restart, "shop v1: restart"),
        (_goal, "shop: goal"),
        (_exit, "shop: exit"),
        (_take_back, "shop: exit, take back unsent"),
        (_wake, "shop/answer: wake"),
        (_patch, "profile patch"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_an_event_that_a_statement_cannot_digest(shop: sa.Engine, prepare: Any, statement: str) -> None:
    """It stays in the history; the quarantine says which statement did not see it; everybody else's is done."""
    type_, done = prepare(shop)
    everybody(shop, type_, NEXT, profile={"plan": "gold"} if type_ == "noted" else None)
    report = tick(shop, NEXT)
    assert report.failed == 1
    assert quarantine(shop) == [(BAD, statement, "22012", "this row is poisoned")]
    assert done() == set(PEOPLE) - {BAD}
    assert report.routed == 30
    assert one(shop, f"SELECT count(*) FROM journeys.customer_events WHERE type = '{type_}' AND occurred_at = '{NEXT}'") == 30
    assert holds_together(shop)


def test_an_event_that_failed_in_one_statement_is_worked_by_the_others(shop: sa.Engine, tmp_path: Path) -> None:
    World(shop, tmp_path).deploy(SHOP.replace("  - event: emptied", "  - goal"))
    everybody(shop, "cart")
    tick(shop, START)
    poison(shop, "conversions", "true")
    everybody(shop, "purchase", NEXT)
    tick(shop, NEXT)
    assert journeys(shop, "exit_reason = 'goal'") == set(PEOPLE)


def test_a_row_that_cannot_be_taken_leaves_the_inbox_with_its_reason(shop: sa.Engine) -> None:
    """Its own customer's other events, before and after, are taken in order."""
    everybody(shop, "cart")
    poison(shop, "customer_events", "NEW.type = 'reply'", sqlstate="22P05")
    put(shop, event(BAD, "noted", START), event(BAD, "reply", START, {"n": 1}, source_event_id="r1"), event(BAD, "noted", NEXT))
    report = tick(shop, NEXT)
    assert (report.rows_in, report.routed, report.quarantined, report.entered) == (33, 32, 1, 30)
    row = rows(shop, "SELECT * FROM journeys.event_quarantine")[0]
    assert (row.customer_id, row.statement, row.sqlstate, row.reason) == (BAD, "take", "22P05", "this row is poisoned")
    assert (row.payload, row.source_event_id, row.quarantined_at) == ({"n": 1}, "r1", NEXT)
    assert one(shop, "SELECT count(*) FROM journeys.event_inbox") == 0
    assert holds_together(shop)


def test_an_older_row_that_comes_meanwhile_is_not_refused_for_the_bad_one(shop: sa.Engine, db_url: str) -> None:
    """Before each of the first statements about the inbox an app commits one that happened earlier."""
    poison(shop, "customer_events", "NEW.type = 'reply'")
    put(shop, event(BAD, "reply", NEXT))
    app = make_engine(db_url)
    came: list[dict[str, Any]] = []

    def meanwhile(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "event_inbox" in statement and len(came) < 40:
            came.append(event(BAD, "cart", START - timedelta(seconds=len(came))))
            put(app, came[-1])

    sa_event.listen(shop, "before_cursor_execute", meanwhile)
    tick(shop, NEXT)
    sa_event.remove(shop, "before_cursor_execute", meanwhile)
    tick(shop, NEXT)
    app.dispose()
    assert [row.type for row in rows(shop, "SELECT type FROM journeys.event_quarantine")] == ["reply"]
    assert one(shop, "SELECT count(*) FROM journeys.customer_events WHERE type = 'cart'") == len(came) > 5


def test_of_a_thousand_events_three_bad_ones_cost_few_statements(shop: sa.Engine) -> None:
    for who in ("c0003", "c0500", "c0501"):
        execute(shop, f"ALTER TABLE journeys.customer_journeys ADD CONSTRAINT no_{who} CHECK (customer_id <> '{who}')")
    put(shop, *(event(f"c{n:04}", "cart") for n in range(1000)))
    entering = []

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "INSERT INTO journeys.customer_journeys" in statement:
            entering.append(statement)

    sa_event.listen(shop, "before_cursor_execute", note)
    report = tick(shop, START)
    assert (report.entered, report.failed) == (997, 3)
    assert {row.customer_id for row in quarantine(shop)} == {"c0003", "c0500", "c0501"}
    assert len(entering) <= 1 + 3 * 2 * 11


# ---- errors that are nobody's data


def _once(db: sa.Engine, table: str, what: str, times: int) -> None:
    """The first `times` INSERTs into a table do `what`; a sequence does not roll back."""
    execute(
        db,
        "CREATE SEQUENCE public.failures",
        f"""CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('public.failures') <= {times} THEN {what}; END IF; RETURN NULL; END $$""",
        f"CREATE TRIGGER fail AFTER INSERT ON journeys.{table} FOR EACH STATEMENT EXECUTE FUNCTION public.fail()",
    )


@pytest.mark.parametrize(
    "what",
    [
        "RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'",
        "RAISE EXCEPTION 'serialization' USING ERRCODE = '40001'",
        "PERFORM pg_terminate_backend(pg_backend_pid())",
    ],
    ids=["deadlock", "serialization", "connection"],
)
@pytest.mark.parametrize("table", ["customer_events", "journey_transitions"])
def test_a_batch_that_lost_a_race_or_its_connection_is_run_again(shop: sa.Engine, table: str, what: str) -> None:
    _once(shop, table, what, times=2)
    everybody(shop, "cart")
    report = tick(shop, START)
    assert (report.rows_in, report.routed, report.entered, report.failed, report.quarantined) == (30, 30, 30, 0, 0)
    assert one(shop, "SELECT last_value FROM public.failures") > 2
    assert holds_together(shop)


def test_any_other_error_undoes_the_batch_and_is_said(shop: sa.Engine) -> None:
    everybody(shop, "cart")
    poison(shop, "journey_transitions", "true", sqlstate="P0001")
    with pytest.raises(sa.exc.DBAPIError, match="this row is poisoned"):
        tick(shop, START)
    assert one(shop, "SELECT count(*) FROM journeys.event_inbox") == 30
    assert one(shop, "SELECT count(*) FROM journeys.customer_events") == 0
    execute(shop, "DROP TRIGGER poison ON journeys.journey_transitions")
    assert tick(shop, START).entered == 30
