"""Workflow metrics: frames in, one row a workflow (and version) out. No database, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pandas as pd

from reports.words import Rate

YOUNG_SHARE = Decimal("0.05")
"""A cohort with more of its journeys under way than this is young: those who ended so far are the quick ones, not typical ones."""

KEYS = ["workflow_id", "version"]
COLUMNS = [
    *KEYS, "is_final", "entered", "active", "ended", "completed", "goal_reached", "errors", "held_out",
    "entries_by_trigger", "exits_by_reason", "completion_numerator", "completion_denominator", "completion_rate",
    "mean_completion_hours", "median_completion_hours", "p90_completion_hours", "messages_planned", "messages",
    "converted_exposed", "converted_unexposed", "conversions", "conversion_value",
    "ended_that_day", "accepted_that_day", "conversions_that_day", "under_way_at_close",
]  # fmt: skip
_FACTS = {
    "ended": "ended_that_day",
    "accepted": "accepted_that_day",
    "conversions": "conversions_that_day",
    "under_way": "under_way_at_close",
}


def workflow_metrics(
    workflows: pd.DataFrame,
    outcomes: pd.DataFrame,
    messages: pd.DataFrame,
    conversions: pd.DataFrame,
    facts: pd.DataFrame,
    hours: pd.DataFrame,
    not_final: Iterable[tuple[str, int]] = (),
) -> pd.DataFrame:
    """One row for every current workflow version and every other version that has a figure, sorted by workflow and version.

    The frames are those of `reports.read.Ledger`, already cut to the days they shall cover; `not_final` are the (workflow, version)
    whose figures may still change. Columns: `COLUMNS`, as the table's comments explain them. The rate is None where it is not to be read.
    """
    counted = [outcomes, messages, conversions, facts, hours]
    keys = set(_pairs(workflows[workflows["is_current"].astype(bool)])).union(*(_pairs(frame) for frame in counted))
    open_keys = set(not_final)
    rows = [
        _row(key, key not in open_keys, *(frame[(frame["workflow_id"] == key[0]) & (frame["version"] == key[1])] for frame in counted))
        for key in sorted(keys)
    ]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def all_versions(frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame with its versions taken together, as version 0."""
    return frame.assign(version=0).astype(object)


def of_days(frame: pd.DataFrame, day_no: int) -> pd.DataFrame:
    """The rows of one day."""
    return frame[frame["day_no"] == day_no]


def is_young(entered: int, active: int) -> bool:
    """Whether so many are under way that the ended ones say little about the cohort."""
    return active > YOUNG_SHARE * entered


def settled_completion(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Completion over the entry days that are no longer young: workflow_id, numerator, denominator, first_no, last_no, days."""
    rows = []
    for workflow_id, of_workflow in outcomes.groupby("workflow_id", sort=True):
        kept = [
            (day_no, day)
            for day_no, day in of_workflow.groupby("day_no", sort=True)
            if not is_young(total(day), total(day[day["exit_reason"].isna()]))
        ]
        if kept:
            ended = [total(day[day["exit_reason"].notna()]) for _, day in kept]
            good = [total(day[day["exit_reason"].isin(["completed", "goal"])]) for _, day in kept]
            rows.append((workflow_id, sum(good), sum(ended), kept[0][0], kept[-1][0], len(kept)))
    return pd.DataFrame(rows, columns=["workflow_id", "numerator", "denominator", "first_no", "last_no", "days"], dtype=object)


def entry_days(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The cohorts of a window for its chart: workflow_id, day_no, good (completed or goal), other (ended otherwise), active."""
    rows = [
        (
            workflow_id,
            day_no,
            total(day[day["exit_reason"].isin(["completed", "goal"])]),
            total(day[day["exit_reason"].notna() & ~day["exit_reason"].isin(["completed", "goal"])]),
            total(day[day["exit_reason"].isna()]),
        )
        for (workflow_id, day_no), day in outcomes.groupby(["workflow_id", "day_no"], sort=True)
    ]
    return pd.DataFrame(rows, columns=["workflow_id", "day_no", "good", "other", "active"], dtype=object)


def tally(frame: pd.DataFrame, column: str, n: str = "n") -> dict[str, int]:
    """value of ``column`` -> sum of ``n``, keys in code point order, so that it prints the same at every run."""
    summed: dict[str, int] = {}
    for value, count in zip(frame[column], frame[n], strict=True):
        summed[str(value)] = summed.get(str(value), 0) + int(count)
    return dict(sorted(summed.items()))


def total(frame: pd.DataFrame, column: str = "n") -> int:
    """The sum of a count column; 0 for an empty frame."""
    return int(sum(frame[column]))


def _row(
    key: tuple[str, int],
    is_final: bool,
    outcomes: pd.DataFrame,
    messages: pd.DataFrame,
    conversions: pd.DataFrame,
    facts: pd.DataFrame,
    hours: pd.DataFrame,
) -> dict[str, Any]:
    ended = outcomes[outcomes["exit_reason"].notna()]
    exits = tally(ended, "exit_reason")
    entered, active = total(outcomes), total(outcomes) - total(ended)
    completion = Rate(exits.get("completed", 0) + exits.get("goal", 0), total(ended))
    exposed = conversions["exposed"].astype(bool)
    happened = tally(facts, "fact")
    took = hours.iloc[0] if len(hours) else None
    return {
        "workflow_id": key[0],
        "version": key[1],
        "is_final": is_final,
        "entered": entered,
        "active": active,
        "ended": total(ended),
        "completed": exits.get("completed", 0),
        "goal_reached": exits.get("goal", 0),
        "errors": exits.get("error", 0),
        "held_out": total(outcomes[outcomes["held_out"].astype(bool)]),
        "entries_by_trigger": tally(outcomes, "trigger_id"),
        "exits_by_reason": exits,
        "completion_numerator": completion.numerator,
        "completion_denominator": completion.denominator,
        "completion_rate": None if is_young(entered, active) else completion.value,
        "mean_completion_hours": None if took is None else took["mean_hours"],
        "median_completion_hours": None if took is None else took["median_hours"],
        "p90_completion_hours": None if took is None else took["p90_hours"],
        "messages_planned": total(messages),
        "messages": _message_outcomes(messages),
        "converted_exposed": total(conversions[exposed], "journeys"),
        "converted_unexposed": total(conversions[~exposed], "journeys"),
        "conversions": total(conversions, "conversions"),
        "conversion_value": sum(conversions["value"], Decimal(0)),
        **{column: happened.get(fact, 0) for fact, column in _FACTS.items()},
    }


def _message_outcomes(messages: pd.DataFrame) -> list[dict[str, Any]]:
    summed: dict[tuple[str, str, str], int] = {}
    for channel, state, reason, n in zip(*(messages[name] for name in ("channel", "state", "reason", "n")), strict=True):
        summed[channel, state, reason] = summed.get((channel, state, reason), 0) + int(n)
    return [
        {"channel": channel, "state": state, "reason": reason or None, "n": n} for (channel, state, reason), n in sorted(summed.items())
    ]


def _pairs(frame: pd.DataFrame) -> set[tuple[str, int]]:
    return set(zip(frame["workflow_id"], frame["version"], strict=True))
