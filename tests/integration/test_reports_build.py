"""Reports on a real database: hand-computed days, restatement, reconciliation, the same bytes twice."""

from __future__ import annotations

import concurrent.futures
import random
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from report_rows import Rows

from journey_pipelines.store import report_tables as r
from journey_pipelines.store import tables as t
from reports.build import ReportResult, build_reports
from reports.days import ReportDayError
from reports.due import days_to_restate

DAY = date(2026, 5, 12)
NOON = datetime(2026, 5, 12, 12, tzinfo=UTC)
NEXT_DAY = datetime(2026, 5, 13, 4, 30, tzinfo=UTC)
LATER = datetime(2026, 6, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
START = timedelta(0)


def report(db: sa.Engine, folder: Path, *, day: date = DAY, now: datetime = NEXT_DAY, zone: str = "UTC") -> ReportResult:
    return build_reports(db, day, now=now, zone=zone, folder=folder)


def row(db: sa.Engine, table: sa.Table, **where: object) -> sa.RowMapping:
    with db.connect() as conn:
        return conn.execute(sa.select(table).filter_by(**where)).mappings().one()


def page(result: ReportResult) -> str:
    return result.page.read_text(encoding="utf-8")


def a_day(db: sa.Engine) -> None:
    """Four journeys of `cart` on DAY: completed, goal, exit rule, still waiting; one of the day before that ends on DAY."""
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("cart", ["remind", "offer"], name="Cart recovery", goal={"event": "purchase", "within": "7 days"})
        rows.workflow("silent", ["only"], name="Silent", status="paused")
        one = rows.journey("cart", NOON, [(START, "remind"), (HOUR, "offer")], (3 * HOUR, "completed"))
        two = rows.journey("cart", NOON, [(START, "remind"), (2 * HOUR, "offer")], (4 * HOUR, "goal"), trigger="second")
        rows.journey("cart", NOON, [(START, "remind")], (5 * HOUR, "exit_rule"))
        rows.journey("cart", NOON, [(START, "remind")], held_out=True)
        rows.journey("cart", NOON - 24 * HOUR, [(START, "remind")], (20 * HOUR, "completed"))
        rows.message("cart", NOON + HOUR, state="accepted", journey_id=one)
        rows.message("cart", NOON + HOUR, state="suppressed", reason="no_consent", journey_id=two)
        rows.message("cart", NOON - 24 * HOUR, "sms", state="accepted", accepted_at=NOON, journey_id=one)
        rows.conversion(one, "cart", NOON + 26 * HOUR, exposed=True, value=20)
        rows.conversion(one, "cart", NOON + 27 * HOUR, exposed=True, value=22.5)
        rows.conversion(two, "cart", NOON + 4 * HOUR, exposed=False, value=None)


def test_a_day_computed_by_hand(db: sa.Engine, tmp_path: Path) -> None:
    a_day(db)
    result = report(db, tmp_path)
    cart = row(db, r.workflow_metrics, workflow_id="cart")
    assert (cart["as_of"], cart["version"], cart["is_final"]) == (DAY, 1, False)
    assert (cart["entered"], cart["active"], cart["ended"], cart["held_out"]) == (4, 1, 3, 1)
    assert (cart["completed"], cart["goal_reached"], cart["errors"]) == (1, 1, 0)
    assert cart["entries_by_trigger"] == {"second": 1, "t": 3}
    assert cart["exits_by_reason"] == {"completed": 1, "exit_rule": 1, "goal": 1}
    assert (cart["completion_numerator"], cart["completion_denominator"], cart["completion_rate"]) == (2, 3, None)
    assert (cart["mean_completion_hours"], cart["median_completion_hours"]) == (Decimal("3.5"), Decimal("3.5"))
    assert cart["p90_completion_hours"] == Decimal("3.9")
    assert cart["messages_planned"] == 2
    assert cart["messages"] == [
        {"channel": "email", "state": "accepted", "reason": None, "n": 1},
        {"channel": "email", "state": "suppressed", "reason": "no_consent", "n": 1},
    ]
    assert (cart["converted_exposed"], cart["converted_unexposed"], cart["conversions"]) == (1, 1, 3)
    assert cart["conversion_value"] == Decimal("42.5")
    # ended: two of the cohort at 15 and 16 h, one at 17 h; the one of the day before ended on this day, at 08:00
    assert (cart["ended_that_day"], cart["accepted_that_day"], cart["conversions_that_day"], cart["under_way_at_close"]) == (4, 2, 1, 1)
    assert result.headline["entered"] == 4
    assert result.headline["workflows"] == 2

    remind = row(db, r.step_funnel, workflow_id="cart", step_key="remind")
    assert (remind["reached"], remind["journeys"], remind["passed"], remind["waiting"], remind["exited"]) == (4, 4, 2, 1, 1)
    assert remind["branches"] == {"offer": 2}
    assert remind["exits_by_reason"] == {"exit_rule": 1}
    assert (remind["median_seconds"], remind["p90_seconds"]) == (Decimal(7200), Decimal(15840))
    offer = row(db, r.step_funnel, workflow_id="cart", step_key="offer")
    assert (offer["reached"], offer["passed"], offer["waiting"], offer["exited"]) == (2, 1, 0, 1)
    assert offer["branches"] == {"end": 1}
    assert offer["exits_by_reason"] == {"goal": 1}


def test_a_workflow_that_nobody_entered_is_listed_with_zeros(db: sa.Engine, tmp_path: Path) -> None:
    a_day(db)
    result = report(db, tmp_path)
    silent = row(db, r.workflow_metrics, workflow_id="silent")
    assert (silent["entered"], silent["messages"], silent["completion_rate"]) == (0, [], None)
    assert row(db, r.step_funnel, workflow_id="silent")["reached"] == 0
    assert "Silent" in page(result)
    assert "Nobody entered from 15 Apr to 12 May" in page(result)


def test_an_empty_database_gives_a_page_that_says_so(db: sa.Engine, tmp_path: Path) -> None:
    result = report(db, tmp_path)
    assert "There is nothing to report yet" in page(result)
    assert result.headline["entered"] == 0
    assert result.tables["workflow_metrics"].read_text().count("\n") == 1


def test_two_runs_give_the_same_bytes_and_the_same_rows(db: sa.Engine, tmp_path: Path) -> None:
    a_day(db)
    first = [path.read_bytes() for path in report(db, tmp_path / "a").paths]
    rows = partition(db)
    again = report(db, tmp_path / "b", now=NEXT_DAY + timedelta(minutes=7))
    assert [path.read_bytes() for path in again.paths] == first
    assert partition(db) == rows


def partition(db: sa.Engine) -> list[list[sa.Row]]:
    with db.connect() as conn:
        return [
            list(conn.execute(sa.select(table).order_by(*table.primary_key)))
            for table in (r.report_days, r.workflow_metrics, r.step_funnel)
        ]


def test_a_late_event_restates_the_day_it_belongs_to_and_no_other(db: sa.Engine, tmp_path: Path) -> None:
    a_day(db)
    report(db, tmp_path)
    report(db, tmp_path, day=DAY - timedelta(days=1))
    with db.begin() as conn:
        # occurred on DAY, came in the day after
        Rows(conn).journey("cart", NOON + HOUR, [(START, "remind")])
        conn.execute(sa.update(t.messages).where(t.messages.c.state == "suppressed").values(state="failed", reason="bounced"))
    before = row(db, r.workflow_metrics, workflow_id="cart", as_of=DAY - timedelta(days=1))
    report(db, tmp_path)
    cart = row(db, r.workflow_metrics, workflow_id="cart", as_of=DAY)
    assert (cart["entered"], cart["active"]) == (5, 2)
    assert cart["messages"][1] == {"channel": "email", "state": "failed", "reason": "bounced", "n": 1}
    assert row(db, r.workflow_metrics, workflow_id="cart", as_of=DAY - timedelta(days=1)) == before


def test_figures_of_a_random_ledger_reconcile(db: sa.Engine, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    dice = random.Random(seed)
    steps = ["a", "b", "c"]
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("w", steps, version=1, is_current=False)
        rows.workflow("w", steps, version=2)
        for _ in range(300):
            path = [dice.choice(steps) for _ in range(dice.randint(1, 6))]
            moves = [(HOUR * n, step) for n, step in enumerate(path)]
            end = (
                (HOUR * len(path), dice.choice(["completed", "goal", "exit_rule", "error", "unsubscribed"]))
                if dice.random() < 0.7
                else None
            )
            entered = NOON + dice.uniform(-40, 11) * HOUR
            rows.journey("w", entered, moves, end, version=dice.choice([1, 2]), trigger=dice.choice("xyz"))
    for day in (DAY, DAY - timedelta(days=1)):
        report(db, tmp_path, day=day)
    with db.connect() as conn:
        metrics = conn.execute(sa.select(r.workflow_metrics)).mappings().all()
        funnel = conn.execute(sa.select(r.step_funnel)).mappings().all()
        written = conn.scalar(sa.select(sa.func.count()).where(t.customer_journeys.c.entered_at >= NOON - 36 * HOUR))
    assert sum(m["entered"] for m in metrics) == written
    for m in metrics:
        assert m["entered"] == m["active"] + m["ended"] == sum(m["entries_by_trigger"].values())
        assert m["ended"] == sum(m["exits_by_reason"].values())
        mine = [f for f in funnel if (f["as_of"], f["version"]) == (m["as_of"], m["version"])]
        for f in mine:
            assert f["reached"] == f["passed"] + f["waiting"] + f["exited"]
            assert f["passed"] == sum(f["branches"].values())
            assert f["exited"] == sum(f["exits_by_reason"].values())
        assert sum(f["waiting"] for f in mine) == m["active"]
        assert sum(f["exited"] for f in mine) + sum(f["branches"].get("end", 0) for f in mine) == m["ended"]
        # who arrived is who entered or came from another step
        assert sum(f["reached"] for f in mine) == m["entered"] + sum(n for f in mine for to, n in f["branches"].items() if to != "end")


def test_a_restart_is_not_a_way_through_the_step(db: sa.Engine, tmp_path: Path) -> None:
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("w", ["a", "b"])
        journey = rows.journey("w", NOON, [(START, "a")])
        rows.transition(journey, "w", "a", "a", NOON + HOUR, "restarted")
    report(db, tmp_path)
    step = row(db, r.step_funnel, step_key="a")
    assert (step["reached"], step["passed"], step["waiting"], step["branches"]) == (1, 0, 1, {})


def test_a_journey_that_was_retried_ends_once(db: sa.Engine, tmp_path: Path) -> None:
    """Failed at `a`, retried an hour later, failed again, retried and completed; another one failed for good."""
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("w", ["a", "b"])
        journey = rows.journey("w", NOON, [(START, "a")])
        for hour, (to_step, why) in enumerate([(None, "error"), ("a", "retried"), (None, "error"), ("a", "retried"), ("b", "timer")]):
            rows.transition(journey, "w", "a", to_step, NOON + (hour + 1) * HOUR, why)
        rows.transition(journey, "w", "b", None, NOON + 6 * HOUR, "completed")
        ended = {"status": "ended", "exit_reason": "completed", "ended_at": NOON + 6 * HOUR}
        conn.execute(sa.update(t.customer_journeys).values(**ended))
        rows.journey("w", NOON, [(START, "a")], (HOUR, "error"))
    report(db, tmp_path)
    metrics = row(db, r.workflow_metrics, workflow_id="w")
    assert (metrics["ended"], metrics["ended_that_day"], metrics["errors"], metrics["under_way_at_close"]) == (2, 2, 1, 0)
    step = row(db, r.step_funnel, step_key="a")
    assert (step["reached"], step["journeys"], step["passed"]) == (2, 2, 1)
    assert (step["exits_by_reason"], step["branches"]) == ({"error": 1}, {"b": 1})


def test_a_loop_counts_arrivals_and_journeys_apart(db: sa.Engine, tmp_path: Path) -> None:
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("w", ["a", "b"])
        rows.journey("w", NOON, [(START, "a"), (HOUR, "b"), (2 * HOUR, "a"), (3 * HOUR, "b")], (4 * HOUR, "completed"))
    report(db, tmp_path)
    step = row(db, r.step_funnel, step_key="b")
    assert (step["reached"], step["journeys"], step["passed"]) == (2, 1, 2)
    assert step["branches"] == {"a": 1, "end": 1}


def test_days_are_those_of_the_zone_also_when_the_clocks_change(db: sa.Engine, tmp_path: Path) -> None:
    """29 March 2026 in Berlin lasts 23 hours: from 28 March 23:00 to 29 March 22:00 UTC."""
    day = date(2026, 3, 29)
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("w", ["a"])
        for at in ("2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"):
            rows.journey("w", datetime.fromisoformat(at), [(START, "a")])
    report(db, tmp_path, day=day, zone="Europe/Berlin")
    report(db, tmp_path, day=day + timedelta(days=1), zone="Europe/Berlin")
    assert row(db, r.workflow_metrics, as_of=day)["entered"] == 2
    assert row(db, r.workflow_metrics, as_of=day + timedelta(days=1))["entered"] == 1
    stored = row(db, r.report_days, as_of=day)
    assert stored["zone"] == "Europe/Berlin"
    assert stored["to_at"] - stored["from_at"] == 23 * HOUR


def test_the_open_day_is_marked_and_a_day_becomes_final(db: sa.Engine, tmp_path: Path) -> None:
    a_day(db)
    with db.begin() as conn:
        conn.execute(sa.delete(t.customer_journeys).where(t.customer_journeys.c.status == "active"))
    assert "the day is not over" in page(report(db, tmp_path, now=NOON + 8 * HOUR))
    young = report(db, tmp_path)
    assert not young.is_final
    assert "goals are counted until Saturday, 23 May 2026" in page(young)
    assert row(db, r.report_days)["is_final"] is False
    old = report(db, tmp_path, now=LATER)
    assert old.is_final
    assert row(db, r.report_days)["is_final"] is True
    assert row(db, r.workflow_metrics, workflow_id="cart")["is_final"] is True


def test_a_day_is_not_final_while_somebody_is_under_way_or_the_engine_is_behind(db: sa.Engine, tmp_path: Path) -> None:
    a_day(db)
    assert "1 journey is still under way" in page(report(db, tmp_path, now=LATER))
    with db.begin() as conn:
        conn.execute(sa.update(t.customer_journeys).where(t.customer_journeys.c.status == "active").values(due_at=NOON))
    assert "the engine has still to work through" in page(report(db, tmp_path, now=LATER))


def test_a_day_that_has_not_begun_is_refused_and_nothing_is_written(db: sa.Engine, tmp_path: Path) -> None:
    with pytest.raises(ReportDayError, match=r"expected a day that has begun, got 2026-05-12; in UTC it is 2026-05-10"):
        report(db, tmp_path, now=NOON - 48 * HOUR)
    with pytest.raises(ReportDayError, match=r"got 'Mars/Base'"):
        report(db, tmp_path, zone="Mars/Base")
    assert not list(tmp_path.iterdir())


def test_what_is_due_tonight(db: sa.Engine, tmp_path: Path) -> None:
    today = DAY + timedelta(days=2)
    assert days_to_restate(db, today) == [DAY + timedelta(days=1)], "without anybody, yesterday's page still says so"
    a_day(db)
    with db.begin() as conn:
        conn.execute(sa.delete(t.customer_journeys).where(t.customer_journeys.c.status == "active"))
    # the first row was written on DAY; an event of the day before may come in late
    assert days_to_restate(db, today) == [DAY + timedelta(days=n) for n in (-1, 0, 1)]
    report(db, tmp_path)
    assert DAY in days_to_restate(db, today), "reported, but not final"
    report(db, tmp_path, now=LATER)
    assert DAY not in days_to_restate(db, today)
    assert DAY in days_to_restate(db, today, zone="Asia/Tokyo"), "another zone is another day"
    assert days_to_restate(db, DAY + timedelta(days=1))[-1] == DAY, "yesterday always"
    assert days_to_restate(db, today, first=DAY + timedelta(days=1)) == [DAY + timedelta(days=1)]
    assert days_to_restate(db, today, first=today) == []


def test_names_from_a_workflow_cannot_write_into_the_page(db: sa.Engine, tmp_path: Path) -> None:
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("w", ["a"], name="<script>alert(1)</script>", description="<img src=x>")
        rows.journey("w", NOON, [(START, "a")], trigger='"><b>')
        rows.message("w", NOON, state="failed", reason="<i>no</i>")
    text = page(report(db, tmp_path))
    assert "<script" not in text
    assert "<img" not in text
    assert "<i>no" not in text


def test_four_writers_of_one_day_leave_one_partition(db: sa.Engine, tmp_path: Path) -> None:
    a_day(db)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: report(db, tmp_path / str(n)), range(4)))
    assert len({page(result) for result in made}) == 1
    with db.connect() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(r.workflow_metrics)) == 2


def test_without_a_day_and_a_zone_it_is_today_in_the_zone_of_the_policies(db: sa.Engine, tmp_path: Path) -> None:
    late = datetime(2026, 5, 12, 22, 30, tzinfo=UTC)
    assert build_reports(db, now=late, folder=tmp_path).day == DAY
    with db.begin() as conn:
        conn.execute(sa.update(t.deployment).values(policies={"zone": "Europe/Berlin"}))
    assert build_reports(db, now=late, folder=tmp_path).day == DAY + timedelta(days=1)


def test_files_go_to_the_folder_of_the_settings(db: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNEYS_REPORTS", str(tmp_path / "mine"))
    result = build_reports(db, DAY, now=NEXT_DAY)
    assert [path.relative_to(tmp_path).as_posix() for path in result.paths] == [
        "mine/2026-05-12/report.html",
        "mine/2026-05-12/workflow_metrics.csv",
        "mine/2026-05-12/step_funnel.csv",
    ]
    assert not list(tmp_path.rglob(".*"))


def test_the_figures_of_the_page_are_those_of_the_tables(db: sa.Engine, tmp_path: Path) -> None:
    """32 journeys over two days: the page adds both, prints the rate that 30 allow, and says what it is of."""
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow("w", ["first", "second"], name="Two steps")
        for n in range(32):
            at = NOON - (n % 2) * 24 * HOUR
            rows.journey("w", at, [(START, "first"), (HOUR, "second")], (2 * HOUR, "completed" if n < 24 else "exit_rule"))
    text = page(report(db, tmp_path))
    assert "75.0\u00a0%" in text
    assert "24 of 32" in text
    assert "24 went on · 8 left by an exit rule" in text
    assert "Only those who entered on 12 May: 16" in text
