"""Every wrong file under fixtures/wrong says on the line itself, behind #!, what has to be reported there; and nothing else may be."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from journey_pipelines.workflows.load import lint
from journey_pipelines.workflows.problems import Problem

WRONG = Path(__file__).parent / "fixtures" / "wrong"
FILES = sorted(path for path in WRONG.rglob("*") if path.suffix in (".yaml", ".html"))


def _expected(file: Path) -> dict[int, list[str]]:
    expected: dict[int, list[str]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        _, *fragments = re.split(r"#! ", line)
        if fragments:
            expected[number] = [fragment.removesuffix("#}").strip() for fragment in fragments]
    return expected


@pytest.fixture(scope="module")
def found() -> dict[Path, list[Problem]]:
    by_file: dict[Path, list[Problem]] = defaultdict(list)
    for problem in lint(WRONG):
        by_file[problem.file].append(problem)
    return by_file


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(WRONG)))
def test_everything_wrong_is_said_where_it_stands_and_nothing_else(file: Path, found: dict[Path, list[Problem]]) -> None:
    errors = [problem for problem in found[file] if problem.severity == "error" and problem.line]
    unmet = [
        f"line {line}: {fragment}"
        for line, fragments in _expected(file).items()
        for fragment in fragments
        if not any(problem.line == line and fragment in problem.message for problem in errors)
    ]
    unexpected = [
        str(problem) for problem in errors if not any(fragment in problem.message for fragment in _expected(file).get(problem.line, []))
    ]
    assert (unmet, unexpected) == ([], [])


def test_a_slip_in_a_file_name_is_not_silent(found: dict[Path, list[Problem]]) -> None:
    [problem] = found[WRONG / "policy.yaml"]
    assert str(problem) == (
        f"{WRONG}/policy.yaml: error: unknown file; expected policies.yaml, catalogue.yaml, sources.yaml or a folder a workflow."
        " Did you mean 'policies.yaml'?"
    )


def test_a_problem_reads_file_line_column_severity_message(found: dict[Path, list[Problem]]) -> None:
    first = next(problem for problem in found[WRONG / "unreachable" / "workflow.yaml"] if problem.severity == "error")
    assert str(first) == (
        f"{WRONG}/unreachable/workflow.yaml:7:9: error: step b is never reached from the first step, a; name it in a `next`, or take it out"
    )


def test_problems_come_sorted_by_file_and_line() -> None:
    problems = lint(WRONG)
    places = [(problem.file, problem.line, problem.column) for problem in problems]
    assert places == sorted(places)
    assert len(problems) == len(set(problems))
