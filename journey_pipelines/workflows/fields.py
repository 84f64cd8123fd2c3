"""Reading typed values out of a YAML mapping: each reader says what it expected, what it got, and what to do; none raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from journey_pipelines.expressions.durations import Duration, DurationError
from journey_pipelines.workflows.model import END, ID_PATTERN
from journey_pipelines.workflows.problems import Place, Problems, nearest, one_of
from journey_pipelines.workflows.yaml_nodes import Map, Node, Seq, Text

T = TypeVar("T")
_ID = re.compile(ID_PATTERN)
_PAYLOAD_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def kind_of(node: Node) -> str:
    """A node in the words of a message: `a list`, `nothing`, `the number 3`, `'text'`."""
    match node:
        case Map():
            return "a mapping"
        case Seq():
            return "a list"
        case Text(value=None):
            return "nothing"
        case Text(value=bool() | int() | float() as value):
            return f"{'the number ' if not isinstance(value, bool) else ''}{node.written}"
    text = " ".join(node.written.split())
    return repr(text if len(text) <= 80 else text[:77] + "...")


def clean_id(node: Node | None, what: str, problems: Problems) -> str | None:
    """An id of the language: ^[a-z][a-z0-9_]{0,62}$."""
    if node is None:
        return None
    if isinstance(node, Text) and isinstance(node.value, str) and _ID.match(node.value) and node.value != END:
        return node.value
    if isinstance(node, Text) and node.written == END:
        problems.error(node.at, f"'{END}' is where journeys end and cannot be the {what}; take another word")
    else:
        suggestion = re.sub(r"[^a-z0-9]+", "_", node.written.lower()).strip("_") if isinstance(node, Text) else ""
        hint = f" Did you mean '{suggestion}'?" if _ID.match(suggestion) else ""
        problems.error(
            node.at, f"{what}: expected a lower-case letter, then at most 62 of a-z, 0-9 and _ ({ID_PATTERN}), got {kind_of(node)}.{hint}"
        )
    return None


class Fields:
    """One mapping of the language, with the keys it may have; others are reported at construction.

    elsewhere: keys that the mapping has in another of its forms -> which form.
    """

    def __init__(
        self, node: Map, what: str, allowed: Iterable[str], problems: Problems, elsewhere: Mapping[str, str] | None = None
    ) -> None:
        self.node, self.what, self.problems = node, what, problems
        self.at = node.at
        self.allowed = tuple(allowed)
        self.elsewhere = elsewhere or {}
        self.values: dict[str, Node] = {}
        self._sort_keys()

    @classmethod
    def of(cls, node: Node, what: str, allowed: Iterable[str], problems: Problems) -> Fields | None:
        """None, and a problem, where the node is no mapping."""
        keys = tuple(allowed)
        if isinstance(node, Map):
            return cls(node, what, keys, problems)
        problems.error(node.at, f"{what}: expected a mapping with {one_of(keys)}, got {kind_of(node)}")
        return None

    def _sort_keys(self) -> None:
        previous: str | None = None
        for key, value in self.node.items:
            if key.written in self.allowed:
                self.values[key.written] = value
                previous = key.written
            elif previous is not None and self._cut_by_yaml(key, value, previous):
                continue
            elif key.written in self.elsewhere:
                self.problems.error(key.at, f"{self.what}: '{key.written}' belongs to {self.elsewhere[key.written]}; take it out")
            else:
                near = nearest(key.written, self.allowed)
                allowed = f"allowed here: {', '.join(self.allowed)}" if self.allowed else "no keys are allowed here"
                self.problems.error(key.at, f"{self.what}: unknown key '{key.written}'.{near} {allowed[0].upper()}{allowed[1:]}")

    def _cut_by_yaml(self, key: Text, value: Node, previous: str) -> bool:
        """The trap of flow style: `{when: has_event('x', within='7 days')}` ends at the comma. Joined again, to check the rest."""
        before = self.values[previous]
        if not (self.node.flow and isinstance(value, Text) and value.written == "" and isinstance(before, Text) and before.plain):
            return False
        whole = f"{before.written}, {key.written}"
        self.values[previous] = Text(before.at, whole, whole, plain=True, first_line=before.first_line, one_line=before.one_line)
        own_line = f"- {previous}:" if previous == "when" else f"{previous}:"
        self.problems.error(
            before.at,
            f"{self.what}: YAML ended '{previous}' at a comma inside {{ }}: it read {kind_of(before)} and a key {kind_of(key)}. "
            f'Quote the whole text ({previous}: "..."), or write `{own_line}` on its own line',
        )
        return True

    def get(self, key: str) -> Node | None:
        """The node, None where the key is absent; an empty value (`key:` and nothing) is reported and absent."""
        node = self.values.get(key)
        if isinstance(node, Text) and node.value is None:
            self.problems.error(node.at, f"{self.what}: '{key}' is empty; give it a value or take the key out")
            return None
        return node

    def place(self, key: str) -> Place:
        """Where the key's value stands, else where the mapping starts."""
        node = self.values.get(key)
        return node.at if node is not None else self.at

    def need(self, key: str, example: str) -> Node | None:
        """As `get`, and an absent key is an error that shows how to write it."""
        if key not in self.values:
            written = f"`{key}:` and below it `{example}`" if example.startswith("- ") else f"`{key}: {example}`"
            self.problems.error(self.at, f"{self.what}: '{key}' is missing; write {written}")
            return None
        return self.get(key)

    def wrong(self, key: str, expected: str) -> None:
        """Report what stands under the key."""
        node = self.values[key]
        self.problems.error(node.at, f"{self.what}: '{key}' expected {expected}, got {kind_of(node)}")

    def text(self, key: str, *, one_line: bool = True) -> str | None:
        """Text for people or templates; numbers are taken as they are written."""
        node = self.get(key)
        if node is None:
            return None
        if not isinstance(node, Text) or not node.written.strip():
            self.wrong(key, "text")
            return None
        if one_line and "\n" in node.written.strip():
            self.wrong(key, "text on one line")
            return None
        return node.written.strip() if one_line else node.written

    def identifier(self, key: str, what: str) -> str | None:
        return clean_id(self.get(key), what, self.problems)

    def payload_key(self, key: str) -> str | None:
        """`match: cart_id`: a key of two events' payloads."""
        node = self.get(key)
        if node is None:
            return None
        if isinstance(node, Text) and isinstance(node.value, str) and _PAYLOAD_KEY.fullmatch(node.value):
            return node.value
        self.wrong(key, f"the name of a payload key that both events have, such as `{key}: cart_id`")
        return None

    def choice(self, key: str, allowed: Iterable[str], default: T) -> str | T:
        """One of a few words."""
        node = self.get(key)
        if node is None:
            return default
        words = tuple(allowed)
        if isinstance(node, Text) and node.written in words:
            return node.written
        near = nearest(node.written, words) if isinstance(node, Text) else ""
        self.problems.error(node.at, f"{self.what}: '{key}' expected {one_of(words)}, got {kind_of(node)}.{near}")
        return default

    def boolean(self, key: str, default: bool) -> bool:
        node = self.get(key)
        if node is None:
            return default
        if isinstance(node, Text) and isinstance(node.value, bool):
            return node.value
        self.wrong(key, "true or false")
        return default

    def integer(self, key: str, low: int, high: int) -> int | None:
        node = self.get(key)
        if node is None:
            return None
        if isinstance(node, Text) and isinstance(node.value, int) and not isinstance(node.value, bool) and low <= node.value <= high:
            return node.value
        self.wrong(key, f"a whole number from {low:,} to {high:,}")
        return None

    def percentage(self, key: str) -> float | None:
        """`10%` -> 10.0; below 100."""
        node = self.get(key)
        if node is None:
            return None
        found = _PERCENT.fullmatch(node.written.strip()) if isinstance(node, Text) else None
        if found and float(found[1]) < 100:
            return float(found[1])
        self.wrong(key, "a percentage of at least 0% and less than 100%, such as `10%`")
        return None

    def duration(self, key: str, *, elapsed: bool = False, zero: bool = False) -> Duration | None:
        """`elapsed`: months are refused, because their length depends on where they start."""
        node = self.get(key)
        return None if node is None else self.as_duration(node, f"'{key}'", elapsed=elapsed, zero=zero)

    def as_duration(self, node: Node, label: str, *, elapsed: bool = False, zero: bool = False) -> Duration | None:
        if not isinstance(node, Text):
            self.problems.error(node.at, f"{self.what}: {label} expected a duration such as '7 days' or '90 minutes', got {kind_of(node)}")
            return None
        try:
            # a bare number has no unit; Duration.parse says so
            duration = Duration.parse(node.written)
            if elapsed:
                duration.elapsed()
        except DurationError as error:
            self.problems.error(node.at, f"{self.what}: {label}: {error}")
            return None
        if not duration and not zero:
            self.problems.error(node.at, f"{self.what}: {label} expected more than no time, got {kind_of(node)}")
            return None
        return duration

    def parsed(self, key: str, parse: Callable[[str], T], example: str) -> T | None:
        """A text that `parse` reads; its ValueError is the message, `example` what is shown where there is no text."""
        node = self.get(key)
        return None if node is None else self.as_parsed(node, f"'{key}'", parse, example)

    def as_parsed(self, node: Node, label: str, parse: Callable[[str], T], example: str) -> T | None:
        if not isinstance(node, Text) or node.value is None:
            self.problems.error(node.at, f"{self.what}: {label} expected {example}, got {kind_of(node)}")
            return None
        try:
            return parse(node.written.strip())
        except ValueError as error:
            said = str(error)
            self.problems.error(node.at, f"{self.what}: {label}{' ' if said.startswith('expected') else ': '}{said}")
            return None

    def items(self, key: str, example: str) -> list[Node]:
        """The items of a list; an absent key is an empty list."""
        node = self.get(key)
        if node is None:
            return []
        if isinstance(node, Seq):
            return list(node.items)
        self.wrong(key, f"a list ({example})")
        return []

    def mapping(self, key: str) -> Map | None:
        node = self.get(key)
        if node is None or isinstance(node, Map):
            return node
        self.wrong(key, "a mapping")
        return None


def plain(node: Node) -> Any:
    """A node as plain JSON values; a date stays the text it is written as."""
    match node:
        case Map():
            return {key.written: plain(value) for key, value in node.items}
        case Seq():
            return [plain(item) for item in node.items]
    return node.value


def walk_text(node: Node, visit: Callable[[Text], None]) -> None:
    """Every scalar below a node that is text."""
    match node:
        case Map():
            for _, value in node.items:
                walk_text(value, visit)
        case Seq():
            for item in node.items:
                walk_text(item, visit)
        case Text(value=str()):
            visit(node)
