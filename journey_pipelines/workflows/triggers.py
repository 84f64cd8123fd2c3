"""What starts a journey, after normalisation: one model a form of `triggers:`.

Every trigger is an event in the end, so that order, once-only and crashes are one machine's business. `event_type` says which: a
segment's trigger is the event of its transition, and schedules, dates, `journeys enter` and start_workflow write `enter.<workflow>` for
each customer.
"""

from __future__ import annotations

from typing import Literal

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.base import Model

#: payload.trigger of an `enter.<workflow>` event that an action wrote
STARTED = "start_workflow"


def enter_event(workflow_id: str) -> str:
    """The type of the events that ask a workflow to take a customer in; payload.trigger names the trigger."""
    return f"enter.{workflow_id}"


def exit_event(workflow_id: str) -> str:
    """The type of the events that ask a workflow to let a customer go (exit_workflow)."""
    return f"exit.{workflow_id}"


class Offset(Model):
    """A signed length of time: `-7 days`."""

    length: Duration
    before: bool = False


class EventTrigger(Model):
    """An event of type `event` for which `when` is true starts a journey. The first matching trigger in the list is recorded."""

    id: str
    event: str
    when: str | None = None
    active: bool = True
    name: str | None = None


class SegmentTrigger(Model):
    """A customer who enters (or leaves) a segment; never those who are merely in it."""

    kind: Literal["segment"] = "segment"
    id: str
    segment: str
    on: Literal["enter", "leave"] = "enter"
    when: str | None = None
    active: bool = True
    name: str | None = None


class ConditionTrigger(Model):
    """An unnamed segment: a customer for whom `condition` becomes true."""

    kind: Literal["condition"] = "condition"
    id: str
    condition: str
    when: str | None = None
    active: bool = True
    name: str | None = None


class ScheduleTrigger(Model):
    """Each tick of `cron` (or the one-off `at`, local 'YYYY-MM-DD HH:MM') enters the `audience` once.

    timezone: a zone of zoneinfo, or `customer`: each one's own. catchup: what of ticks more than an hour late: none, or the last.
    """

    kind: Literal["schedule"] = "schedule"
    id: str
    cron: str | None = None
    at: str | None = None
    timezone: str = "UTC"
    audience: str | None = None
    catchup: Literal["none", "last"] = "none"
    when: str | None = None
    active: bool = True
    name: str | None = None


class DateTrigger(Model):
    """A date of the customer: `date` (an expression) plus `offset`, at the local time `at` ('HH:MM'; None: the date's own instant).

    yearly: each year on that day, 29 February on the 28th where there is none. A changed date replans, a missing one plans nothing.
    """

    kind: Literal["date"] = "date"
    id: str
    date: str
    offset: Offset | None = None
    at: str | None = None
    yearly: bool = False
    when: str | None = None
    active: bool = True
    name: str | None = None


class ManualTrigger(Model):
    """`journeys enter`; `fields` are the payload keys that it may be given."""

    kind: Literal["manual"] = "manual"
    id: str
    fields: tuple[str, ...] = ()
    when: str | None = None
    active: bool = True
    name: str | None = None


Trigger = EventTrigger | SegmentTrigger | ConditionTrigger | ScheduleTrigger | DateTrigger | ManualTrigger


def condition_segment(workflow_id: str, trigger_id: str) -> str:
    """The id of a condition trigger's unnamed segment; the dot keeps it apart from named ones."""
    return f"{workflow_id}.{trigger_id}"


def event_type(trigger: Trigger, workflow_id: str) -> str:
    """The type of the events that enter through a trigger."""
    match trigger:
        case EventTrigger():
            return trigger.event
        case SegmentTrigger():
            return "segment.entered" if trigger.on == "enter" else "segment.left"
        case ConditionTrigger():
            return "segment.entered"
    return enter_event(workflow_id)
