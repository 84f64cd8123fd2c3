"""What is known of one person, how an expression sees it, and what is still to be looked at: the ground floor of `reference`."""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from reference_profile import Profile

from journey_pipelines.expressions import analyse, values
from journey_pipelines.expressions.durations import Duration, DurationError
from journey_pipelines.expressions.environment import evaluate, event_names, make_environment
from journey_pipelines.expressions.facts import Facts, PastEvent
from journey_pipelines.workflows import model as m

FOREVER = 2**63 - 1
SCHEDULE, DATE, CHANGE, MOVE, SEGMENT, WATCH = (band << 60 for band in range(1, 7))
MICROSECOND = timedelta(microseconds=1)
#: an instant, and the order at that instant: the event's seq, and a running number for what it brought about
Place = tuple[datetime, tuple[int, ...]]
_LONE = re.compile(r"\s*\{\{((?:(?!\}\}).)*)\}\}\s*")


@dataclass(frozen=True)
class Event:
    """What happened. `journey`: the number of the journey it belongs to (the answer to a message)."""

    occurred_at: datetime
    seq: int | tuple[int, ...]
    type: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    received_at: datetime | None = None
    profile: Mapping[str, Any] | None = None
    journey: int | None = None

    @property
    def place(self) -> Place:
        return self.occurred_at, self.seq if isinstance(self.seq, tuple) else (self.seq,)


@dataclass(eq=False)
class Journey:
    """A journey on its version of the workflow; `at` is its logical clock, `due` where it goes on."""

    number: int
    workflow: m.Workflow
    key: str
    trigger: str
    event: Event
    held_out: bool
    entered: Place
    at: Place
    due: Place
    step: m.Step
    visit: int = 1
    arrived: Event | None = None
    ended: datetime | None = None
    parked: bool = False
    skip: bool = False
    due_was: datetime | None = None
    given_up: datetime | None = None


class Known(ABC):
    """One customer: profile, history, segments; the value of an expression at a place in time; the queue of what is to be looked at."""

    def __init__(self, customer_id: str, zone: str, attributes: Mapping[str, str]) -> None:
        self.id, self.default_zone = customer_id, zone
        self.profile = Profile(attributes)
        self.history: list[Event] = []
        self.journeys: list[Journey] = []
        #: [segment, entered, left]
        self.memberships: list[list[Any]] = []
        self.queue: list[tuple[Place, Callable[[Place], None]]] = []
        self.numbers = itertools.count(1)
        #: event types that something deployed names
        self.named: set[str] = set()

    @property
    def zone(self) -> str:
        return self.profile.zone or self.default_zone

    def past(self, place: Place) -> list[Event]:
        """The history up to and with a place."""
        return sorted((event for event in self.history if event.place <= place), key=lambda event: event.place)

    # -- expressions -------------------------------------------------------------------------------------------------

    def true(self, text: str, place: Place, journey: Journey | None, event: Event | None, now: datetime | None = None) -> bool:
        return values.truth(self.value(text, place, journey, event, now))

    def value(self, text: str, place: Place, journey: Journey | None, event: Event | None, now: datetime | None = None) -> Any:
        """What an expression gives with the history up to `place`; `now` is that of the place where nothing else is said."""
        names, functions = self._names(place, journey, event, now or place[0])
        return evaluate(text, names, functions)

    def written(self, value: Any, place: Place, journey: Journey, arrived: Event | None) -> Any:
        """A parameter of an action: a text with {{ }} is filled, one that is a lone {{ expr }} keeps its type."""
        match value:
            case str():
                if lone := _LONE.fullmatch(value):
                    return self.value(lone[1], place, journey, arrived)
                names, functions = self._names(place, journey, arrived, place[0])
                return make_environment().from_string(value).render({**names, **functions}) if "{{" in value else value
            case Mapping():
                return {key: self.written(item, place, journey, arrived) for key, item in value.items()}
            case list() | tuple():
                return [self.written(item, place, journey, arrived) for item in value]
        return value

    def _names(self, place: Place, journey: Journey | None, event: Event | None, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
        """`event` is what started the journey, `arrived` what is looked at now; before there is a journey, `event` is that."""
        happened = event_names(event.type, event.occurred_at, event.payload) if event else None
        names: dict[str, Any] = {"customer": self.profile.names(), "now": now, "brand": {}, "event": happened, "arrived": None}
        names["journey"] = {}
        if journey is not None:
            entered, reached = journey.entered, journey.at
            names["event"], names["arrived"] = event_names(journey.event.type, entered[0], journey.event.payload), happened
            names["journey"] = {
                "id": journey.number, "entered_at": entered[0], "entered_seq": entered[1], "step_entered_at": reached[0],
                "step_entered_seq": reached[1], "visit": journey.visit, "trigger": journey.trigger,
            }  # fmt: skip
        past: Any = [PastEvent(e.type, e.occurred_at, e.place[1], e.payload, e.journey) for e in self.history]  # type: ignore[arg-type]
        seq: Any = place[1]
        members = frozenset(row[0] for row in self.memberships if row[2] is None)
        inside = frozenset(j.workflow.id for j in self.journeys if j.ended is None)
        facts = Facts(
            now=now,
            at=place[0],
            at_seq=seq,
            zone=self.zone,
            history=past,
            segments=members,
            workflows=inside,
            journey=names["journey"],
        )
        names["steps"] = facts.steps()
        return names, facts.functions(names)

    # -- what is to be looked at -------------------------------------------------------------------------------------

    def later(self, at: datetime, band: int, work: Callable[[Place], None]) -> None:
        """Look at it at its place: an instant and a band of the order at that instant."""
        self.queue.append(((at, (band, next(self.numbers))), work))

    def emit(self, cause: Place, type_: str, payload: Mapping[str, Any], journey: Journey | None = None) -> None:
        """What a journey brings about is an event right after its cause."""
        seq = (0,) if cause[1][0] >= SCHEDULE else cause[1][:1]
        event = Event(effect_of(cause), (*seq, next(self.numbers)), type_, payload, journey=journey.number if journey else None)
        self.queue.append((event.place, lambda _: self.told(event)))

    def built_in(self, cause: Place, type_: str, payload: Mapping[str, Any], journey: Journey) -> None:
        """Written only where something deployed names it."""
        if type_ in self.named:
            self.emit(cause, type_, payload, journey)

    def move(
        self, segment: str, inside: bool, place: Place, received: datetime | None = None, *, quiet: bool = False, by: Journey | None = None
    ) -> None:
        """In or out of a segment; only what changes is told. What was `received` late has late effects."""
        current = self.member(segment)
        at = place[0] if by is None else effect_of(place)
        if inside == (current is not None):
            return
        if current is not None:
            current[2] = max(current[1], at)
        else:
            self.memberships.append([segment, at, None])
        if quiet:
            return
        type_, payload = "segment.entered" if inside else "segment.left", {"segment": segment}
        self.later(at, SEGMENT, lambda place: self.told(Event(place[0], place[1], type_, payload, received)))

    def member(self, segment: str) -> list[Any] | None:
        """The row of those who are in it now."""
        return next((row for row in self.memberships if row[0] == segment and row[2] is None), None)

    @abstractmethod
    def told(self, event: Event) -> None:
        """An event that did not come from outside."""

    @abstractmethod
    def changed(self, place: Place, what: set[str], received: datetime | None = None) -> None:
        """Keys of the profile (`customer.plan`) changed without an event."""


def effect_of(cause: Place) -> datetime:
    """At the instant of its cause; moments and timers are behind all events of their instant, so right after them is the next one."""
    return cause[0] + (MICROSECOND if cause[1][0] >= SCHEDULE else timedelta(0))


def reads(condition: str) -> set[str]:
    """What a condition depends on beside time: event types (a segment's transitions), `customer.key`."""
    found = analyse(condition)
    moves = ("segment.entered", "segment.left") if found.segments else ()
    return {*found.event_types, *moves, *(f"customer.{key}" for key in found.customer_fields)}


def lengths(condition: str) -> Iterator[timedelta]:
    """Every length of time that a condition names."""
    for text in re.findall(r"'([^']*)'", condition):
        try:
            yield Duration.parse(text).elapsed()
        except DurationError:
            continue
    if "days_" in condition:
        yield from (timedelta(days=float(number)) for number in re.findall(r"\b\d+(?:\.\d+)?\b", condition))
