"""What the expressions, event types and payloads of a workflow name: is it there, is it known where it stands, and can it ever be."""

from __future__ import annotations

import re
from collections.abc import Sequence

from journey_pipelines.expressions import Analysis, analyse_text
from journey_pipelines.expressions import names as language
from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.check_expressions import (
    ROOTS,
    WITHOUT_JOURNEY,
    check_expression,
    check_found,
    event_type_problem,
    warn_of_cost,
)
from journey_pipelines.workflows.events import BUILT_IN_EVENTS, ENVELOPE, RESERVED_PREFIXES
from journey_pipelines.workflows.known import Known
from journey_pipelines.workflows.loops import may_return
from journey_pipelines.workflows.model import EventWait, ExitRule
from journey_pipelines.workflows.problems import one_of
from journey_pipelines.workflows.reading import Expression, Reading, ReadStep, Role
from journey_pipelines.workflows.triggers import enter_event
from journey_pipelines.workflows.yaml_nodes import Text

# Actions that somebody answers later: what `steps.<id>` may name
_ANSWERED = frozenset({"webhook_call", "create_task"})
_ATTRIBUTE = re.compile(r"customer\.(\w+)")


class NameChecks:
    """The checks of one workflow. `run` reports; `attributes` is then what the workflow names of the catalogue."""

    def __init__(self, reading: Reading, workflow_id: str, known: Known, exits: Sequence[ExitRule]) -> None:
        self.reading, self.known, self.exits = reading, known, exits
        self.catalogue, self.problems = known.catalogue, reading.problems
        self.attributes: set[str] = set()
        self.steps: dict[str, ReadStep] = {step.id: step for step in reading.steps}
        self.may_return = may_return(reading.steps)
        given = {"trigger", *reading.manual_fields, *known.started.get(workflow_id, ())}
        self.payloads = {**BUILT_IN_EVENTS, enter_event(workflow_id): tuple(given)}

    def run(self) -> None:
        self._event_types()
        for expression in self.reading.expressions:
            self._expression(expression)
        for text in self.reading.texts:
            if text.computed:
                found = analyse_text(text.node.written, self.known.declared)
                check_found(found, text.node, text.label, "step", self.known, self.problems)
                self._named(found, text.node, text.label, "step", text.step)
        self._attributes_written()
        self._events_written()
        self._waits_that_exit()

    # -- event types -------------------------------------------------------------------------------------------------

    def _event_types(self) -> None:
        for event in self.reading.events:
            if not event.written:
                continue
            if problem := event_type_problem(event.type, self.catalogue):
                self.problems.error(event.at, f"{event.label}: {problem}")
            if event.role == "wait" and event.type == "message.opened":
                self.problems.warn(event.at, f"{event.label}: waits for opens, which mail programs make up; prefer message.clicked")

    def _events_written(self) -> None:
        for event in self.reading.emitted:
            if event.type.startswith(RESERVED_PREFIXES):
                prefix = next(prefix for prefix in RESERVED_PREFIXES if event.type.startswith(prefix))
                self.problems.error(event.at, f"{event.label}: '{event.type}': names with {prefix} are the engine's; take another name")
            elif problem := event_type_problem(event.type, self.catalogue):
                self.problems.error(event.at, f"{event.label}: {problem}")
            fields = (self.catalogue.events or {}).get(event.type)
            for key, at in event.keys:
                if fields and key not in fields:
                    near = did_you_mean(key, fields)
                    self.problems.error(at, f"{event.label}: catalogue.yaml gives {event.type} no field '{key}'.{near}")

    # -- expressions -------------------------------------------------------------------------------------------------

    def _expression(self, expression: Expression) -> None:
        node, text, label = expression.node, expression.text, expression.label
        found = check_expression(node, text, label, expression.role, self.known, self.problems)
        self._named(found, node, label, expression.role, expression.step, is_next=expression.is_next)
        if expression.is_next and ("opened" in found.functions or "message.opened" in text):
            self.problems.warn(node.at, f"{label}: branches on opens, which mail programs make up; prefer clicks")
        if expression.role in ("anchor", "due"):
            self._date(expression)
        if expression.key in ("condition", "when") and expression.role in ("condition", "state") and not found.errors:
            warn_of_cost(node, text, label, self.problems)

    def _date(self, expression: Expression) -> None:
        """`date: customer.NAME` of a kind that no date can be read from."""
        name = named[1] if (named := _ATTRIBUTE.fullmatch(expression.text)) else ""
        kind = language.CATALOGUE_KINDS.get(self.catalogue.attributes.get(name, ""), language.CUSTOMER_COLUMNS.get(name, "ts"))
        if kind in ("num", "bool"):
            word = "a number" if kind == "num" else "true or false"
            self.problems.error(
                expression.node.at, f"{expression.label} expected a date, and customer.{name} is {word}; name an attribute of type date"
            )

    def _named(self, found: Analysis, node: Text, label: str, role: Role, step: str | None, *, is_next: bool = False) -> None:
        self.attributes |= found.customer_fields & self.catalogue.attributes.keys()
        if role not in WITHOUT_JOURNEY:
            for name in sorted(found.steps):
                self._step(name, node, label, step, is_next=is_next, sends=True)
            for name in sorted(found.step_results):
                self._step(name, node, label, step, is_next=is_next, sends=False)
        if "event" in ROOTS[role]:
            self._payload_keys("event", found.event_keys, self._types("entry"), node, label)
        if found.arrived_keys and role in ("rule", "wait", "step"):
            types = self._types("rule" if role == "rule" else "wait")
            self._payload_keys("arrived", found.arrived_keys, types, node, label)

    def _step(self, name: str, node: Text, label: str, step: str | None, *, is_next: bool, sends: bool) -> None:
        """A step named by clicked() and the like (`sends`), or by steps.<id>, whose action somebody answers later."""
        target = self.steps.get(name)
        what, who = ("a message", "has only just gone out") if sends else ("an answer", "has only just been asked for")
        if target is None:
            self.problems.error(node.at, f"{label}: there is no step '{name}'.{did_you_mean(name, self.steps)}")
        elif sends and not any(action.channel for action in target.do):
            self.problems.error(node.at, f"{label}: step '{name}' sends nothing, so nobody can open or click it")
        elif not sends and not any(action.kind in _ANSWERED for action in target.do):
            self.problems.error(node.at, f"{label}: step '{name}' has no webhook_call and no create_task, so there is no answer to it")
        elif name == step and (is_next or name not in self.may_return):
            self.problems.error(
                node.at, f"{label}: asks about {what} of its own step, '{name}', which {who}; let the next step wait for it"
            )

    def _types(self, role: Role) -> set[str]:
        return {event.type for event in self.reading.events if event.role == role}

    def _payload_keys(self, root: str, keys: set[str], types: set[str], node: Text, label: str) -> None:
        """Keys that none of the events at this place can have; said only where the fields of all of them are known."""
        known: set[str] = set(ENVELOPE)
        for name in types:
            fields = self.payloads.get(name) or (self.catalogue.events or {}).get(name)
            if not fields:
                return
            known |= set(fields)
        if not types:
            return
        for key in sorted(keys - known):
            near = did_you_mean(key, known)
            self.problems.error(node.at, f"{label}: {root}.{key}: {self._said_of(types)} no field '{key}'.{near}")

    def _said_of(self, types: set[str]) -> str:
        """`catalogue.yaml gives purchase`, and what starts a journey without an event in words."""
        words = [name if name not in self.payloads or name in BUILT_IN_EVENTS else "an entry of this workflow" for name in sorted(types)]
        declared = any(name not in self.payloads for name in types)
        return f"catalogue.yaml gives {one_of(words)}" if declared else f"{one_of(words)} has"

    # -- over several places -----------------------------------------------------------------------------------------

    def _attributes_written(self) -> None:
        declared = self.catalogue.attributes
        columns = language.CUSTOMER_COLUMNS
        for at, name, key in self.reading.attributes_written:
            if name in declared:
                self.attributes.add(name)
            elif declared and name not in columns:
                near = did_you_mean(name, [*declared, *columns])
                self.problems.error(at, f"update_profile: catalogue.yaml declares no attribute '{name}'.{near or ' Declare it there.'}")
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
