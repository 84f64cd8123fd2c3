"""`journeys validate`: what it prints for people and for programs, and how it ends; and a folder with more than forty mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from workflow_files import SIX_LINES, write_project

from journey_pipelines.cli import build_app
from journey_pipelines.workflows.load import lint

FIXTURES = Path(__file__).parent / "fixtures"
FORTY = FIXTURES / "forty_mistakes"
# what has to be said, a line a finding, sorted by file and line: FILE:LINE:COLUMN: SEVERITY: MESSAGE
EXPECTED = (FIXTURES / "forty_mistakes.txt").read_text(encoding="utf-8").splitlines()


def _run(project: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), ["validate", "--project", str(project), *options])
    return result.exit_code, result.output


def test_forty_mistakes_are_said_in_one_go_each_with_its_place() -> None:
    assert [str(problem).removeprefix(f"{FORTY}/") for problem in lint(FORTY)] == EXPECTED
    assert len({line.split(": error: ")[1] for line in EXPECTED if ": error: " in line}) >= 40


def test_the_findings_of_a_file_stand_together() -> None:
    code, output = _run(FORTY)
    assert code == 1
    headings = [line for line in output.splitlines() if line.startswith(str(FORTY))]
    assert headings == sorted(headings)
    assert len(headings) == len({line.split(":")[0] for line in EXPECTED})
    assert f"{FORTY}/policies.yaml (3 errors)" in headings
    assert "  4:7      error:   policies: 'zone' expected the name of a time zone, such as Europe/Berlin, got 'Europe/Zurick'" in output
    assert output.splitlines()[-1].startswith("0 workflows and 1 segment without errors, ")


def test_programs_get_a_list() -> None:
    code, output = _run(FORTY, "--json")
    assert code == 1
    rows = json.loads(output)
    assert len(rows) == len(EXPECTED)
    assert rows[0].keys() == {"file", "line", "column", "severity", "message"}
    assert all(isinstance(row["line"], int) and isinstance(row["column"], int) and Path(row["file"]).exists() for row in rows)
    assert {row["severity"] for row in rows} == {"error", "warning"}


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1), (("--json",), 0), (("--json", "--strict"), 1)])
def test_warnings_fail_only_when_it_is_strict(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    write_project(tmp_path, {"hello/workflow.yaml": SIX_LINES, "hello/hello.html": "Hello"})
    assert _run(tmp_path, *options)[0] == code


def test_a_sound_project_is_said_to_be(tmp_path: Path) -> None:
    sound = SIX_LINES.replace("steps:", "goal: {event: purchase}\nexit: [goal]\nsteps:")
    write_project(tmp_path, {"hello/workflow.yaml": sound, "hello/hello.html": "Hello"})
    assert _run(tmp_path, "--strict") == (0, "1 workflow without errors, 0 errors, 0 warnings\n")
    assert _run(tmp_path, "--strict", "--json") == (0, "[]\n")
