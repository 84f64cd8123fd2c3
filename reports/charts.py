"""Geometry of the small charts: numbers in, rectangles out. The template writes them as SVG, without a script and without a font."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.days import Span, short_day
from reports.words import count

WIDTH, HEIGHT, GAP = 336.0, 72.0, 2.0
_PARTS = (("good", "good", "completed or reached the goal"), ("other", "bad", "left otherwise"), ("active", "wait", "under way"))


@dataclass(frozen=True)
class Rect:
    """A rectangle in the chart's own units, y downwards."""

    tone: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Column:
    """One day: what a pointer over it says, where it begins, its parts from the ground up."""

    label: str
    x: float
    rects: tuple[Rect, ...]


@dataclass(frozen=True)
class Columns:
    """A column a day. ``highest`` is the count that fills the height."""

    width: float
    height: float
    step: float
    highest: int
    days: tuple[Column, ...]
    first: str
    last: str


def columns(window: Span, rows: Iterable[Mapping[str, Any]]) -> Columns:
    """Entries per day, stacked by what became of them. Rows: day_no (1 = the window's first day), good, other, active."""
    by_day = {row["day_no"]: row for row in rows}
    days = window.days()
    step = WIDTH / len(days)
    highest = max((sum(row[name] for name, _, _ in _PARTS) for row in by_day.values()), default=0)
    made = []
    for day_no, day in enumerate(days, start=1):
        row = by_day.get(day_no, {})
        label = f"{short_day(day)}: nobody entered"
        rects, top, x = [], HEIGHT, (day_no - 1) * step
        if row:
            said = ", ".join(f"{count(row[name])} {words}" for name, _, words in _PARTS if row[name])
            label = f"{short_day(day)}: {count(sum(row[name] for name, _, _ in _PARTS))} entered ({said})"
        for name, tone, _ in _PARTS:
            if row.get(name):
                height = HEIGHT * row[name] / highest
                top -= height
                rects.append(Rect(tone, round(x + GAP / 2, 2), round(top, 2), round(step - GAP, 2), round(height, 2)))
        made.append(Column(label, round(x, 2), tuple(rects)))
    return Columns(WIDTH, HEIGHT, round(step, 2), highest, tuple(made), short_day(days[0]), short_day(days[-1]))
