"""What a reader meets on its way and later checks come back to: expressions, texts, template files, event types, with their places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import Action, DateWait, Next, Position, Wait
from journey_pipelines.workflows.problems import Place, Problems
from journey_pipelines.workflows.yaml_nodes import Node, Text

# Where an expression stands, which says what it may name. entry: a trigger's or the entry's, there is no journey yet; audience: of a
# schedule; anchor: the date of a trigger; condition: of a trigger or a segment; consent: of the policies; rule: a goal or an exit that
# looks at an event; state: one that is a condition; due: the date of a wait; wait; step: what a step's actions and its next ask.
Role = Literal["entry", "audience", "anchor", "condition", "consent", "rule", "state", "due", "wait", "step"]

# What `past` may say beside a step or `end`
PAST_WORDS = ("continue", "skip")


@dataclass(frozen=True)
class Expression:
    """A condition or a value in Jinja's expression syntax. `step` is where it stands; `is_next` in that step's way on."""

    node: Text
    text: str
    label: str
    role: Role
    key: str
    step: str | None = None
    is_next: bool = False


@dataclass(frozen=True)
class TextTemplate:
    """A text that may hold `{{ }}`. `computed` in SQL (interpolation only), else rendered with the whole of Jinja when it is sent."""

    node: Text
    label: str
    computed: bool
    step: str


@dataclass(frozen=True)
class TemplateFile:
    """An action's template: `needed` files must be there, `optional` ones are taken when they are."""

    at: Place
    name: str
    needed: str
    optional: str | None
    step: str


@dataclass(frozen=True)
class EventName:
    """An event type with the place and the role it stands in; `written` by an author, else the one that a form stands for."""

    at: Place
    type: str
    label: str
    role: Role
    step: str | None = None
    written: bool = True


@dataclass(frozen=True)
class SegmentName:
    """A segment named by its id; `changed`: a step adds to it or removes from it."""

    at: Place
    id: str
    label: str
    changed: bool = False


@dataclass(frozen=True)
class WorkflowName:
    """A workflow named by an action of the kind `action`; `payload` holds the keys that it gives."""

    at: Place
    id: str
    label: str
    action: str
    payload: tuple[str, ...] = ()


@dataclass(frozen=True)
class Emitted:
    """An event that a step writes, with the places of its payload's keys."""

    at: Place
    type: str
    label: str
    keys: tuple[tuple[str, Place], ...]


@dataclass
class ReadStep:
    """A step as written: its way on is not resolved yet (`next` None = absent).

    next_places, wait_places: the steps that `next` and the wait's `missing` and `past` name -> where. caps: where a `max_visits` stands.
    """

    id: str
    at: Place
    name: str | None
    position: Position | None
    wait: Wait | None
    do: tuple[Action, ...]
    next: Next | None
    wrong_wait: bool
    wrong_next: bool
    next_places: dict[str, Place]
    wait_places: dict[str, Place] = field(default_factory=dict)
    caps: dict[tuple[str, str], Place] = field(default_factory=dict)

    @property
    def wait_targets(self) -> list[str]:
        """Where a date that is missing or gone by may lead."""
        if not isinstance(self.wait, DateWait):
            return []
        return [self.wait.missing, *([self.wait.past] if self.wait.past not in PAST_WORDS else [])]


@dataclass
class Reading:
    """The collector that goes through all readers of one workflow."""

    problems: Problems
    expressions: list[Expression] = field(default_factory=list)
    texts: list[TextTemplate] = field(default_factory=list)
    files: list[TemplateFile] = field(default_factory=list)
    events: list[EventName] = field(default_factory=list)
    steps: list[ReadStep] = field(default_factory=list)
    attributes_written: list[tuple[Place, str, str]] = field(default_factory=list)
    segments: list[SegmentName] = field(default_factory=list)
    workflows: list[WorkflowName] = field(default_factory=list)
    emitted: list[Emitted] = field(default_factory=list)
    # payload keys that a manual trigger may be given
    manual_fields: set[str] = field(default_factory=set)

    def expression(self, fields: Fields, key: str, role: Role, step: str | None = None, *, is_next: bool = False) -> str | None:
        """Read an expression; a number or true is its own text."""
        node = fields.get(key)
        if node is None:
            return None
        if not isinstance(node, Text) or not node.written.strip():
            hint = " An expression that starts with { or [ needs quotes." if not isinstance(node, Text) else ""
            self.problems.error(node.at, f"{fields.what}: '{key}' expected an expression, got {kind_of(node)}.{hint}")
            return None
        text = node.written.strip()
        if text.startswith("{{") and text.endswith("}}"):
            self.problems.error(node.at, f"{fields.what}: '{key}' is an expression already; write it without {{{{ }}}}")
            return None
        if isinstance(node.value, bool):
            text = text.lower()
        self.expressions.append(Expression(node, text, f"{fields.what}: '{key}'", role, key, step, is_next))
        return text

    def event(self, node: Node | None, fields: Fields, key: str, role: Role, step: str | None = None) -> str | None:
        """Read an event type."""
        if node is None:
            return None
        if isinstance(node, Text) and isinstance(node.value, str) and node.value.strip() == node.value and 0 < len(node.value) <= 128:
            self.events.append(EventName(node.at, node.value, f"{fields.what}: '{key}'", role, step))
            return node.value
        self.problems.error(
            node.at, f"{fields.what}: '{key}' expected an event type of 1 to 128 characters, such as purchase, got {kind_of(node)}"
        )
        return None

    def stands_for(self, event_type: str, at: Place, role: Role) -> None:
        """A form that is an event in the end: its payload's keys are what expressions beside it may name."""
        self.events.append(EventName(at, event_type, "", role, written=False))

    def segment(self, fields: Fields, key: str, *, changed: bool = False) -> str | None:
        """Read a segment's id."""
        segment_id = fields.identifier(key, "segment id")
        if segment_id is not None:
            self.segments.append(SegmentName(fields.place(key), segment_id, f"{fields.what}: '{key}'", changed))
        return segment_id
