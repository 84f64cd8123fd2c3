"""`wait`, after normalisation: time, time with a window, a date of the customer, or an event."""

from __future__ import annotations

from typing import Literal

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.base import Model
from journey_pipelines.workflows.triggers import Offset

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class AfterWait(Model):
    """Go on `after` this long: elapsed when it has only seconds, the same wall clock in the customer's zone when it has days or months.

    Then, in the customer's zone: `until` the next such local time ('HH:MM'), or `between` two local times (at once if inside; an end before
    the start is the next day's, the weekday is that of the start), or at the customer's best hour (`best_time`, at most `within` away).
    `on`: only these weekdays; alone it means the whole of such a day.
    """

    kind: Literal["after"] = "after"
    after: Duration
    until: str | None = None
    between: tuple[str, str] | None = None
    on: tuple[Weekday, ...] | None = None
    best_time: bool = False
    within: Duration | None = None

    @property
    def has_window(self) -> bool:
        """Whether the time needs more than `after`: then the step has a statement of its own for those who arrive."""
        return bool(self.until or self.between or self.on or self.best_time)


class DateWait(Model):
    """Go on at a date of the customer: `date` (an expression) plus `offset`, at the local time `at` (None: the date's own instant).

    missing: where a journey without such a date goes (a step id or `end`). past: what of a date that has gone by when it is known:
    continue, skip (not this step's `do`, go on), or a step id / `end`. When the date changes while waiting, the time follows.
    """

    kind: Literal["date"] = "date"
    date: str
    offset: Offset | None = None
    at: str | None = None
    missing: str = "end"
    past: str = "continue"


class EventWait(Model):
    """Go on when one of `events` comes after the journey reached the step (`since: step`) or entered, or at `timeout`.

    `any` also takes message events that belong to another journey.
    """

    kind: Literal["event"] = "event"
    events: tuple[str, ...]
    match: str | None = None
    when: str | None = None
    timeout: Duration
    since: Literal["step", "entry"] = "step"
    any: bool = False


Wait = AfterWait | DateWait | EventWait
