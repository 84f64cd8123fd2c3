"""What a journey does at its steps, by the book: reaching one, waiting, acting, going on, ending. The middle floor of `reference`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import reference_time as clock
from reference_known import CHANGE, FOREVER, Event, Journey, Known, Place, effect_of, reads

from journey_pipelines.expressions import values
from journey_pipelines.store.hashes import bucket_of
from journey_pipelines.workflows import model as m
from journey_pipelines.workflows.triggers import STARTED, enter_event, exit_event

TASK_DONE = "task.done"
OWN = ("message.", "webhook.answered", TASK_DONE)


@dataclass
class Message:
    """A row of the ledger; `state` is planned, held_out, or why it will not be sent."""

    journey: Journey
    step: str
    action: str
    visit: int
    planned_at: datetime
    state: str


class Steps(Known):
    """A person's journeys, and what they did."""

    def __init__(self, customer_id: str, zone: str, attributes: Mapping[str, str]) -> None:
        super().__init__(customer_id, zone, attributes)
        #: (journey, from, to, at, why), in the order they were made
        self.transitions: list[tuple[Journey, str | None, str | None, datetime, str]] = []
        self.messages: list[Message] = []
        self._arms: dict[tuple[str, str], str] = {}

    def reach(self, journey: Journey, step: m.Step, place: Place, came_from: str | None, why: str) -> None:
        """The journey is at a step; its wait is reckoned from here, in logical time."""
        self.transitions.append((journey, came_from, step.id, place[0], why))
        left = journey.step.wait
        if (
            came_from
            and isinstance(left, m.EventWait)
            and TASK_DONE in left.events
            and (journey.arrived is None or journey.arrived.type != TASK_DONE)
        ):
            journey.given_up = place[0]
        journey.step, journey.at, journey.arrived, journey.skip, journey.due_was = step, place, None, False, None
        journey.due = self.capped(journey, self._due(journey, place))
        if isinstance(step.wait, m.EventWait) and step.wait.since == "entry":
            journey.arrived = next((event for event in self.past(place) if self.awaited(step.wait, event, journey)), None)
            journey.due = place if journey.arrived else journey.due

    def _due(self, journey: Journey, place: Place) -> Place:
        match journey.step.wait:
            case None:
                return place
            case m.AfterWait() as wait:
                return clock.opens(wait, clock.later(place[0], wait.after, self.zone), self.zone), (FOREVER,)
            case m.EventWait() as wait:
                return clock.later(place[0], wait.timeout, self.zone), (FOREVER,)
            case m.DateWait() as wait:
                date = self.date_of(wait, journey, place)
                return place if date is None or date <= place[0] else (date, (FOREVER,))
        raise AssertionError("an unknown wait")

    def date_of(self, wait: m.DateWait, journey: Journey, place: Place) -> datetime | None:
        """The instant of a wait's date as it is known now; `now` in it is when the journey reached the step."""
        date = values.time_of(self.value(wait.date, place, journey, None, now=journey.at[0]))
        return clock.on_date(date, wait.offset, wait.at, self.zone, kind=self.kind_of(wait.date)) if date else None

    def kind_of(self, text: str) -> str:
        """What an expression's time is: a date (by the catalogue), a point in time (by its type), or unknown."""
        root, _, name = text.partition(".")
        if not name.isidentifier() or root not in ("customer", "event"):
            return "time"
        declared = self.profile.types.get(name, "") if root == "customer" else ""
        return "date" if declared == "date" else "time" if declared or name in ("occurred_at", "created_at", "updated_at") else "unknown"

    def capped(self, journey: Journey, due: Place) -> Place:
        """`max_age`: it is looked at again at the latest when it expires."""
        age = journey.workflow.max_age
        return (
            due if age is None else min(due, (max(journey.entered[0] + age.elapsed(), journey.at[0]), due[1]), key=lambda place: place[0])
        )

    def follow(self, place: Place, changed: set[str]) -> bool:
        """Who waits for a date that is another now waits for that; for one that has gone by, no longer. Whether anybody does."""
        moved = False
        for journey in self.journeys:
            wait = journey.step.wait
            if journey.ended is None and isinstance(wait, m.DateWait) and (reads(wait.date) | {"customer.timezone"}) & changed:
                here = max(journey.at, place)
                date = self.date_of(wait, journey, here)
                ahead, planned = date is not None and date > here[0], journey.due_was or journey.due[0]
                due = self.capped(journey, (date, (FOREVER,)) if date is not None and ahead else here)
                if due[0] != planned and (ahead or due[0] < planned):
                    journey.due, journey.due_was, journey.skip, moved = due, None, False, True
        return moved

    def awaited(self, wait: m.EventWait, event: Event, journey: Journey) -> bool:
        """After the journey reached the step (or entered), not after the timeout: at its very instant the event wins."""
        since = journey.entered if wait.since == "entry" else journey.at
        until = journey.due if journey.due_was is None else (journey.due_was, (FOREVER,))
        return event.type in wait.events and since < event.place <= until and self.accepts(wait, event, journey)

    def accepts(self, asked: m.Goal | m.ExitRule | m.EventWait, event: Event, journey: Journey) -> bool:
        """`match`, `when`, and whose answer it is."""
        if event.type.startswith(OWN) and not getattr(asked, "any", False) and event.journey != journey.number:
            return False
        if event.type == TASK_DONE and isinstance(asked, m.EventWait) and not asked.any and self._given_up(event, journey):
            return False
        if asked.match and not values.equal(event.payload.get(asked.match), journey.event.payload.get(asked.match)):
            return False
        return asked.when is None or self.true(asked.when, event.place, journey, event)

    def _given_up(self, event: Event, journey: Journey) -> bool:
        """Of a task that was there when the journey left a wait for tasks without one."""
        made = values.time_of(event.payload.get("created_at"))
        return made is not None and journey.given_up is not None and made < journey.given_up

    def advance(self, journey: Journey) -> None:
        """The step is due: exits are looked at, its actions are done, and the journey takes exactly one way."""
        step, workflow, place, arrived = journey.step, journey.workflow, journey.due, journey.arrived
        if isinstance(step.wait, m.EventWait) and arrived is None:
            # a timeout looks once more before it says that nothing came
            arrived = next((event for event in self.past(place) if self.awaited(step.wait, event, journey)), None)
            place = max(journey.at, arrived.place) if arrived else place
            journey.arrived = arrived
        if workflow.max_age is not None and place[0] >= journey.entered[0] + workflow.max_age.elapsed():
            return self.end(journey, (max(journey.entered[0] + workflow.max_age.elapsed(), journey.at[0]), (FOREVER,)), "expired")
        if any(rule.when and m.rule_event(rule) is None and self.true(rule.when, place, journey, None) for rule in workflow.exit):
            return self.end(journey, place, "exit_rule")
        acts, way = self._of_its_date(journey, place)
        # all conditions and values are those from before the step's own actions
        doing = [
            (action, self.written(action.params, place, journey, arrived))
            for action in (step.do if acts and not journey.skip else ())
            if not action.when or self.true(action.when, place, journey, arrived)
        ]
        visit, target = journey.visit, way or self._way(journey, place, arrived)
        for action, params in doing:
            self._do(journey, action, params, place, visit)
        if target == m.END:
            return self.end(journey, place, "completed")
        why = ("event" if arrived else "timeout") if isinstance(step.wait, m.EventWait) else "timer" if step.wait else "at once"
        return self.reach(journey, workflow.step(target), place, step.id, why)

    def _of_its_date(self, journey: Journey, place: Place) -> tuple[bool, str | None]:
        """For a date that is missing, or had gone by when it was known: whether to act, and where to go instead of `next`."""
        wait = journey.step.wait
        if not isinstance(wait, m.DateWait):
            return True, None
        date = self.date_of(wait, journey, place)
        if date is None:
            return False, wait.missing
        if date >= (journey.due_was or journey.due[0]):
            return True, None
        return wait.past == "continue", None if wait.past in ("continue", "skip") else wait.past

    def _way(self, journey: Journey, place: Place, arrived: Event | None) -> str:
        """The first branch that is true; a way back, another visit, only while it was at its target fewer than `max_visits` times."""
        step, workflow = journey.step, journey.workflow
        if step.next.split is not None:
            arm = self._arms.get((workflow.id, step.id), "")
            if arm not in step.next.split:
                # by name: the order of the lines does not matter
                arms = sorted(step.next.split)
                edges = itertools.accumulate(step.next.split[to] for to in arms)
                bucket = bucket_of(f"split|{workflow.id}|{step.id}|{self.id}")
                arm = next((to for to, edge in zip(arms, edges, strict=True) if bucket < round(edge * 100)), arms[-1])
            self._arms[workflow.id, step.id] = arm
            return arm
        for branch in step.next.branches or ():
            if branch.when is None or self.true(branch.when, place, journey, arrived):
                if branch.max_visits is None:
                    return branch.to
                if self._reached(journey, branch.to) >= branch.max_visits:
                    return branch.then or m.END
                journey.visit += 1
                return branch.to
        raise AssertionError("a list of ways has an else")

    def _reached(self, journey: Journey, step: str) -> int:
        """How often it was at a step since it entered, or since it was restarted."""
        way = [(to, why) for moved, _, to, _, why in self.transitions if moved is journey]
        start = max(n for n, (_, why) in enumerate(way) if why in ("entered", "restarted"))
        return sum(to == step for to, _ in way[start:])

    def _do(self, journey: Journey, action: m.Action, params: Mapping[str, Any], place: Place, visit: int) -> None:
        match action.kind:
            case "update_profile":
                self.profile.patch({**(params.get("set") or {}), **dict.fromkeys(params.get("unset") or ())}, place[0], always=True)
                self.profile.add(params.get("increment") or {})
                keys = {f"customer.{key}" for part in ("set", "unset", "increment") for key in params.get(part) or ()}
                self.later(effect_of(place), CHANGE, lambda at: self.changed(at, keys))
            case "add_to_segment" | "remove_from_segment":
                self.move(params["segment"], action.kind == "add_to_segment", place, by=journey)
            case "emit_event":
                self.emit(place, params["type"], params.get("payload") or {}, journey)
            case "start_workflow":
                self.emit(place, enter_event(params["workflow"]), {**(params.get("payload") or {}), "trigger": STARTED}, journey)
            case "exit_workflow":
                self.emit(place, exit_event(params["workflow"]), {}, journey)
            case _ if action.channel:
                state = "held_out" if journey.held_out else "planned"
                self.messages.append(Message(journey, journey.step.id, action.id, visit, place[0], state))

    def end(self, journey: Journey, place: Place, why: str) -> None:
        """Exactly one reason."""
        self.transitions.append((journey, journey.step.id, None, place[0], why))
        journey.ended, journey.at = place[0], place
        self.built_in(place, "journey.ended", {"workflow": journey.workflow.id, "step": journey.step.id, "exit_reason": why}, journey)
