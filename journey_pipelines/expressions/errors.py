"""What is wrong with an expression, where, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ExpressionError(ValueError):
    """An expression that cannot be used. `line` and `col` count from 1 inside the expression's own text."""

    def __init__(self, line: int, col: int, message: str) -> None:
        super().__init__(f"{line}:{col}: {message}")
        self.line = line
        self.col = col
        self.message = message

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExpressionError) and (self.line, self.col, self.message) == (other.line, other.col, other.message)

    def __hash__(self) -> int:
        return hash((self.line, self.col, self.message))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean x?' or, where nothing is near and the list is short, what there is to choose from."""
    choices = sorted(set(known))
    near = get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    if 0 < len(choices) <= 12:
        return f" There is: {', '.join(choices)}."
    return ""
