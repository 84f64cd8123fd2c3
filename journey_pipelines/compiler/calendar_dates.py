"""Dates of a customer, for date waits and date triggers: an expression's value, moved on the calendar, as an instant.

A value is a calendar date (a birthday: that day, wherever the customer is) or a point in time (a trial's end). It is a calendar date where
the catalogue says so of `customer.X`, or where nothing says what it is and it is exactly midnight UTC: that is how a date without a time
is read. A calendar date is taken as it is written; of a point in time the local day in the customer's zone counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.statement import TS, lit
from journey_pipelines.compiler.wall import (
    Column,
    Moment,
    clock,
    day_of,
    in_order,
    in_utc,
    instant_of,
    interval,
    named,
    span,
    span_of,
    wall_of,
)
from journey_pipelines.expressions import Scope, analyse, compile_value
from journey_pipelines.expressions.names import as_catalogue
from journey_pipelines.expressions.values import EARLIEST, LATEST
from journey_pipelines.workflows.triggers import DateTrigger, Offset
from journey_pipelines.workflows.waits import DateWait

Kind = Literal["date", "datetime", "unknown"]


def date_of(wait: DateWait | DateTrigger, scope: Scope) -> Moment:
    """The instant of a date in a scope; NULL where it is missing, or past the ends of the calendar."""
    return _Date(wait.date, wait.offset, wait.at, scope).moment()


def next_date_of(trigger: DateTrigger, scope: Scope) -> Moment:
    """The date's next instant after the scope's own time, NULL where there is none; `yearly`: of all its anniversaries."""
    date = _Date(trigger.date, trigger.offset, trigger.at, scope)
    if trigger.yearly:
        return date.anniversary()
    moment = date.moment()
    return Moment(sa.case((moment.at > scope.at, moment.at)), moment.laterals)


@dataclass(frozen=True)
class _Date:
    text: str
    offset: Offset | None
    clock: str | None
    scope: Scope

    def moment(self) -> Moment:
        laterals, kind, local = self._read()
        point = laterals[0].c.value
        if kind == "datetime" and not self._on_the_calendar:
            return self._finished(point, laterals[:1])
        back = instant_of(self._moved(local), self.scope.zone, "date")
        at: Column = back.c.at
        if kind == "unknown" and not self._on_the_calendar:
            at = sa.case((_is_midnight(point), at), else_=point)
        return self._finished(at, (*laterals, back))

    def anniversary(self) -> Moment:
        """The first after the scope's time; 29 February is the 28th in years without one. None is before the date itself."""
        laterals, _, local = self._read()
        written = named("written", local=local)
        # the year of the anniversary is that of its instant without the offset, or one beside it: zones and short months
        length = self.offset.length if self.offset else None
        unmoved = in_utc(self.scope.at)
        if length is not None:
            whole = span_of(length) + interval(timedelta(seconds=length.seconds))
            unmoved = unmoved + whole if self.offset and self.offset.before else unmoved - whole
        years = in_order("years", -1, 2)
        age = _year(unmoved) - _year(written.c.local) + years.c.n
        back = instant_of(self._moved(written.c.local + span(age * lit(12), lit(0))), self.scope.zone, "date")
        found = years.join(back, sa.true())
        at = self._finished(back.c.at, ()).at
        query = sa.select(at.label("at")).select_from(found).where(age >= lit(0), at > self.scope.at)
        first = query.order_by(years.c.n).limit(lit(1)).correlate_except(found).lateral("anniversary")
        return Moment(first.c.at, (*laterals, written, first))

    @property
    def _on_the_calendar(self) -> bool:
        return self.clock is not None or (self.offset is not None and self.offset.length.is_calendar)

    def _read(self) -> tuple[tuple[LateralFromClause, ...], Kind, Column]:
        """Laterals, of which the first holds `value`; what the value is; its wall time, that of a calendar date its midnight."""
        compiled = compile_value(self.text, self.scope)
        said = named("said", value=compiled.as_time())
        value = said.c.value
        kind = _kind(self.text, compiled.type == "ts", self.scope)
        if kind == "date":
            return (said,), kind, day_of(in_utc(value))
        wall = wall_of(value, self.scope.zone, "said_wall")
        local: Column = wall.c.local
        if kind == "unknown":
            local = sa.case((_is_midnight(value), in_utc(value)), else_=local)
        return (said, wall), kind, local

    def _moved(self, local: Column) -> Column:
        if self.offset is not None and self.offset.length.is_calendar:
            length = span_of(self.offset.length)
            local = local - length if self.offset.before else local + length
        return local if self.clock is None else day_of(local) + clock(self.clock)

    def _finished(self, at: Column, laterals: tuple[LateralFromClause, ...]) -> Moment:
        if self.offset is not None and self.offset.length.seconds:
            length = interval(timedelta(seconds=self.offset.length.seconds))
            at = at - length if self.offset.before else at + length
        return Moment(sa.case((at.between(sa.literal(EARLIEST, TS), sa.literal(LATEST, TS)), at)), laterals)


def _kind(text: str, is_time: bool, scope: Scope) -> Kind:
    """What the catalogue says the value is."""
    declared = as_catalogue(scope.catalogue).attributes or {}
    fields = analyse(text).customer_fields
    dates = [name for name in fields if declared.get(name) == "date"]
    if dates and text.strip() == f"customer.{dates[0]}":
        return "date"
    # a time by type, such as event.occurred_at, last_event('x') or an attribute declared as datetime, is a point in time
    return "datetime" if is_time and not dates else "unknown"


def _is_midnight(at: Column) -> Column:
    return in_utc(at) == day_of(in_utc(at))


def _year(local: Column) -> Column:
    return sa.cast(sa.extract("year", local), sa.Integer)
