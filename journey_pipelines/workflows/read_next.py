"""`next:` -> `Next`: a step, a way back with its cap, a list of conditions, or a split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.model import END, Branch, Next
from journey_pipelines.workflows.problems import Place
from journey_pipelines.workflows.reading import Reading
from journey_pipelines.workflows.yaml_nodes import Map, Node, Seq, Text

_CAP = ("max_visits", "then")
_MOST_VISITS = 1_000
_WEIGHT = re.compile(r"(\d+(?:\.\d+)?)\s*%?")


@dataclass
class WayOn:
    """What `next` says (None: absent or unreadable), the steps it names, and its caps: (to, then) -> where `max_visits` stands.

    complete: every way of it could be read, so that what is reached is known.
    """

    next: Next | None
    places: dict[str, Place]
    caps: dict[tuple[str, str], Place]
    complete: bool


def read_next(step: Fields, step_id: str, reading: Reading) -> WayOn:
    """Whether there are such steps is checked once all are read."""
    return _Reader(step, step_id, reading).read()


class _Reader:
    def __init__(self, step: Fields, step_id: str, reading: Reading) -> None:
        self.step, self.step_id, self.reading, self.problems = step, step_id, reading, reading.problems
        self.places: dict[str, Place] = {}
        self.caps: dict[tuple[str, str], Place] = {}
        self.complete = True

    def read(self) -> WayOn:
        way_on: Next | None = None
        match self.step.get("next"):
            case Text() as node:
                to = self._target(node, f"{self.step.what}: 'next'")
                way_on = Next(branches=(Branch(to=to),)) if to else None
            case Seq() as node:
                way_on = self._branches(node)
            case Map() as node:
                way_on = self._split(node) if node.get("to") is None else self._goto(node)
        return WayOn(way_on, self.places, self.caps, self.complete and (way_on is not None or "next" not in self.step.values))

    def _target(self, node: Node | None, label: str) -> str | None:
        if node is None:
            return None
        if isinstance(node, Text) and isinstance(node.value, str) and node.value:
            self.places.setdefault(node.value, node.at)
            return node.value
        self.problems.error(node.at, f"{label}: expected the id of a step, or `end`, got {kind_of(node)}")
        return None

    def _goto(self, node: Map) -> Next | None:
        fields = Fields(node, f"{self.step.what}: next", ("to", *_CAP), self.problems, {"split": "`{split: ...}`, not to `{to: ...}`"})
        branch = self._branch(fields, "to", None)
        return Next(branches=(branch,)) if branch else None

    def _branches(self, node: Seq) -> Next | None:
        found: list[Branch | None] = []
        has_else = False
        for number, item in enumerate(node.items, 1):
            what = f"{self.step.what}: next, branch {number}"
            if isinstance(item, Map) and item.get("else") is not None:
                fields = Fields(item, what, ("else", *_CAP), self.problems)
                found.append(self._branch(fields, "else", None))
                has_else = True
                if number < len(node.items):
                    self.problems.error(fields.at, f"{what}: what stands below `else` is never reached; move `else` to the end")
                continue
            maybe = Fields.of(item, what, ("when", "to", "else", *_CAP), self.problems)
            if maybe is None:
                found.append(None)
                continue
            maybe.need("when", "clicked('remind')")
            when = self.reading.expression(maybe, "when", "step", self.step_id, is_next=True) if "when" in maybe.values else None
            found.append(self._branch(maybe, "to", when) if maybe.need("to", "STEP") is not None else None)
        if not has_else:
            self.problems.error(
                node.at, f"{self.step.what}: the list under 'next' has no `else`; end it with `- else: STEP` or `- else: end`"
            )
        branches = [branch for branch in found if branch is not None]
        self.complete = has_else and len(branches) == len(found)
        return Next(branches=tuple(branches)) if branches else None

    def _branch(self, fields: Fields, key: str, when: str | None) -> Branch | None:
        """One way with its cap, where it has one: `max_visits` and `then` belong together."""
        to = self._target(fields.get(key), f"{fields.what}: '{key}'")
        visits = fields.integer("max_visits", 1, _MOST_VISITS)
        then = self._target(fields.get("then"), f"{fields.what}: 'then'")
        for one, other, example in (("max_visits", "then", "then: end"), ("then", "max_visits", "max_visits: 3")):
            if one in fields.values and other not in fields.values:
                self.problems.error(fields.place(one), f"{fields.what}: '{one}' needs '{other}' beside it; write `{example}`")
        if visits is not None and to == END:
            self.problems.error(fields.place("max_visits"), f"{fields.what}: 'max_visits' counts how often a step was reached; `end` ends")
        if then is not None and then == to:
            self.problems.error(
                fields.place("then"), f"{fields.what}: 'then' is where it goes instead of {to}; name another step, or `end`"
            )
        if to is None:
            return None
        if not fields.values.keys() & set(_CAP):
            return Branch(when=when, to=to)
        if visits is not None and then is not None:
            self.caps[(to, then)] = fields.place("max_visits")
        # half a cap is said above; for the checks of the ways it is one
        return Branch(when=when, to=to, max_visits=visits or 1, then=then or END)

    def _split(self, node: Map) -> Next | None:
        elsewhere = dict.fromkeys(_CAP, "`{to: STEP}` or to an item of a list with `when`, not to `split`")
        fields = Fields(node, f"{self.step.what}: next", ("split", "to"), self.problems, elsewhere)
        arms = fields.need("split", "{gentle: 50, urgent: 50}")
        if arms is None:
            return None
        if not isinstance(arms, Map) or len(arms.items) < 2:
            fields.wrong("split", "two or more steps with their weights, such as {gentle: 50, urgent: 50}")
            return None
        weights: dict[str, float] = {}
        for key, value in arms.items:
            self.places.setdefault(key.written, key.at)
            weight = _weight(value)
            if weight is None:
                self.problems.error(
                    value.at, f"{self.step.what}: split: '{key.written}' expected a weight above 0, at most 100, got {kind_of(value)}"
                )
            else:
                weights[key.written] = weight
        if len(weights) < len(arms.items):
            return None
        if not _makes_100(weights):
            self.problems.error(arms.at, f"{self.step.what}: split: the weights must make 100, got {sum(weights.values()):g}")
            return None
        return Next(split=weights)


def _weight(node: Node) -> float | None:
    if not isinstance(node, Text) or isinstance(node.value, bool):
        return None
    found = _WEIGHT.fullmatch(node.written.strip())
    weight = float(found[1]) if found else 0.0
    return weight if 0 < weight <= 100 else None


def _makes_100(weights: Mapping[str, float]) -> bool:
    # 33.3 + 33.3 + 33.4 is not exactly 100 in binary
    return abs(sum(weights.values()) - 100) < 1e-6
