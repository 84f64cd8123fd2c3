"""From text to Jinja's own syntax tree, with columns: Jinja's tokens carry lines only, an error has to say where in the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .errors import ExpressionError

# Text past this is no condition any more; deep nesting would exhaust Python's stack in the parser.
LONGEST = 20_000
DEEPEST = 60


class Position(int):
    """A line number that also knows its column (both from 1): it rides through Jinja's parser as the node's `lineno`."""

    column: int

    def __new__(cls, line: int, column: int) -> Position:
        position = super().__new__(cls, line)
        position.column = column
        return position


class _PositionedEnvironment(ImmutableSandboxedEnvironment):
    """Parses only. The positions are found by following each token's own characters through the text."""

    def _tokenize(self, source: str, name: str | None, filename: str | None = None, state: str | None = None) -> TokenStream:
        text = "\n".join(re.split(r"\r\n|\r|\n", str(source)))
        raw = self._positioned(text, name, filename, state)
        return TokenStream(self.lexer.wrap(raw, name, filename), name, filename)

    def _positioned(self, text: str, name: str | None, filename: str | None, state: str | None) -> Iterator[tuple[int, str, str]]:
        cursor = 0
        for line, token, value in self.lexer.tokeniter(text, name, filename, state):
            start = text.find(value, cursor)
            if start < 0:
                start = cursor
            cursor = start + len(value)
            start += len(value) - len(value.lstrip())
            yield Position(line, start - text.rfind("\n", 0, start)), token, value


_ENVIRONMENT = _PositionedEnvironment()


def position(node: nodes.Node) -> tuple[int, int]:
    """(line, column) where a node begins: the first of its parts, as Jinja gives an operator the place of what follows it."""
    best: tuple[int, int] | None = None
    for part in (node, *node.find_all(nodes.Expr)):
        where = part.lineno
        if isinstance(where, Position):
            here = (int(where), where.column)
            best = here if best is None or here < best else best
    return best or (int(node.lineno or 1), 1)


def error_at(node: nodes.Node, message: str) -> ExpressionError:
    """An error about a whole expression, at its beginning."""
    return ExpressionError(*position(node), message)


def error_on(node: nodes.Node, message: str) -> ExpressionError:
    """An error about a word that follows what it belongs to: a filter, a test."""
    where = node.lineno
    return ExpressionError(int(where), where.column, message) if isinstance(where, Position) else error_at(node, message)


def parse_expression(text: str) -> nodes.Expr:
    """The tree of one expression; raises ExpressionError."""
    _check_text(text)
    if not text.strip():
        raise ExpressionError(1, 1, "expected an expression, got nothing")
    try:
        parser = Parser(_ENVIRONMENT, text, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            token = parser.stream.current
            column = token.lineno.column if isinstance(token.lineno, Position) else 1
            found = str(token.value)
            raise ExpressionError(int(token.lineno), column, f"expected the end of the expression, got {found!r}.{_hint(found)}")
    except TemplateSyntaxError as wrong:
        raise _translated(wrong, text) from None
    except RecursionError:
        raise ExpressionError(1, 1, "the expression is nested too deeply") from None
    _check_depth(tree)
    return tree


def parse_template(text: str) -> nodes.Template:
    """The tree of a template (text with {{ }} and {% %}); raises ExpressionError."""
    _check_text(text, longest=1_000_000)
    try:
        return Parser(_ENVIRONMENT, text).parse()
    except TemplateSyntaxError as wrong:
        raise _translated(wrong, text) from None
    except RecursionError:
        raise ExpressionError(1, 1, "the template is nested too deeply") from None


def _check_text(text: Any, longest: int = LONGEST) -> None:
    if not isinstance(text, str):
        raise ExpressionError(1, 1, f"expected an expression as text, got {text!r}: put it in quotes")
    if len(text) > longest:
        raise ExpressionError(1, 1, f"the text has {len(text):,} characters, at most {longest:,} are read")


def _check_depth(tree: nodes.Node) -> None:
    level: list[nodes.Node] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise ExpressionError(1, 1, f"the expression is nested more than {DEEPEST} levels deep: split it")


def _translated(wrong: TemplateSyntaxError, text: str) -> ExpressionError:
    line = int(wrong.lineno or 1)
    column = wrong.lineno.column if isinstance(wrong.lineno, Position) else 1
    message = (wrong.message or "cannot be read").strip().rstrip(".")
    offset = re.search(r" at (\d+)$", message)
    if offset:
        at = int(offset[1])
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        message = message[: offset.start()]
    found = re.search(r"(?:got|unexpected|unexpected char) '([^']*)'$", message)
    return ExpressionError(line, column, f"{message}.{_hint(found[1] if found else '')}")


_HINTS = {
    "=": "equality is written ==",
    "assign": "equality is written ==",
    "&": "write and",
    "&&": "write and",
    "|": "write or for alternatives; | applies a filter",
    "!": "write not",
    "AND": "write and, in lower case",
    "OR": "write or, in lower case",
    "NOT": "write not, in lower case",
    "IN": "write in, in lower case",
    "IS": "write is, in lower case",
    "is": "after is comes a test such as defined",
    "end of template": "something is missing at the end",
    "<": "not equal is written !=",
    ">": "not equal is written !=",
}


def _hint(found: str) -> str:
    hint = _HINTS.get(found) or _HINTS.get(found.upper())
    return f" {hint[0].upper()}{hint[1:]}." if hint else ""
