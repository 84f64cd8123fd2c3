"""What `validate` prints: findings by file for people, as a list for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journey_pipelines.workflows.load import Project
    from journey_pipelines.workflows.problems import Problem

_STYLES = {"error": "red", "warning": "yellow"}


def as_list(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Rows of file, line, column (from 1; 0: the whole line, the whole file), severity, message."""
    return [
        {
            "file": str(problem.file),
            "line": problem.line,
            "column": problem.column,
            "severity": problem.severity,
            "message": problem.message,
        }
        for problem in problems
    ]


def grouped(project: Project) -> Iterator[tuple[str | None, str]]:
    """(style, line): a heading a file, below it its findings, each beginning with line:column, and a summary."""
    for file, found in groupby(project.problems, key=lambda problem: problem.file):
        problems = list(found)
        yield "bold", f"{file} ({_counts(problems)})"
        for problem in problems:
            place = ":".join(str(number) for number in (problem.line, problem.column) if number)
            yield _STYLES[problem.severity], f"  {place or '-':<8} {problem.severity + ':':<8} {problem.message}"
        yield None, ""
    sound = _number(len(project.workflows), "workflow")
    if project.segments:
        sound += f" and {_number(len(project.segments), 'segment')}"
    yield None, f"{sound} without errors, {_number(len(project.errors), 'error')}, {_number(len(project.warnings), 'warning')}"


def _counts(problems: Sequence[Problem]) -> str:
    counts = {word: sum(problem.severity == word for problem in problems) for word in _STYLES}
    return ", ".join(_number(n, word) for word, n in counts.items() if n)


def _number(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "s")
