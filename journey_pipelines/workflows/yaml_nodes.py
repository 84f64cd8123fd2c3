"""YAML 1.2 text -> a tree of nodes that know where they stand.

Composed, not constructed: a plain object would have lost its line. YAML 1.2 has no `NO` = false, no `12:30` = 750 and no key `on` = true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from journey_pipelines.workflows.problems import Place, Problems

# A workflow of 200 steps has about 4,000 nodes; aliases of aliases grow without end in a file of a few lines
MAX_NODES = 50_000
MAX_BYTES = 1_000_000
MAX_DEPTH = 60
_VERSION = re.compile(r"\ufeff?%YAML\s+(\S+)")


@dataclass(frozen=True)
class Text:
    """A scalar. `value` is str, int, float, bool or None; `written` is what stands in the file."""

    at: Place
    value: Any
    written: str
    plain: bool
    # where the text's own first line stands: in a block scalar (`|`, `>`) that is the line after the key
    first_line: int = 0
    one_line: bool = True


@dataclass(frozen=True)
class Seq:
    """A sequence."""

    at: Place
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Map:
    """A mapping; keys are scalars, each once. `flow` tells `{a: b}` from block style."""

    at: Place
    items: tuple[tuple[Text, Node], ...]
    flow: bool

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.items if name.written == key), None)


Node = Text | Seq | Map


def read_yaml(file: Path, problems: Problems, *, may_be_empty: bool = False) -> Node | None:
    """The tree of a file, or None where it could not be read (said in `problems`) or, if it may be, holds nothing but comments."""
    whole = Place(file)
    try:
        raw = file.read_bytes()
    except OSError as error:
        problems.error(whole, f"cannot be read: {error.strerror}")
        return None
    if len(raw) > MAX_BYTES:
        problems.error(whole, f"expected at most {MAX_BYTES:,} bytes, got {len(raw):,}")
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.error(Place(file, line), f"expected UTF-8, got the byte 0x{raw[error.start]:02x}; save the file as UTF-8")
        return None
    return parse_yaml(text, file, problems, may_be_empty=may_be_empty)


def parse_yaml(text: str, file: Path, problems: Problems, *, may_be_empty: bool = False) -> Node | None:
    """As `read_yaml`, of a text that stands in `file`."""
    if (directive := _VERSION.match(text)) and directive[1] != "1.2":
        problems.error(Place(file, 1, 1), f"expected YAML 1.2, got {directive[1]}; take the %YAML line out")
        return None
    yaml = YAML(typ="rt", pure=True)
    try:
        documents = list(yaml.compose_all(text))
    except MarkedYAMLError as error:
        if error.context_mark and ("<stream end>" in str(error.problem) or "end of stream" in str(error.problem)):
            opened = Place(file, error.context_mark.line + 1, error.context_mark.column + 1)
            problems.error(opened, "not YAML: what is opened here is never closed; give it its }, ] or quote")
            return None
        mark = error.problem_mark or error.context_mark
        at = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        problems.error(at, f"not YAML: {_one_line(error.problem or error.context or str(error))}{_yaml_hint(error, text)}")
        return None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character[0])
        problems.error(Place(file, line), f"not YAML: the character U+{code:04X} is not allowed; remove it")
        return None
    except (YAMLError, RecursionError, ValueError) as error:
        problems.error(Place(file), f"not YAML: {_one_line(str(error))}")
        return None
    if may_be_empty and not any(documents):
        return None
    if len(documents) != 1 or documents[0] is None:
        what = "an empty file" if not documents or documents[0] is None else f"{len(documents)} documents"
        problems.error(Place(file), f"expected one YAML document, got {what}")
        return None
    return _Converter(yaml, file, problems).convert(documents[0], 0)


class _Converter:
    def __init__(self, yaml: YAML, file: Path, problems: Problems) -> None:
        self.yaml, self.file, self.problems, self.nodes = yaml, file, problems, 0

    def convert(self, node: Any, depth: int) -> Node | None:
        self.nodes += 1
        at = Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            if self.nodes <= MAX_NODES + 1:
                self.nodes = MAX_NODES + 1
                self.problems.error(at, f"too large: more than {MAX_NODES:,} values, or nested deeper than {MAX_DEPTH}; take out aliases")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, at)
        if isinstance(node, SequenceNode):
            return Seq(at, tuple(_present(self.convert(item, depth + 1) for item in node.value)))
        assert isinstance(node, MappingNode)
        return self._mapping(node, at, depth)

    def _mapping(self, node: MappingNode, at: Place, depth: int) -> Map:
        items: list[tuple[Text, Node]] = []
        seen: dict[str, Place] = {}
        for key_node, value_node in node.value:
            key, value = self.convert(key_node, depth + 1), self.convert(value_node, depth + 1)
            if value is None or key is None:
                continue
            if not isinstance(key, Text):
                self.problems.error(key.at, "expected a word as the key, got a list or a mapping")
            elif key.written in seen:
                first = seen[key.written]
                self.problems.error(key.at, f"'{key.written}' is given twice (first in line {first.line}); keep one")
            else:
                seen[key.written] = key.at
                items.append((key, value))
        return Map(at, tuple(items), flow=bool(node.flow_style))

    def _scalar(self, node: ScalarNode, at: Place) -> Text:
        # ruamel's round-trip reader marks the places where `>` folded a line with a BEL, to fold it there again
        tag, written = str(node.tag), node.value.replace("\a", "") if node.style == ">" else node.value
        block = node.style in ("|", ">")
        value: Any = written
        kind = tag.rsplit(":", 1)[-1]
        if kind == "null":
            value = None
        elif kind == "bool":
            value = written.lower() == "true"
        elif kind == "int":
            value = _integer(written)
        elif kind == "float":
            value = _float(written)
        elif kind not in ("str", "timestamp", "merge"):
            self.problems.error(at, f"expected plain YAML, got the tag {tag}; remove it")
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.error(at, f"expected a finite number, got {written}")
        if "\0" in written or any("\ud800" <= c <= "\udfff" for c in written):
            self.problems.error(at, "text cannot hold NUL or half of a surrogate pair: no database stores them; remove it")
        first_line = at.line + 1 if block else at.line
        one_line = node.start_mark.line == node.end_mark.line
        return Text(at, value, written, plain=node.style is None, first_line=first_line, one_line=one_line)


def _present(nodes: Iterator[Node | None]) -> Iterator[Node]:
    return (node for node in nodes if node is not None)


def _integer(written: str) -> Any:
    try:
        return int(written.replace("_", ""), 0)
    except ValueError:
        # 010 and the like: YAML 1.2 says ten, other readers eight; kept as the text it is
        return written


def _float(written: str) -> Any:
    try:
        return float(written.replace("_", ""))
    except ValueError:
        return {"-.inf": float("-inf"), ".inf": float("inf"), "+.inf": float("inf"), ".nan": float("nan")}.get(written.lower(), written)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _yaml_hint(error: MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    if mark is None:
        return ""
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "; indent with spaces, not with tabs"
    if "{{" in line and "mapping values are not allowed" not in str(error.problem):
        return '; quote text that holds {{ }}: "{{ customer.first_name }}"'
    if "mapping values are not allowed" in str(error.problem):
        return "; quote text that holds ': '"
    return ""
