"""A measured figure, what it is compared with in the same run, and what was wanted; the table and the JSON of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Wanted:
    """A bound that a number has to keep; either may be absent."""

    least: float | None = None
    most: float | None = None

    def met(self, value: float) -> bool:
        """Whether `value` lies within."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        bounds = ((">=", self.least), ("<=", self.most))
        return " and ".join(f"{sign} {bound:,}" for sign, bound in bounds if bound is not None)


@dataclass(frozen=True)
class Figure:
    """`baseline` is the same measurement of `against`, in the same run and unit; the ratio is value / baseline."""

    name: str
    value: float
    unit: str
    wanted: Wanted | None = None
    baseline: float | None = None
    against: str = ""
    ratio_wanted: Wanted | None = None

    @property
    def ratio(self) -> float | None:
        """value / baseline; None without one."""
        return round(self.value / self.baseline, 3) if self.baseline else None

    @property
    def met(self) -> bool | None:
        """Whether all that was wanted is kept; None where nothing was."""
        asked = [(self.wanted, self.value), (self.ratio_wanted, self.ratio)]
        answers = [wanted.met(value) for wanted, value in asked if wanted is not None and value is not None]
        return all(answers) if answers else None

    def wish(self) -> str:
        """What was wanted, of the figure and of the ratio."""
        said = [str(self.wanted)] if self.wanted else []
        return ", ".join([*said, *([f"ratio {self.ratio_wanted}"] if self.ratio_wanted else [])])


def number(value: float) -> str:
    """With three digits that say something, and thousands apart."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.1f}"


def as_table(figures: Sequence[Figure], *, judged: bool) -> Table:
    """`judged`: say whether what was wanted is kept, which a run at small sizes cannot."""
    table = Table("figure", "measured", "unit", "beside it", "ratio", "wanted", "")
    for figure in figures:
        beside = "" if figure.baseline is None else f"{number(figure.baseline)} {figure.against}"
        met = figure.met if judged else None
        table.add_row(
            figure.name,
            number(figure.value),
            figure.unit,
            beside,
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.wish(),
            {True: "ok", False: "not", None: ""}[met],
            style="red" if met is False else None,
        )
    return table


def as_json(figures: Sequence[Figure], *, judged: bool) -> str:
    """One line: name -> value, unit, and the ratio and whether it is met where there are such."""
    found: dict[str, dict[str, Any]] = {}
    for figure in figures:
        row = {"value": figure.value, "unit": figure.unit, "baseline": figure.baseline, "ratio": figure.ratio}
        row["met"] = figure.met if judged else None
        found[figure.name] = {key: value for key, value in row.items() if value is not None}
    return json.dumps(found)
