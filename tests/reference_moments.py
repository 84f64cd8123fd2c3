"""When something of a person has to be looked at beside events: conditions that change or that time turns, dates, schedules.

The upper middle floor of `reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import reference_time as clock
from reference_known import DATE, FOREVER, MICROSECOND, SCHEDULE, WATCH, Event, Journey, Place, lengths, reads
from reference_steps import Steps

from journey_pipelines.expressions import analyse, values
from journey_pipelines.workflows import model as m
from journey_pipelines.workflows.segments import Segment
from journey_pipelines.workflows.triggers import enter_event


class Moments(Steps):
    """Segments, dates and schedules of one customer, for what is deployed."""

    def __init__(self, customer_id: str, zone: str, attributes: Mapping[str, str]) -> None:
        super().__init__(customer_id, zone, attributes)
        self.workflows: dict[str, m.Workflow] = {}
        self.segments: list[Segment] = []
        #: (workflow, trigger) -> ((date, zone), when it fires, when that was received)
        self.plans: dict[tuple[str, str], tuple[Any, datetime | None, datetime | None]] = {}
        self.ticked: dict[tuple[str, str], datetime] = {}
        #: segment -> when that was received which made it worth asking
        self.asked: dict[str, datetime] = {}
        self.looked: datetime | None = None
        self.here: datetime | None = None
        #: the newest event that was known before this tick: what lies before it came late
        self.newest: datetime | None = None

    def triggers(self) -> list[tuple[m.Workflow, m.Trigger]]:
        return [(workflow, trigger) for workflow in self.workflows.values() for trigger in workflow.triggers if trigger.active]

    def in_order(self) -> list[Segment]:
        """By id, each after those that its condition names: the order in which a change moves the person."""
        found = {segment.id: segment for segment in self.segments}
        done: dict[str, Segment] = {}

        def visit(ids: Iterable[str]) -> None:
            for id_ in sorted(ids):
                if id_ in found and id_ not in done:
                    visit(analyse(found[id_].when or "true").segments)
                    done[id_] = found[id_]

        visit(found)
        return list(done.values())

    def look(self, place: Place, changed: set[str], received: datetime | None) -> None:
        """Segments and dates of which something that they read changed are looked at; where nothing did, time may have turned a segment.
        What was received late and turns later by itself was known no earlier."""
        for segment in self.segments:
            if segment.when is None:
                continue
            if reads(segment.when) & changed:
                self.asked[segment.id] = received or place[0]
                self._decide(segment.id, segment.when, place, received)
            elif not changed and self._flipped(segment.when, place, None):
                self._decide(segment.id, segment.when, place, max(place[0], self.asked.get(segment.id, place[0])))
        for workflow, trigger in self.triggers():
            if isinstance(trigger, m.DateTrigger) and (reads(trigger.date) | {"customer.timezone"}) & changed:
                self.plan(workflow, trigger, place, received)
        # at the instant of what changed time may turn something as well, and that comes after it
        self.looked = place[0] - MICROSECOND if changed else place[0]

    def plan(self, workflow: m.Workflow, trigger: m.DateTrigger, place: Place, received: datetime | None) -> None:
        date = values.time_of(self.value(trigger.date, place, None, None)), self.zone
        key = workflow.id, trigger.id
        if key not in self.plans or date != self.plans[key][0]:
            self.plans[key] = date, self._fires(trigger, date[0], place[0]), received

    def _decide(self, segment: str, condition: str, place: Place, received: datetime | None) -> None:
        """In or out. What came late moves nobody where it lies: it is asked once more at the newest place that is known."""
        member = self.member(segment)
        newest = max(self.newest or place[0], member[1] if member else place[0])
        if newest > place[0]:
            self.queue.append(((newest, (WATCH,)), lambda at: self._decide(segment, condition, at, max(at[0], received or at[0]))))
        else:
            self.move(segment, self.true(condition, place, None, None), place, received)

    def turned(self, rule: m.Goal | m.ExitRule, place: Place, changed: set[str], journey: Journey) -> bool:
        """A rule's condition is true now, and something that it reads changed, or time made it true: of a journey under way, or of a goal
        that counts for a while after it, and behind all events that were known before."""
        condition = rule.when or ""
        if not self.true(condition, place, journey, None):
            return False
        if changed:
            return bool(reads(condition) & changed)
        late = self.newest is not None and place[0] <= self.newest
        return not late and self._watched(rule, journey) and self._flipped(condition, place, journey)

    def _watched(self, rule: m.Goal | m.ExitRule, journey: Journey) -> bool:
        return journey.ended is None or (isinstance(rule, m.Goal) and rule.within is not None)

    def _flipped(self, condition: str, place: Place, journey: Journey | None) -> bool:
        """Another answer than a microsecond ago, and nothing happened."""
        before = place[0] - MICROSECOND, (FOREVER,)
        return self.true(condition, before, journey, None, now=place[0]) != self.true(condition, before, journey, None)

    def rechecks(self, now: datetime) -> Iterator[datetime]:
        """The next instant at which time alone may change a condition: every time the person has, moved by every length that is named."""
        rules = [(rule, j) for j in self.journeys for rule in (*j.workflow.exit, *([j.workflow.goal] if j.workflow.goal else ()))]
        watched = {rule.when for rule, j in rules if rule.when and m.rule_event(rule) is None and self._watched(rule, j)}
        conditions = watched | {s.when for s in self.segments if s.when}
        spans = {length for condition in conditions for length in lengths(condition) if length}
        times = [event.occurred_at for event in self.history] + self.profile.times()
        times += [at for j in self.journeys for at in (j.entered[0], j.at[0])]
        near = {time + sign * span for time in times for span in spans for sign in (1, -1)}
        moments = [at + d for at in near for d in (timedelta(0), MICROSECOND) if self.looked and self.looked < at + d <= now]
        if moments:
            yield min(moments)

    def _fires(self, trigger: m.DateTrigger, date: datetime | None, after: datetime) -> datetime | None:
        """The first time after `after` that a date trigger means; yearly: of any year, 29 February on the 28th where there is none."""
        if date is None:
            return None
        kind = self.kind_of(trigger.date)
        if trigger.yearly:
            times = clock.anniversaries(date, trigger, after, self.zone, kind=kind)
        else:
            times = iter([clock.on_date(date, trigger.offset, trigger.at, self.zone, kind=kind)])
        return next((at for at in times if at > after), None)

    def fire(self, key: tuple[str, str], place: Place) -> None:
        trigger = next(t for t in self.workflows[key[0]].triggers if t.id == key[1])
        assert isinstance(trigger, m.DateTrigger)
        date, _, received = self.plans[key]
        self.plans[key] = date, self._fires(trigger, date[0], place[0]) if trigger.yearly else None, None
        seq = (DATE, next(self.numbers))
        self.told(Event(place[0], seq, enter_event(key[0]), {"trigger": trigger.id}, max(place[0], received or place[0])))

    def next_ticks(self, now: datetime) -> Iterator[tuple[Place, Callable[[Place], None]]]:
        """Of each schedule the next, in the zone that the person has by now. A tick more than an hour late is left out; `catchup: last`
        takes the last one where all are."""
        for workflow, trigger in self.triggers():
            if isinstance(trigger, m.ScheduleTrigger):
                zone = self.zone if trigger.timezone == "customer" else trigger.timezone
                ticks = clock.ticks(trigger, self.ticked[workflow.id, trigger.id], now, zone)
                fresh = [at for at in ticks if now - at <= timedelta(hours=1)] or (ticks[-1:] if trigger.catchup == "last" else [])
                # who changed zones meanwhile has no tick in the past
                for at in [at for at in fresh if self.here is None or at >= self.here][:1]:
                    yield (at, (SCHEDULE,)), partial(self._scheduled, workflow, trigger)

    def _scheduled(self, workflow: m.Workflow, trigger: m.ScheduleTrigger, place: Place) -> None:
        self.ticked[workflow.id, trigger.id] = place[0]
        if trigger.audience is None or self.true(trigger.audience, place, None, None):
            self.told(Event(place[0], (SCHEDULE, next(self.numbers)), enter_event(workflow.id), {"trigger": trigger.id}))
