"""What the page shows, as plain values: the tables' figures put into words, shares and bar widths. Frames in, dataclasses out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.charts import Columns, columns
from reports.days import Span, short_day
from reports.metrics import entry_days, settled_completion
from reports.words import CHANNEL_WORDS, EXIT_WORDS, STATE_WORDS, Rate, count, duration, phrase

# state of a message -> the colour of its part of the bar
_TONES = {"accepted": "good", "suppressed": "mute", "held_out": "mute", "failed": "bad", "dead": "bad", "in_doubt": "bad"}
# best news first, trouble last
_STATES = ["accepted", "sending", "planned", "deferred", "retry", "held_out", "suppressed", "in_doubt", "failed", "dead"]


@dataclass(frozen=True)
class Part:
    """A part of a bar: its tone (a CSS class), its width in percent of the whole width, what it stands for."""

    tone: str
    width: float
    label: str


@dataclass(frozen=True)
class StepView:
    """One step of a funnel."""

    number: int
    name: str
    reached: int
    share: Rate
    parts: tuple[Part, ...]
    sentences: tuple[str, ...]
    branches: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A count with its words, and the share it makes where one is meant."""

    n: int
    words: str
    tone: str = ""
    share: Rate | None = None


@dataclass(frozen=True)
class ChannelView:
    """The messages of one channel by what became of them."""

    name: str
    planned: int
    parts: tuple[Part, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class WorkflowView:
    """Everything about one workflow on one page."""

    id: str
    name: str
    description: str
    status: str
    version: int
    day: Mapping[str, Any]
    whole: Mapping[str, Any]
    completion: Rate
    completion_days: str
    chart: Columns
    funnel: tuple[StepView, ...]
    cohort: tuple[StepView, ...]
    exits: tuple[Line, ...]
    entries: tuple[Line, ...]
    channels: tuple[ChannelView, ...]
    goal: str
    converted: Rate
    took: str

    @property
    def is_quiet(self) -> bool:
        """Nothing happened on the day, and nobody is under way."""
        return not any(
            self.day[name] for name in ("entered", "ended_that_day", "accepted_that_day", "conversions_that_day", "under_way_at_close")
        )


def workflow_views(
    window: Span,
    workflows: pd.DataFrame,
    outcomes: pd.DataFrame,
    day_metrics: pd.DataFrame,
    window_metrics: pd.DataFrame,
    day_funnel: pd.DataFrame,
    window_funnel: pd.DataFrame,
) -> tuple[WorkflowView, ...]:
    """A view for every workflow, those that most people entered first. The metrics and funnels are of all versions together (version 0)."""
    settled = {row["workflow_id"]: row for row in _rows(settled_completion(outcomes))}
    charted = entry_days(outcomes)
    whole = {row["workflow_id"]: row for row in _rows(window_metrics)}
    today = {row["workflow_id"]: row for row in _rows(day_metrics)}
    views = []
    for workflow in _rows(workflows[workflows["is_current"].astype(bool)]):
        key = workflow["workflow_id"]
        document = workflow["definition"] or {}
        names = {step["id"]: step.get("name") or _title(step["id"]) for step in document.get("steps") or ()}
        ended = whole[key]["ended"]
        mature = settled.get(key, {"numerator": 0, "denominator": 0})
        goal = document.get("goal") or {}
        views.append(
            WorkflowView(
                id=key,
                name=workflow["name"],
                description=document.get("description") or "",
                status=workflow["status"],
                version=workflow["version"],
                day=today[key],
                whole=whole[key],
                completion=Rate(mature["numerator"], mature["denominator"]),
                completion_days=_days_read(window, mature),
                chart=columns(window, _rows(charted[charted["workflow_id"] == key])),
                funnel=_funnel(window_funnel[window_funnel["workflow_id"] == key], whole[key]["entered"], names),
                cohort=_funnel(day_funnel[day_funnel["workflow_id"] == key], today[key]["entered"], names),
                exits=_lines(whole[key]["exits_by_reason"], EXIT_WORDS, ended),
                entries=_lines(whole[key]["entries_by_trigger"], {}, whole[key]["entered"]),
                channels=_channels(whole[key]["messages"]),
                goal=_goal(goal),
                converted=Rate(whole[key]["converted_exposed"] + whole[key]["converted_unexposed"], whole[key]["entered"]),
                took=_took(whole[key]),
            )
        )
    return tuple(sorted(views, key=lambda view: (-view.whole["entered"], view.name, view.id)))


def _funnel(steps: pd.DataFrame, entered: int, names: Mapping[str, str]) -> tuple[StepView, ...]:
    rows = _rows(steps)
    # in a loop a step may be reached more often than the workflow was entered: the longest bar fills the line
    full = max([entered, *(row["reached"] for row in rows)], default=0) or 1
    views = []
    for number, row in enumerate(rows, start=1):
        goal = row["exits_by_reason"].get("goal", 0)
        shares = [(row["passed"], "on", "went on"), (row["waiting"], "wait", "waiting"), (goal, "good", "reached the goal")]
        shares.append((row["exited"] - goal, "bad", "left"))
        parts = tuple(Part(tone, round(100 * n / full, 2), f"{count(n)} {words}") for n, tone, words in shares if n)
        sentences = [f"{count(n)} {words}" for n, _, words in shares if n] or ["nobody has come here yet"]
        left = [f"{count(n)} {_exit_words(reason)}" for reason, n in _by_size(row["exits_by_reason"]) if reason != "goal"]
        if left:
            sentences[-1] = left[0] if len(left) == 1 else f"{sentences[-1]} ({', '.join(left)})"
        # a step that nobody waits at takes no time, which is not worth a word
        if row["p90_seconds"]:
            median, p90 = duration(row["median_seconds"]), duration(row["p90_seconds"])
            sentences.append(f"median time here {median}" + (f", 9 of 10 within {p90}" if p90 != median else ""))
        branches = () if len(row["branches"]) < 2 else tuple(_way(to, n, row["passed"], names) for to, n in _by_size(row["branches"]))
        name = names.get(row["step_key"], f"{_title(row['step_key'])} (no longer in the workflow)")
        views.append(StepView(number, name, row["reached"], Rate(row["journeys"], entered), parts, tuple(sentences), branches))
    return tuple(views)


def _way(to: str, n: int, passed: int, names: Mapping[str, str]) -> str:
    share = Rate(n, passed)
    target = "the end" if to == "end" else names.get(to, _title(to))
    return f"{target}: {share} ({share.basis})" if share.value is not None else f"{target}: {share.basis}"


def _channels(messages: list[dict[str, Any]]) -> tuple[ChannelView, ...]:
    views = []
    for channel in sorted({row["channel"] for row in messages}, key=lambda c: ([*CHANNEL_WORDS, c].index(c), c)):
        rows = sorted((row for row in messages if row["channel"] == channel), key=_best_first)
        planned = sum(row["n"] for row in rows)
        parts, lines = [], []
        for row in rows:
            tone = _TONES.get(row["state"], "wait")
            words = STATE_WORDS[row["state"]] + (f": {phrase(row['reason'])}" if row["reason"] else "")
            parts.append(Part(tone, round(100 * row["n"] / planned, 2), f"{count(row['n'])} {words}"))
            lines.append(Line(row["n"], words, tone, Rate(row["n"], planned)))
        views.append(ChannelView(CHANNEL_WORDS.get(channel, channel), planned, tuple(parts), tuple(lines)))
    return tuple(views)


def _best_first(message: Mapping[str, Any]) -> tuple[int, int, str]:
    return _STATES.index(message["state"]), -message["n"], message["reason"] or ""


def _lines(counts: Mapping[str, int], words: Mapping[str, str], of: int) -> tuple[Line, ...]:
    good = ("completed", "goal")
    return tuple(Line(n, words.get(key, phrase(key)), "good" if key in good else "", Rate(n, of)) for key, n in _by_size(counts))


def _goal(goal: Mapping[str, Any]) -> str:
    if not goal:
        return ""
    within = f" within {goal['within']} of entry" if goal.get("within") else ""
    return f"{phrase(goal['event'])}{within}"


def _days_read(window: Span, settled: Mapping[str, Any]) -> str:
    if not settled["denominator"]:
        return ""
    days = window.days()
    first, last = days[settled["first_no"] - 1], days[settled["last_no"] - 1]
    return short_day(first) if first == last else f"{short_day(first)} – {short_day(last)}"


def _took(metrics: Mapping[str, Any]) -> str:
    if metrics["median_completion_hours"] is None:
        return ""
    median, p90 = (float(metrics[f"{name}_completion_hours"]) * 3600 for name in ("median", "p90"))
    return f"Half of those who completed took up to {duration(median)}, 9 of 10 up to {duration(p90)}."


def _exit_words(reason: str) -> str:
    return EXIT_WORDS.get(reason, phrase(reason))


def _by_size(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _title(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
