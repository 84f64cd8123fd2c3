"""What a reader meets on its way and later checks come back to: expressions, texts, template files, event types, with their places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import Action, Next, Position, Wait
from journey_pipelines.workflows.problems import Place, Problems
from journey_pipelines.workflows.yaml_nodes import Node, Text

# entry: there is no journey yet; rule: goal and exit; wait; step: conditions and texts of what a step does, and its next
Role = Literal["entry", "rule", "wait", "step"]


@dataclass(frozen=True)
class Expression:
    """A condition or a value in Jinja's expression syntax. `step` is where it stands; `is_next` in that step's way on."""

    node: Text
    text: str
    label: str
    role: Role
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
    """An event type with the place and the role it stands in."""

    at: Place
    type: str
    label: str
    role: Role
    step: str | None = None


@dataclass
class ReadStep:
    """A step as written: its way on is not resolved yet (`next` None = absent)."""

    id: str
    at: Place
    name: str | None
    position: Position | None
    wait: Wait | None
    do: tuple[Action, ...]
    next: Next | None
    wrong_next: bool
    next_places: dict[str, Place]


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
        self.expressions.append(Expression(node, text, f"{fields.what}: '{key}'", role, step, is_next))
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
