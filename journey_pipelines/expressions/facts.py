"""The functions of the language over a history held in memory, for `environment.evaluate`: what their SQL has to agree with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from . import values
from .durations import Duration
from .environment import evaluate, event_names
from .names import ENGAGEMENT, STEP_EVENTS, WEEKDAYS


@dataclass(frozen=True)
class PastEvent:
    """One event of the history. The order of a customer's events is (occurred_at, seq)."""

    type: str
    occurred_at: datetime
    seq: int
    payload: Any
    journey_id: int | None = None


@dataclass(frozen=True)
class Facts:
    """What one customer's row can look up; `at`, `at_seq`, `now` and `zone` as in Scope, `journey` with Scope's keys.

    `segments`: those the customer is in. `workflows`: those of which the customer has an active journey.
    """

    now: datetime
    at: datetime
    at_seq: int
    zone: str | None = None
    history: Sequence[PastEvent] = ()
    segments: frozenset[str] = frozenset()
    workflows: frozenset[str] = frozenset()
    journey: Mapping[str, Any] = field(default_factory=dict)

    def steps(self) -> dict[str, Any]:
        """`steps` for the names: step -> the payload of the last answer of its webhook or done task, in this journey."""
        found: dict[str, Any] = {}
        for event in sorted(self.history, key=lambda e: (e.occurred_at, e.seq)):
            mine = "id" in self.journey and event.journey_id == self.journey["id"]
            step = values.part(event.payload, "step")
            if mine and event.type in STEP_EVENTS and isinstance(step, str) and (event.occurred_at, event.seq) <= (self.at, self.at_seq):
                found[step] = event.payload
        return found

    def functions(self, names: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
        """The functions by name; `names` are those of the expression, which `when=` may use too."""
        return {**self._plain(), **self._past(names), **self._engagement()}

    def _plain(self) -> dict[str, Callable[..., Any]]:
        return {
            "in_segment": lambda segment: segment in self.segments,
            "in_workflow": lambda workflow: workflow in self.workflows,
            "days_since": lambda time: values.days_between(time, self.now),
            "days_until": lambda time: values.days_between(self.now, time),
            "add": lambda time, length: values.later(time, Duration.parse(length).elapsed()),
            "local_hour": lambda: self._local(lambda local: Decimal(local.hour)),
            "local_weekday": lambda: self._local(lambda local: WEEKDAYS[local.weekday()]),
        }

    def _local(self, read: Callable[[datetime], Any]) -> Any:
        return read(self.now.astimezone(ZoneInfo(self.zone))) if self.zone else None

    def _past(self, names: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
        def seen(event_type: str, within: str | None = None, since: Any = None, when: str | None = None) -> list[PastEvent]:
            found = [e for e in self.history if e.type == event_type and (e.occurred_at, e.seq) <= (self.at, self.at_seq)]
            if within is not None:
                length = Duration.parse(within).elapsed()
                found = [e for e in found if e.occurred_at >= self.now - length]
            if isinstance(since, str) and since in ("entry", "step"):
                at, seq = ("entered_at", "entered_seq") if since == "entry" else ("step_entered_at", "step_entered_seq")
                found = [e for e in found if (e.occurred_at, e.seq) > (self.journey[at], self.journey[seq])]
            elif since is not None:
                start = values.time_of(since)
                found = [e for e in found if start is not None and e.occurred_at >= start]
            if when is not None:
                plain = self._plain()
                inner = [(e, {**names, "event": event_names(e.type, e.occurred_at, e.payload)}) for e in found]
                found = [e for e, its_names in inner if values.truth(evaluate(when, its_names, plain))]
            return found

        def event_sum(event_type: str, key: str, **window: Any) -> Any:
            total = Fraction(0)
            for event in seen(event_type, **window):
                number: Any = event.payload
                for part in key.split("."):
                    number = values.part(number, part)
                total += Fraction(number) if values.kind_of(number) == "num" else 0
            return values.fitted(total)

        return {
            "has_event": lambda *given, **window: bool(seen(*given, **window)),
            "event_count": lambda *given, **window: Decimal(len(seen(*given, **window))),
            "last_event": lambda *given, **window: max((e.occurred_at for e in seen(*given, **window)), default=None),
            "event_sum": event_sum,
        }

    def _engagement(self) -> dict[str, Callable[..., Any]]:
        def did(event_type: str) -> Callable[..., bool]:
            def asked(step: str, action: str | None = None) -> bool:
                return any(
                    event.type == event_type
                    and (event.occurred_at, event.seq) <= (self.at, self.at_seq)
                    and event.journey_id == self.journey["id"]
                    and values.equal(values.part(event.payload, "step"), step)
                    and values.part(event.payload, "machine") is not True
                    and (action is None or values.equal(values.part(event.payload, "action"), action))
                    for event in self.history
                )

            return asked

        return {name: did(event_type) for name, event_type in ENGAGEMENT.items()}
