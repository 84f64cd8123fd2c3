"""A workflow after normalisation: every default filled in, every target named, every duration parsed.

`load` makes these from YAML; the compiler, delivery and the reports read them. They are frozen, and their JSON is what is stored in
`automation_workflows.definition`, so a field may be added with a default but not renamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.base import END, ID_PATTERN, Model
from journey_pipelines.workflows.triggers import (
    ConditionTrigger,
    DateTrigger,
    EventTrigger,
    ManualTrigger,
    Offset,
    ScheduleTrigger,
    SegmentTrigger,
    Trigger,
    event_type,
)
from journey_pipelines.workflows.waits import AfterWait, DateWait, EventWait, Wait

# kind of action -> the ledger's channel, for those that are a row of the ledger
CHANNELS: dict[str, str] = {"send_email": "email", "send_sms": "sms", "send_push": "push", "webhook_call": "webhook"}

__all__ = [
    "CHANNELS", "END", "ID_PATTERN", "Action", "ActionKind", "AfterWait", "Branch", "ConditionTrigger", "DateTrigger", "DateWait", "Entry",
    "EventTrigger", "EventWait", "ExitRule", "Goal", "Limits", "ManualTrigger", "Model", "Next", "Offset", "Position", "Rate", "Reentry",
    "Runs", "ScheduleTrigger", "SegmentTrigger", "Step", "Trigger", "Wait", "Workflow", "event_type", "rule_event",
]  # fmt: skip

ActionKind = Literal[
    "send_email",
    "send_sms",
    "send_push",
    "webhook_call",
    "update_profile",
    "add_to_segment",
    "remove_from_segment",
    "create_task",
    "emit_event",
    "start_workflow",
    "exit_workflow",
]


class Reentry(Model):
    """Who may enter again: `never`, `after_exit`, `always` (also while in it), or `after` a time since the last entry or exit."""

    policy: Literal["never", "after_exit", "always", "after"] = "after_exit"
    after: Duration | None = None
    of: Literal["entry", "exit"] = "exit"
    max: int | None = None


class Entry(Model):
    """Eligibility (`when`), one journey per what (`key`, an expression; None = per customer), re-entry, and how late an event may come."""

    when: str | None = None
    key: str | None = None
    reentry: Reentry = Reentry()
    while_active: Literal["ignore", "refresh", "restart"] = "ignore"
    max_lateness: Duration
    # a segment trigger's members at activation
    existing: Literal["ignore", "enter"] = "ignore"


class Goal(Model):
    """What the workflow is for: counted until `within` after entry, also after the journey ended. `value` is an expression.

    One of: an `event` (with `match`, `when`), a `segment` entered or left, or `when` alone: a condition that becomes true, counted once.
    """

    event: str | None = None
    segment: str | None = None
    on: Literal["enter", "leave"] = "enter"
    match: str | None = None
    when: str | None = None
    value: str | None = None
    within: Duration | None = None


class ExitRule(Model):
    """The goal (`goal` is True, the rest None), an event (`match: k`: arrived.k == event.k), a segment, or a condition (`when` alone)."""

    goal: bool = False
    event: str | None = None
    segment: str | None = None
    on: Literal["enter", "leave"] = "enter"
    match: str | None = None
    when: str | None = None


def rule_event(rule: Goal | ExitRule) -> str | None:
    """The event type that a goal or an exit looks at; None for a condition (and for the exit `goal`)."""
    if rule.segment is not None:
        return "segment.entered" if rule.on == "enter" else "segment.left"
    return rule.event


class Action(Model):
    """One thing a step does. `params` holds what the YAML said, all text that a template may fill; the keys by kind:

    send_email: template, subject (from, reply_to, headers, expires) · send_sms: text or template (expires) · send_push: title, text
    (expires) · webhook_call: url, method (headers, body, expires) · update_profile: set, unset, increment · add_to_segment,
    remove_from_segment: segment · create_task: title (assignee, due, body) · emit_event: type (payload) · start_workflow, exit_workflow:
    workflow. `expires` and `due` are durations as text.
    """

    kind: ActionKind
    id: str
    name: str | None = None
    when: str | None = None
    params: dict[str, Any]

    @property
    def channel(self) -> str | None:
        """The ledger's channel, None for an action that sends nothing."""
        return CHANNELS.get(self.kind)


class Branch(Model):
    """One way on; `when` None is the plain goto or the else, always the last.

    A way back has `max_visits`: the journey takes it as long as it has been at `to` fewer times, and goes to `then` afterwards.
    """

    when: str | None = None
    to: str
    max_visits: int | None = None
    then: str | None = None


class Next(Model):
    """Where a step goes on: `branches` (first match wins, the last has no `when`) or `split` (target -> weight, together 100)."""

    branches: tuple[Branch, ...] | None = None
    split: dict[str, float] | None = None

    def targets(self) -> list[str]:
        """Step ids and `end`, in order, each once."""
        if self.split is not None:
            return list(self.split)
        to = [target for branch in self.branches or () for target in (branch.to, branch.then) if target is not None]
        return list(dict.fromkeys(to))


class Position(Model):
    """Where a drawing puts the step; no meaning for the engine."""

    x: float
    y: float


class Step(Model):
    """Waits, does, goes on."""

    id: str
    name: str | None = None
    position: Position | None = None
    wait: Wait | None = None
    do: tuple[Action, ...] = ()
    next: Next


class Runs(Model):
    """When a workflow takes people in: from the first instant, until before the second; then, when drained, it is completed."""

    start: datetime | None = None
    until: datetime | None = None


class Rate(Model):
    """`5000/hour`: so many in any window of that length."""

    count: int
    per: Duration


class Limits(Model):
    """in_flight: active journeys at once; entries, sends: in a time. Who would enter beyond a limit does not, and is counted."""

    in_flight: int | None = None
    entries: Rate | None = None
    sends: Rate | None = None


class Workflow(Model):
    """One workflow, normalised. The first step is the start."""

    id: str
    name: str
    description: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    status: Literal["draft", "active", "paused", "archived"] = "active"
    priority: int = 0
    category: Literal["marketing", "transactional"] = "marketing"
    topic: str | None = None
    runs: Runs | None = None
    limits: Limits | None = None
    in_flight: Literal["stay", "exit"] = "stay"
    on_resume: Literal["reschedule", "skip"] = "reschedule"
    max_age: Duration | None = None
    triggers: tuple[Trigger, ...]
    entry: Entry
    hold_out: float = 0.0
    goal: Goal | None = None
    exit: tuple[ExitRule, ...] = ()
    steps: tuple[Step, ...]

    def step(self, step_id: str) -> Step:
        """The step of that id; KeyError where there is none."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(f"workflow {self.id} has no step {step_id}")

    def actions(self) -> Iterator[tuple[Step, Action]]:
        """Every action with its step, in order."""
        for step in self.steps:
            for action in step.do:
                yield step, action

    def event_types(self) -> set[str]:
        """Every type that starts, wakes, ends or counts a journey (history in expressions is `expressions.analyse`'s)."""
        types = {event_type(trigger, self.id) for trigger in self.triggers}
        rules: list[Goal | ExitRule] = [*self.exit, *([self.goal] if self.goal else [])]
        types |= {event for rule in rules if (event := rule_event(rule)) is not None}
        for step in self.steps:
            if isinstance(step.wait, EventWait):
                types.update(step.wait.events)
        return types
