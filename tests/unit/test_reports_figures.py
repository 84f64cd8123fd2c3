"""The pure part of the reports: frames in, frames out; when a day is final; what the page makes of it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from reports.charts import HEIGHT, columns
from reports.days import window
from reports.final import HORIZON, openness
from reports.funnel import merged_steps, step_funnel
from reports.metrics import all_versions, entry_days, settled_completion, workflow_metrics
from reports.write import csv_text

WINDOW = window(date(2026, 5, 12), "UTC")
END = WINDOW.to_at
DAY = timedelta(days=1)


def frame(columns: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=columns.split(), dtype=object)


def workflows(definition: dict[str, Any] | None = None) -> pd.DataFrame:
    return frame(
        "workflow_id version is_current name status category definition",
        ("w", 1, False, "W", "active", "marketing", definition or {}),
        ("w", 2, True, "W", "active", "marketing", definition or {}),
    )


def outcomes(*rows: tuple[int, str | None, int], version: int = 2) -> pd.DataFrame:
    """Rows: day_no, exit_reason, n."""
    made = [(day_no, "w", version, "t", reason, False, n) for day_no, reason, n in rows]
    return frame("day_no workflow_id version trigger_id exit_reason held_out n", *made)


MESSAGES = "day_no workflow_id version channel state reason n"
CONVERSIONS = "day_no workflow_id version exposed journeys conversions value"
FACTS = "workflow_id version fact n"
HOURS = "workflow_id version mean_hours median_hours p90_hours"


def metrics(journeys: pd.DataFrame, messages: pd.DataFrame | None = None, known: pd.DataFrame | None = None) -> pd.DataFrame:
    empty = frame(MESSAGES) if messages is None else messages
    return workflow_metrics(
        workflows() if known is None else known, journeys, empty, frame(CONVERSIONS), frame(FACTS), frame(HOURS), [("w", 2)]
    )


@pytest.mark.parametrize(
    ("active", "good", "other", "rate"),
    [
        (0, 20, 9, None),  # 29 ended: too few
        (0, 20, 10, 0.6667),
        (5, 60, 40, 0.6),  # 5 of 105 under way: 4.8 %
        (6, 60, 40, None),  # 6 of 106 under way, 5.7 %: young
    ],
)
def test_a_rate_is_stored_where_it_may_be_read(active: int, good: int, other: int, rate: float | None) -> None:
    (row,) = metrics(outcomes((28, None, active), (28, "completed", good), (28, "exit_rule", other))).to_dict("records")
    assert (row["completion_numerator"], row["completion_denominator"]) == (good, good + other)
    assert row["completion_rate"] == rate


def test_versions_that_only_have_old_figures_are_rows_and_retired_ones_without_are_not() -> None:
    two = metrics(outcomes((28, None, 1), version=1))
    assert list(zip(two["version"], two["entered"], two["is_final"], strict=True)) == [(1, 1, True), (2, 0, False)]
    one = metrics(outcomes())
    assert list(one["version"]) == [2]


def test_the_order_of_rows_does_not_matter() -> None:
    journeys = outcomes((28, "goal", 3), (28, None, 2), (28, "completed", 5), (28, "error", 1))
    messages = frame(
        MESSAGES, (28, "w", 2, "sms", "failed", "x", 1), (28, "w", 2, "email", "accepted", "", 4), (28, "w", 2, "email", "failed", "b", 2)
    )
    one = csv_text(date(2026, 5, 12), metrics(journeys, messages))
    assert csv_text(date(2026, 5, 12), metrics(journeys.iloc[::-1], messages.iloc[::-1])) == one
    assert one.splitlines()[1].startswith("2026-05-12,w,2,false,11,2,9,5,3,1,0,")


def test_all_versions_together_add_up() -> None:
    both = pd.concat([outcomes((28, None, 4), version=1), outcomes((28, None, 3))])
    (row,) = metrics(all_versions(both), known=all_versions(workflows())).to_dict("records")
    assert (row["version"], row["entered"]) == (0, 7)


def test_completion_leaves_young_days_out() -> None:
    found = settled_completion(
        outcomes((3, "completed", 10), (3, "exit_rule", 10), (20, "goal", 95), (20, None, 5), (27, "exit_rule", 3), (27, None, 30))
    )
    assert found.to_dict("records") == [{"workflow_id": "w", "numerator": 105, "denominator": 115, "first_no": 3, "last_no": 20, "days": 2}]


def test_the_funnel_keeps_the_order_of_the_file_and_puts_removed_steps_last() -> None:
    steps = frame("workflow_id version step_key position", ("w", 2, "zeta", 0), ("w", 2, "alpha", 1), ("w", 1, "gone", 0))
    visits = frame(
        "workflow_id version step_key outcome way is_total n journeys median_seconds p90_seconds",
        ("w", 0, "gone", None, None, True, 2, 2, Decimal(1), Decimal(1)),
        ("w", 0, "gone", "exited", "goal", False, 2, 2, None, None),
        ("w", 0, "zeta", None, None, True, 5, 4, None, None),
        ("w", 0, "zeta", "passed", "alpha", False, 3, 3, None, None),
        ("w", 0, "zeta", "waiting", "", False, 2, 2, None, None),
    )
    funnel = step_funnel(merged_steps(workflows(), steps), visits)
    assert list(funnel["step_key"]) == ["zeta", "alpha", "gone"]
    assert list(zip(funnel["reached"], funnel["passed"], funnel["waiting"], funnel["exited"], strict=True)) == [
        (5, 3, 2, 0),
        (0, 0, 0, 0),
        (2, 0, 0, 2),
    ]
    assert funnel["branches"][0] == {"alpha": 3}
    assert funnel["exits_by_reason"][2] == {"goal": 2}


def why(now: datetime, journeys: pd.DataFrame, **given: Any) -> tuple[str, ...]:
    definition = given.get("definition", {"goal": {"event": "purchase", "within": "7 days"}})
    return openness(WINDOW, now, workflows(definition), journeys, given.get("messages", frame(MESSAGES)), given.get("pending_at")).why


def test_a_day_is_final_when_nothing_can_change_any_more() -> None:
    ended = outcomes((28, "completed", 3))
    assert "the day is not over" in why(END - timedelta(seconds=1), ended)
    assert why(END, ended) == ("late events are taken in until Saturday, 16 May 2026", "goals are counted until Saturday, 23 May 2026")
    assert why(END + 3 * DAY, ended) == ("goals are counted until Saturday, 23 May 2026",)
    assert why(END + 10 * DAY - timedelta(seconds=1), ended)
    assert why(END + 10 * DAY, ended) == ()


def test_what_keeps_a_day_open() -> None:
    later = END + 30 * DAY
    assert why(later, outcomes((28, None, 1))) == ("1 journey is still under way",)
    assert why(later, outcomes((1, None, 1200))) == ("1,200 journeys are still under way",), "an earlier day that the page shows"
    sending = frame(MESSAGES, (28, "w", 2, "email", "retry", "x", 2), (28, "w", 2, "email", "in_doubt", "x", 9))
    assert why(later, outcomes(), messages=sending) == ("2 messages are still to be sent",)
    assert "the engine has still to work through events or waits of these days" in why(later, outcomes(), pending_at=END - DAY)
    assert why(later, outcomes(), pending_at=END) == ()
    assert why(END + HORIZON, outcomes((28, None, 1))) == ()


def test_a_workflow_may_wait_longer_for_late_events() -> None:
    definition = {"entry": {"max_lateness": "10 days"}}
    assert why(END + 9 * DAY, outcomes(), definition=definition) == ("late events are taken in until Saturday, 23 May 2026",)
    assert why(END + 10 * DAY, outcomes(), definition=definition) == ()
    assert why(END + 3 * DAY, outcomes(), definition={"entry": {"max_lateness": "what is this"}}) == ()


def test_rows_of_the_day_become_final_each_for_itself() -> None:
    journeys = pd.concat([outcomes((28, "completed", 1)), outcomes((28, None, 1), version=1), outcomes((2, None, 1))])
    state = openness(WINDOW, END + 30 * DAY, workflows(), journeys, frame(MESSAGES), None)
    assert not state.is_final
    assert state.rows == {("w", 1)}


def test_columns_of_the_chart_stand_on_the_ground_and_fill_the_height() -> None:
    chart = columns(WINDOW, entry_days(outcomes((1, "goal", 30), (1, None, 10), (28, "error", 20))).to_dict("records"))
    assert (chart.highest, len(chart.days), chart.first, chart.last) == (40, 28, "15 Apr", "12 May")
    first, last = chart.days[0], chart.days[-1]
    assert first.label == "15 Apr: 40 entered (30 completed or reached the goal, 10 under way)"
    assert sum(rect.height for rect in first.rects) == HEIGHT
    assert [(rect.tone, rect.y + rect.height) for rect in last.rects] == [("bad", HEIGHT)]
    assert chart.days[1].label == "16 Apr: nobody entered"


def test_a_window_without_anybody_has_a_chart_too() -> None:
    chart = columns(WINDOW, [])
    assert chart.highest == 0
    assert not any(day.rects for day in chart.days)
