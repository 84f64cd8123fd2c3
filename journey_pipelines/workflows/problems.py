"""What is wrong with a project's files: collected, never raised, so that all of it is shown at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, order=True)
class Problem:
    """One finding; line and column count from 1, column 0 means the whole line, line 0 the whole file."""

    file: Path
    line: int
    column: int
    severity: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        place = ":".join([str(self.file), *(str(n) for n in (self.line, self.column) if n)])
        return f"{place}: {self.severity}: {self.message}"


@dataclass(frozen=True)
class Place:
    """Where something stands in a file; 1-based."""

    file: Path
    line: int = 0
    column: int = 0


@dataclass
class Problems:
    """A collector; `error` and `warn` take a place and a sentence."""

    found: list[Problem] = field(default_factory=list)

    def error(self, at: Place, message: str) -> None:
        self.found.append(Problem(at.file, at.line, at.column, "error", message))

    def warn(self, at: Place, message: str) -> None:
        self.found.append(Problem(at.file, at.line, at.column, "warning", message))

    @property
    def errors(self) -> int:
        """How many of the findings are errors."""
        return sum(problem.severity == "error" for problem in self.found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.found)


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing: for messages that list what is allowed themselves."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" Did you mean '{near[0]}'?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """`a, b or c`, for messages that list what is allowed."""
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} or {items[-1]}"
