"""What the expressions and event types of a workflow name: is it there, is it known where it stands, and can it ever be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from journey_pipelines.expressions import Analysis, ExpressionError, analyse, analyse_text
from journey_pipelines.expressions import names as language
from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.model import EventWait, ExitRule
from journey_pipelines.workflows.problems import Place, nearest, one_of
from journey_pipelines.workflows.project import MESSAGE_EVENTS, RESERVED_PREFIXES, Catalogue
from journey_pipelines.workflows.reading import Expression, Reading, Role
from journey_pipelines.workflows.yaml_nodes import Text

# What an expression may name, by where it stands. In a trigger there is no journey yet.
_ROOTS: dict[Role, tuple[str, ...]] = {
    "entry": ("customer", "event", "brand", "now"),
    "rule": ("customer", "event", "arrived", "journey", "brand", "now"),
    "wait": ("customer", "event", "arrived", "journey", "brand", "now"),
    "step": ("customer", "event", "arrived", "journey", "brand", "now"),
}
_WHERE: dict[Role, str] = {
    "entry": "before the journey starts",
    "rule": "in a goal or an exit",
    "wait": "in a wait",
    "step": "in a step",
}
# The keys of every built-in message event, and what every event has
_MESSAGE_KEYS = frozenset({"message_key", "step", "action", "channel", "workflow", "link", "machine"})
_ENVELOPE = frozenset({"type", "occurred_at"})


class NameChecks:
    """The checks of one workflow. `run` reports; `attributes` is then what the workflow names of the catalogue."""

    def __init__(self, reading: Reading, catalogue: Catalogue, brand: Mapping[str, object], exits: Sequence[ExitRule]) -> None:
        self.reading, self.catalogue, self.brand, self.exits = reading, catalogue, brand, exits
        self.problems = reading.problems
        self.attributes: set[str] = set()
        self.declared = language.Catalogue(
            attributes=catalogue.attributes or None,
            event_types=tuple(catalogue.events) if catalogue.events is not None else None,
        )
        self.step_ids = [step.id for step in reading.steps]

    def run(self) -> None:
        self._event_types()
        for expression in self.reading.expressions:
            self._expression(expression)
        for text in self.reading.texts:
            if text.computed:
                found = analyse_text(text.node.written, self.declared)
                self._report(text.node, text.label, found)
                self._named(found, text.node, text.label, "step", text.step)
        self._attributes_written()
        self._waits_that_exit()

    # -- event types -------------------------------------------------------------------------------------------------

    def _event_types(self) -> None:
        for event in self.reading.events:
            self._event_type(event.type, event.at, event.label)
            if event.role == "wait" and event.type == "message.opened":
                self.problems.warn(event.at, f"{event.label}: waits for opens, which mail programs make up; prefer message.clicked")

    def _event_type(self, name: str, at: Place, label: str) -> None:
        if name in MESSAGE_EVENTS:
            return
        known = [*(self.catalogue.events or ()), *MESSAGE_EVENTS]
        if name.startswith(RESERVED_PREFIXES):
            near = nearest(name, MESSAGE_EVENTS)
            self.problems.error(at, f"{label}: unknown event type '{name}'.{near} The engine's own are {one_of(MESSAGE_EVENTS)}")
        elif self.catalogue.events is not None and name not in self.catalogue.events:
            self.problems.error(
                at, f"{label}: unknown event type '{name}': catalogue.yaml declares none of that name.{did_you_mean(name, known)}"
            )

    # -- expressions -------------------------------------------------------------------------------------------------

    def _expression(self, expression: Expression) -> None:
        found = analyse(expression.text, self.declared)
        self._report(expression.node, expression.label, found)
        self._named(found, expression.node, expression.label, expression.role, expression.step)
        if expression.is_next and ("opened" in found.functions or "message.opened" in expression.text):
            self.problems.warn(expression.node.at, f"{expression.label}: branches on opens, which mail programs make up; prefer clicks")

    def _report(self, node: Text, label: str, found: Analysis) -> None:
        for error in found.errors:
            self.problems.error(place_in(node, error), f"{label}: {error.message}")

    def _named(self, found: Analysis, node: Text, label: str, role: Role, step: str | None) -> None:
        self.attributes |= found.customer_fields & self.catalogue.attributes.keys()
        for name in sorted(found.event_types):
            if name.startswith(RESERVED_PREFIXES) and not any(f"'{name}'" in error.message for error in found.errors):
                self._event_type(name, node.at, label)
        for root in sorted(found.names & set(language.ROOTS) - set(_ROOTS[role])):
            self.problems.error(node.at, f"{label}: '{root}' is not known {_WHERE[role]}; there are {one_of(_ROOTS[role])}")
        if role == "entry":
            for function in sorted(found.functions & language.ENGAGEMENT.keys()):
                self.problems.error(node.at, f"{label}: {function}() asks about messages of a journey, and there is none {_WHERE[role]}")
        else:
            for name in sorted(found.steps):
                self._sending_step(name, node, label, step)
        for key in sorted(found.brand_keys - self.brand.keys()):
            self.problems.error(node.at, f"{label}: policies.yaml has no brand.{key}.{did_you_mean(key, self.brand)}")
        self._payload_keys("event", found.event_keys, self._types("entry"), node, label)
        if found.arrived_keys and role != "entry":
            types = self._types(role) if role == "rule" else self._types("wait")
            self._payload_keys("arrived", found.arrived_keys, types, node, label)

    def _sending_step(self, name: str, node: Text, label: str, step: str | None) -> None:
        target = next((read for read in self.reading.steps if read.id == name), None)
        if target is None:
            self.problems.error(node.at, f"{label}: there is no step '{name}'.{did_you_mean(name, self.step_ids)}")
        elif not any(action.channel for action in target.do):
            self.problems.error(node.at, f"{label}: step '{name}' sends nothing, so nobody can open or click it")
        elif name == step:
            self.problems.error(
                node.at,
                f"{label}: asks about a message of its own step, '{name}', which has only just gone out; let the next step wait for it",
            )

    def _types(self, role: Role) -> set[str]:
        return {event.type for event in self.reading.events if event.role == role}

    def _payload_keys(self, root: str, keys: set[str], types: set[str], node: Text, label: str) -> None:
        """Keys that none of the events at this place can have; said only where the catalogue declares the fields of all of them."""
        known: set[str] = set(_ENVELOPE)
        for name in types:
            fields = _MESSAGE_KEYS if name in MESSAGE_EVENTS else (self.catalogue.events or {}).get(name)
            if not fields:
                return
            known |= set(fields)
        if not types:
            return
        for key in sorted(keys - known):
            near = did_you_mean(key, known)
            self.problems.error(node.at, f"{label}: {root}.{key}: catalogue.yaml gives {one_of(sorted(types))} no field '{key}'.{near}")

    # -- over several places -----------------------------------------------------------------------------------------

    def _attributes_written(self) -> None:
        declared = self.catalogue.attributes
        columns = language.CUSTOMER_COLUMNS
        for at, name, key in self.reading.attributes_written:
            if name in declared:
                self.attributes.add(name)
            elif declared and name not in columns:
                near = did_you_mean(name, [*declared, *columns])
                self.problems.error(at, f"update_profile: catalogue.yaml declares no attribute '{name}'.{near}")
            kind = "number" if columns.get(name) == "num" else declared.get(name, "number" if name not in columns else "text")
            if key == "increment" and kind != "number":
                self.problems.error(at, f"update_profile: increment expected an attribute that is a number; '{name}' is {kind}")

    def _waits_that_exit(self) -> None:
        """A `for:` whose event also exits never wakes: exits come first."""
        for step in self.reading.steps:
            if not isinstance(step.wait, EventWait):
                continue
            for name in step.wait.events:
                for event in self.exits:
                    if event.event == name and event.when is None and event.match in (None, step.wait.match):
                        at = next(e.at for e in self.reading.events if e.step == step.id and e.type == name and e.role == "wait")
                        self.problems.error(
                            at, f"step {step.id}: wait: '{name}' ends the journey (exit) and never goes on here; take it out of one"
                        )


def place_in(node: Text, error: ExpressionError) -> Place:
    """An expression's line and column -> the file's. In a folded or quoted text over several lines only the line is known."""
    if not node.one_line:
        return Place(node.at.file, node.first_line + error.line - 1)
    return Place(node.at.file, node.at.line, node.at.column + error.col - 1 + (0 if node.plain else 1))
