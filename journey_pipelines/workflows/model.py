"""A workflow after normalisation: every default filled in, every target named, every duration parsed.

`load` makes these from YAML; the compiler, delivery and the reports read them. They are frozen, and their JSON is what is stored in
`automation_workflows.definition`, so a field may be added with a default but not renamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from journey_pipelines.expressions.durations import Duration

END = "end"
ID_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"

# kind of action -> the ledger's channel, for those that are a row of the ledger
CHANNELS: dict[str, str] = {"send_email": "email", "send_sms": "sms", "send_push": "push", "webhook_call": "webhook"}

ActionKind = Literal[
    "send_email",
    "send_sms",
    "send_push",
    "webhook_call",
    "update_profile",
    "add_to_segment",
    "remove_from_segment",
    "create_task",
]


class Model(BaseModel):
    """The base of all models of a project: frozen, and nothing unknown gets in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EventTrigger(Model):
    """An event of type `event` for which `when` is true starts a journey. The first matching trigger in the list is recorded."""

    id: str
    event: str
    when: str | None = None
    active: bool = True
    name: str | None = None


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


class Goal(Model):
    """What the workflow is for: counted until `within` after entry, also after the journey ended. `value` is an expression."""

    event: str
    match: str | None = None
    when: str | None = None
    value: str | None = None
    within: Duration | None = None


class ExitRule(Model):
    """Either the goal (`goal` is True, the rest None) or an event; `match: k` means arrived.k == event.k."""

    goal: bool = False
    event: str | None = None
    match: str | None = None
    when: str | None = None


class AfterWait(Model):
    """Go on `after` this long: elapsed when it has only seconds, the same wall clock in the customer's zone when it has days or months."""

    kind: Literal["after"] = "after"
    after: Duration


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


Wait = AfterWait | EventWait


class Action(Model):
    """One thing a step does. `params` holds what the YAML said, all text that a template may fill; the keys by kind:

    send_email: template, subject (from, reply_to, headers, expires) · send_sms: text or template (expires) · send_push: title, text
    (expires) · webhook_call: url, method (headers, body, expires) · update_profile: set, unset, increment · add_to_segment,
    remove_from_segment: segment · create_task: title (assignee, due, body). `expires` and `due` are durations as text.
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
    """One way on; `when` None is the plain goto or the else, always the last."""

    when: str | None = None
    to: str


class Next(Model):
    """Where a step goes on: `branches` (first match wins, the last has no `when`) or `split` (target -> weight, together 100)."""

    branches: tuple[Branch, ...] | None = None
    split: dict[str, float] | None = None

    def targets(self) -> list[str]:
        """Step ids and `end`, in order, each once."""
        to = list(self.split) if self.split is not None else [branch.to for branch in self.branches or ()]
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


class Workflow(Model):
    """One workflow, normalised. The first step is the start."""

    id: str
    name: str
    description: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    status: Literal["draft", "active", "archived"] = "active"
    priority: int = 0
    category: Literal["marketing", "transactional"] = "marketing"
    topic: str | None = None
    triggers: tuple[EventTrigger, ...]
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
        types = {trigger.event for trigger in self.triggers}
        types |= {rule.event for rule in self.exit if rule.event}
        if self.goal:
            types.add(self.goal.event)
        for step in self.steps:
            if isinstance(step.wait, EventWait):
                types.update(step.wait.events)
        return types
