"""When do the figures of a day stop changing? Pure: the counts of the ledger and a time in, the reasons why not out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd

from journey_pipelines.expressions.durations import Duration, DurationError
from reports.days import Span, long_day
from reports.words import count

LATE = timedelta(days=3)
"""How long events may come in late before a day is closed: a weekend's outage. A workflow's own `max_lateness` may make it longer."""
HORIZON = timedelta(days=400)
"""A day this old is final whatever happens: one journey that is held for ever must not have every night restate the years since."""
UNSETTLED = frozenset({"planned", "deferred", "sending", "retry"})


@dataclass(frozen=True)
class Openness:
    """Why figures may still change: ``rows`` are the (workflow, version) of the last day that are not final, ``why`` says it in words."""

    rows: frozenset[tuple[str, int]]
    why: tuple[str, ...]

    @property
    def is_final(self) -> bool:
        return not self.why


def openness(
    window: Span, now: datetime, workflows: pd.DataFrame, outcomes: pd.DataFrame, messages: pd.DataFrame, pending_at: datetime | None
) -> Openness:
    """Look at every entry day of the window: its page shows them all, so it is final when they all are.

    `outcomes` and `messages` as in `reports.read.Ledger`; `pending_at` is the earliest thing the engine has still to do.
    """
    columns = (workflows[name] for name in ("workflow_id", "version", "definition"))
    times = {(workflow_id, version): _times(definition) for workflow_id, version, definition in zip(*columns, strict=True)}
    under_way = _counts(outcomes[outcomes["exit_reason"].isna()])
    entered = _counts(outcomes)
    unsettled = _counts(messages[messages["state"].isin(UNSETTLED)])
    longest_late = max((late for late, _ in times.values()), default=LATE)

    latest, last = window.bounds[-1], len(window.bounds) - 1
    rows: set[tuple[str, int]] = set()
    people = waiting_messages = 0
    late_until: datetime | None = None
    goals_until: datetime | None = None
    lagging = False
    for day_no, ends in enumerate(window.bounds[1:], start=1):
        if now >= ends + HORIZON:
            continue
        behind = pending_at is not None and pending_at < ends
        lagging |= behind
        if now < ends + longest_late:
            late_until = ends + longest_late
        keys = {(w, v) for d, w, v in {**entered, **unsettled} if d == day_no} | (set(times) if day_no == last else set())
        for key in keys:
            late, goal = times.get(key, (LATE, timedelta(0)))
            cell = (day_no, *key)
            goal_open = cell in entered and now < ends + goal + late
            people += under_way.get(cell, 0)
            waiting_messages += unsettled.get(cell, 0)
            if goal_open and goal:
                goals_until = max(goals_until or ends, ends + goal + late)
            if day_no == last and (behind or now < ends + late or goal_open or cell in under_way or cell in unsettled):
                rows.add(key)

    why: list[str] = []
    if now < latest:
        why.append("the day is not over")
    if lagging:
        why.append("the engine has still to work through events or waits of these days")
    if people:
        why.append(f"{count(people)} {'journey is' if people == 1 else 'journeys are'} still under way")
    if waiting_messages:
        why.append(f"{count(waiting_messages)} {'message is' if waiting_messages == 1 else 'messages are'} still to be sent")
    if late_until:
        why.append(f"late events are taken in until {_day(late_until, window)}")
    if goals_until:
        why.append(f"goals are counted until {_day(goals_until, window)}")
    return Openness(frozenset(rows), tuple(why))


def _times(definition: Mapping[str, Any] | None) -> tuple[timedelta, timedelta]:
    """How long a workflow's events may be late (at least `LATE`), and how long after entry its goal is counted."""
    document = definition or {}
    lateness = _elapsed((document.get("entry") or {}).get("max_lateness"))
    within = _elapsed((document.get("goal") or {}).get("within"))
    return max(LATE, lateness), within


def _elapsed(text: str | None) -> timedelta:
    # definitions were validated when they were deployed; one of an older program must not stop all reports
    try:
        return Duration.parse(text).elapsed() if text else timedelta(0)
    except DurationError:
        return timedelta(0)


def _counts(frame: pd.DataFrame) -> dict[tuple[int, str, int], int]:
    counts: dict[tuple[int, str, int], int] = {}
    for day_no, workflow_id, version, n in zip(frame["day_no"], frame["workflow_id"], frame["version"], frame["n"], strict=True):
        counts[day_no, workflow_id, version] = counts.get((day_no, workflow_id, version), 0) + int(n)
    return counts


def _day(at: datetime, window: Span) -> str:
    """The local day of ``at``, reckoned from the window's end, whose zone is not known here."""
    day: date = window.last + timedelta(days=1) + timedelta(days=(at - window.to_at).days)
    return long_day(day)
