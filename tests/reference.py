"""One person's journeys by the book: the workflow language as a program of plain Python, for the engine to be compared with.

It knows nothing of batches, rounds and statements. There is one person; what happens to them has a place in time, (instant, seq), and is
taken in that order. At one instant: events in the order of arrival, schedules, dates, changes of the profile, segments, and last the
timers of journeys. What a journey brings about comes right after its cause: where that is no event, a microsecond later.

`reference_known`: expressions and the queue. `reference_steps`: what journeys do. `reference_moments`: conditions, dates, schedules.
`reference_time`: the wall clock. Here: the order of things, goals, exits, wakes, entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from reference_known import CHANGE, DATE, FOREVER, MICROSECOND, MOVE, WATCH, Event, Journey, Place
from reference_moments import Moments
from reference_steps import Message

from journey_pipelines.expressions import values
from journey_pipelines.store.hashes import bucket_of
from journey_pipelines.workflows import model as m
from journey_pipelines.workflows.segments import Segment
from journey_pipelines.workflows.triggers import STARTED, condition_segment, enter_event, exit_event

__all__ = ["Event", "Journey", "Message", "Person"]


class Person(Moments):
    """Everything about one customer. Feed it (`deploy`, `put`, `change`, `hold`, `release`), `tick`, and read what came of it."""

    def __init__(self, customer_id: str, *, zone: str = "UTC", attributes: Mapping[str, str] | None = None) -> None:
        super().__init__(customer_id, zone, attributes or {})
        #: (journey's number, seq of the event) -> (at, value)
        self.conversions: dict[tuple[int, Any], tuple[datetime, Any]] = {}
        #: workflow -> how often it was held, negative when it is not
        self.held: dict[str, int] = {}
        self._inbox: list[Event] = []

    # -- what happens ------------------------------------------------------------------------------------------------

    def deploy(self, workflows: Iterable[m.Workflow], segments: Iterable[Segment], at: datetime) -> None:
        """New journeys are of the new versions, those under way stay on theirs, or end (`in_flight: exit`). Nobody is told who is in a
        segment by its new condition; a date trigger that changed is planned anew."""
        before, conditions = self.workflows, {segment.id: segment.when for segment in self.segments}
        dates = {(w.id, t.id): t for w, t in self.triggers() if isinstance(t, m.DateTrigger)}
        self.workflows, self.segments = {workflow.id: workflow for workflow in workflows}, list(segments)
        self.named |= {name for workflow in self.workflows.values() for name in workflow.event_types()}
        for workflow, trigger in self.triggers():
            if isinstance(trigger, m.ConditionTrigger):
                self.segments.append(Segment(id=condition_segment(workflow.id, trigger.id), name=trigger.id, when=trigger.condition))
            if isinstance(trigger, m.ScheduleTrigger):
                self.ticked.setdefault((workflow.id, trigger.id), at)
            if isinstance(trigger, m.DateTrigger) and dates.get((workflow.id, trigger.id)) != trigger:
                self.plans.pop((workflow.id, trigger.id), None)
                self.plan(workflow, trigger, (at, (FOREVER,)), at)
        self.segments = self.in_order()
        for segment in self.segments:
            if segment.when is not None and conditions.get(segment.id) != segment.when:
                self.move(segment.id, self.true(segment.when, (at, (FOREVER,)), None, None), (at, (WATCH,)), quiet=True)
        for workflow in self.workflows.values():
            if workflow.in_flight == "exit" and before.get(workflow.id, workflow) != workflow:
                for journey in self._active(workflow.id):
                    self.end(journey, (at, (CHANGE,)), "version_retired")
        self.looked = self.looked or at

    def put(self, event: Event) -> None:
        """An event came in; it counts from the next tick on."""
        self._inbox.append(event)

    def change(self, patch: Mapping[str, Any], at: datetime, received: datetime) -> None:
        """The profile is what it says from now on; conditions look at it at `at`."""
        self.profile.patch(patch, at)
        keys = {f"customer.{key}" for key in patch}
        self.later(at, CHANGE, lambda place: self.changed(place, keys, received))

    def change_segment(self, segment: str, inside: bool, at: datetime) -> None:
        """An app moves the person in or out of a static segment."""
        self.later(at, MOVE, lambda place: self.move(segment, inside, place))

    def hold(self, workflow_id: str) -> None:
        """Nobody goes on at a step; entries, exits, goals and wakes are as ever. Who was about to be let go stays."""
        self.held[workflow_id] = abs(self.held.get(workflow_id, 0)) + 1

    def release(self, workflow_id: str, now: datetime, spread: timedelta) -> None:
        """Who came due meanwhile goes on somewhere in `spread`, by a hash; with `on_resume: skip` without that step's actions."""
        self.held[workflow_id] = -self.held[workflow_id]
        number = self.held[workflow_id]
        for journey in self._active(workflow_id):
            if journey.parked or journey.due <= (now, (FOREVER,)):
                bucket = bucket_of(f"{workflow_id}|{self.id}|{journey.key}")
                goes_at = now + timedelta(microseconds=spread // MICROSECOND * bucket // 10_000)
                journey.parked = True
                policy = self.workflows[workflow_id].on_resume
                self.queue.append(((goes_at, (0,)), partial(self._let_go, journey, policy, number)))

    def _let_go(self, journey: Journey, policy: str, number: int, place: Place) -> None:
        at = place[0]
        if journey.ended is None and self.held[journey.workflow.id] == number:
            journey.parked = False
            if journey.due[0] < at:
                journey.skip, journey.due_was, journey.due = policy == "skip", journey.due[0], (at, (FOREVER,))

    def tick(self, now: datetime) -> None:
        """All that has its place up to and with `now`, in order."""
        self.newest = max((event.occurred_at for event in self.history), default=None)
        seen = [event for event in self._inbox if event.occurred_at <= now]
        self._inbox = [event for event in self._inbox if event.occurred_at > now]
        self.history += seen
        self.queue += [(event.place, partial(self._event, event)) for event in seen]
        while (first := self._first(now)) is not None:
            place, work = first
            self.here = max(self.here or place[0], place[0])
            work(place)
        self.ticked = dict.fromkeys(self.ticked, now)

    def _first(self, now: datetime) -> tuple[Place, Callable[[Place], None]] | None:
        """What comes next: something of the queue, a date, a condition that time alone may change, or a timer."""
        found = [queued for queued in self.queue if queued[0][0] <= now]
        dates = [(key, at) for key, (_, at, _) in self.plans.items() if at is not None and at <= now]
        found += [((at, (DATE,)), partial(self.fire, key)) for key, at in dates]
        found += self.next_ticks(now)
        found += [((at, (WATCH,)), lambda place: self.changed(place, set())) for at in self.rechecks(now)]
        if timer := self._timer((now, (FOREVER,))):
            found.append((timer.due, lambda _: self.advance(timer)))
        first = min(found, key=lambda item: item[0], default=None)
        if first in self.queue:
            self.queue.remove(first)
        return first

    def _timer(self, until: Place) -> Journey | None:
        due = [j for j in self.journeys if j.ended is None and not j.parked and j.due <= until and not self._stopped(j.workflow.id)]
        return min(due, key=lambda j: (j.due, j.number), default=None)

    def _stopped(self, workflow_id: str) -> bool:
        current = self.workflows.get(workflow_id)
        return self.held.get(workflow_id, 0) > 0 or (current is not None and current.status in ("draft", "paused"))

    def _active(self, workflow_id: str) -> list[Journey]:
        return [journey for journey in self.journeys if journey.ended is None and journey.workflow.id == workflow_id]

    # -- one event ---------------------------------------------------------------------------------------------------

    def _event(self, event: Event, _: Place | None = None) -> None:
        """The patch it brings and the dates it moves, goals, exits, wakes (and the woken go on as far as they can), entries; then what it
        changed is looked at."""
        changed = {event.type}
        if event.profile is not None:
            self.profile.patch(event.profile, event.occurred_at)
            changed |= {f"customer.{key}" for key in event.profile}
        if self.follow(event.place, changed):
            self._go_on(event.place)
        self._goals(event, changed)
        self._exits(event, changed)
        if self._wake(event):
            self._go_on(event.place)
        for workflow_id in sorted(self.workflows):
            self._enter(self.workflows[workflow_id], event)
        self.look(event.place, changed, event.received_at)

    def _go_on(self, place: Place) -> None:
        while timer := self._timer(place):
            self.advance(timer)

    def told(self, event: Event) -> None:
        self.history.append(event)
        self._event(event)

    def _goals(self, event: Event, changed: set[str]) -> None:
        for journey in self.journeys:
            goal = journey.workflow.goal
            if goal is not None and self._goal(goal, event, changed, journey):
                # what becomes true counts once
                if m.rule_event(goal) is None and any(number == journey.number for number, _ in self.conversions):
                    continue
                value = self.value(goal.value, event.place, journey, event) if goal.value else None
                self.conversions.setdefault((journey.number, event.seq), (event.occurred_at, values.normal(value)))

    def _goal(self, goal: m.Goal, event: Event, changed: set[str], journey: Journey) -> bool:
        late = goal.within is not None and event.occurred_at > journey.entered[0] + goal.within.elapsed()
        return not late and self._met(goal, event, changed, journey)

    def _exits(self, event: Event, changed: set[str]) -> None:
        """Where one event is both, the reason is the goal. What the journeys have not sent is taken back, also when they are over."""
        for journey in self.journeys:
            workflow, reasons = journey.workflow, set()
            for rule in workflow.exit:
                if rule.goal and workflow.goal and self._goal(workflow.goal, event, changed, journey):
                    reasons.add("goal")
                elif not rule.goal and self._met(rule, event, changed, journey):
                    reasons.add("exit_rule")
            if event.type == exit_event(workflow.id) and event.place > journey.entered:
                reasons.add("exit_rule")
            if reasons:
                reason = "goal" if "goal" in reasons else "exit_rule"
                for message in self.messages:
                    if message.journey is journey and message.state == "planned":
                        message.state = reason.removesuffix("_rule")
                if journey.ended is None:
                    self.end(journey, max(journey.at, event.place), reason)

    def _met(self, rule: m.Goal | m.ExitRule, event: Event, changed: set[str], journey: Journey) -> bool:
        if m.rule_event(rule) is None:
            return rule.when is not None and event.place > journey.entered and self.turned(rule, event.place, changed, journey)
        segment = rule.segment is None or event.payload.get("segment") == rule.segment
        return event.type == m.rule_event(rule) and segment and event.place > journey.entered and self.accepts(rule, event, journey)

    def _wake(self, event: Event) -> bool:
        """Journeys that wait for it go on at its place, or at their own where that is later: a journey's clock never goes back."""
        woken = False
        for journey in self.journeys:
            wait = journey.step.wait
            if not isinstance(wait, m.EventWait) or journey.ended is not None or journey.arrived is not None:
                continue
            if self.awaited(wait, event, journey):
                journey.arrived, journey.due, woken = event, max(journey.at, event.place), True
        return woken

    # -- entering ----------------------------------------------------------------------------------------------------

    def _enter(self, workflow: m.Workflow, event: Event) -> None:
        entry, place = workflow.entry, event.place
        trigger = next((t.id for t in workflow.triggers if t.active and self._starts(t, workflow, event)), None)
        if event.type == enter_event(workflow.id) and event.payload.get("trigger") == STARTED:
            trigger = STARTED
        late = (event.received_at or place[0]) - place[0] > entry.max_lateness.elapsed()
        if trigger is None or late or not _open(workflow, place[0]) or (entry.when and not self.true(entry.when, place, None, event)):
            return
        key = values.text_of(self.value(entry.key, place, None, event)) if entry.key else ""
        if key is None:
            return
        mine = [journey for journey in self.journeys if journey.workflow.id == workflow.id and journey.key == key]
        if entry.reentry.policy != "always" and entry.while_active != "ignore":
            for journey in mine:
                if journey.ended is None and place > journey.entered:
                    self._again(journey, event, restart=entry.while_active == "restart")
        if _admitted(entry.reentry, mine, place[0]):
            held_out = bucket_of(f"hold-out|{workflow.id}|{self.id}") < round(workflow.hold_out * 100)
            first, number = workflow.steps[0], next(self.numbers)
            journey = Journey(number, workflow, key, trigger, event, held_out, entered=place, at=place, due=place, step=first)
            self.journeys.append(journey)
            self.reach(journey, first, place, None, "entered")
            self.built_in(place, "journey.entered", {"workflow": workflow.id, "trigger": trigger, "entry_key": key}, journey)

    def _starts(self, trigger: m.Trigger, workflow: m.Workflow, event: Event) -> bool:
        match trigger:
            case m.SegmentTrigger():
                meant = event.payload.get("segment") == trigger.segment
            case m.ConditionTrigger():
                meant = event.payload.get("segment") == condition_segment(workflow.id, trigger.id)
            case m.EventTrigger():
                meant = True
            case _:
                meant = event.payload.get("trigger") == trigger.id
        right = meant and event.type == m.event_type(trigger, workflow.id)
        return right and (not trigger.when or self.true(trigger.when, event.place, None, event))

    def _again(self, journey: Journey, event: Event, *, restart: bool) -> None:
        """The journey takes the new event; `restart`: and goes back to its first wait, as long as it sent nothing."""
        journey.event = event
        if restart and event.place > journey.at and not any(message.journey is journey for message in self.messages):
            journey.visit += 1
            self.reach(journey, journey.workflow.steps[0], event.place, journey.step.id, "restarted")

    # -- conditions, dates, schedules --------------------------------------------------------------------------------

    def changed(self, place: Place, what: set[str], received: datetime | None = None) -> None:
        """Conditions are looked at: `what` changed without an event, or (nothing) time went by."""
        nothing = Event(place[0], place[1], "")
        if self.follow(place, what):
            self._go_on(place)
        self._goals(nothing, what)
        self._exits(nothing, what)
        self.look(place, what, received)


def _open(workflow: m.Workflow, at: datetime) -> bool:
    """Whether a workflow takes people in at that time."""
    start, until = (workflow.runs.start, workflow.runs.until) if workflow.runs else (None, None)
    return workflow.status == "active" and (start is None or at >= start) and (until is None or at < until)


def _admitted(reentry: m.Reentry, before: Sequence[Journey], at: datetime) -> bool:
    """`before`: the person's journeys of this workflow and key. Times are logical."""
    if not before:
        return True
    if reentry.policy == "never" or (reentry.max is not None and len(before) >= reentry.max):
        return False
    if reentry.policy == "always":
        return True
    ends = [journey.ended for journey in before if journey.ended is not None]
    if len(ends) < len(before):
        return False
    since = max(journey.entered[0] for journey in before) if reentry.policy == "after" and reentry.of == "entry" else max(ends)
    return at >= since + (reentry.after.elapsed() if reentry.after else timedelta(0))
