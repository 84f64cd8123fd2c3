"""YAML that cannot be read is a sentence with a place, whatever is in the file."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workflow_files import write_project

from journey_pipelines.workflows.load import load_project
from journey_pipelines.workflows.problems import Problems
from journey_pipelines.workflows.yaml_nodes import Map, Text, parse_yaml, read_yaml

SHIPPED = Path(__file__).parents[2] / "workflow_defs"
HARD = (Path(__file__).parent / "fixtures" / "hard" / "hard" / "workflow.yaml").read_text(encoding="utf-8")
CART = (SHIPPED / "cart_recovery" / "workflow.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2", "1:4: error: not YAML: what is opened here is never closed; give it its }, ] or quote"),
        ('a: 1\nb: "open', "2:4: error: not YAML: what is opened here is never closed"),
        ("a: b: c", "1:5: error: not YAML: mapping values are not allowed here; quote text that holds ': '"),
        ("a:\n\tb: 1", "2:1: error: not YAML: found character '\\t' that cannot start any token; indent with spaces, not with tabs"),
        ("a: {subject: Hello {{ x }}}", "expected ',' or '}', but got '{'; quote text that holds {{ }}"),
        ("a: 'x' == y", "1:8: error: not YAML"),
        ("a: *b", "1:4: error: not YAML: found undefined alias"),
        ("a: \x07", "not YAML: the character U+0007 is not allowed; remove it"),
        ("", "expected one YAML document, got an empty file"),
        ("# only a comment\n", "expected one YAML document, got an empty file"),
        ("a: 1\n---\nb: 2", "expected one YAML document, got 2 documents"),
        ("a: 1\na: 2", "2:1: error: 'a' is given twice (first in line 1); keep one"),
        ("? [x]\n: 1", "expected a word as the key, got a list or a mapping"),
        ("a: !!python/object:os.system x", "expected plain YAML, got the tag"),
        ("%YAML 1.1\n---\na: NO", "expected YAML 1.2, got 1.1; take the %YAML line out"),
        ("a: &x [*x]", "too large"),
        ('a: "\\0"', "1:4: error: text cannot hold NUL"),
        ('a: "\\ud800"', "error: "),
        ("a: .nan", "1:4: error: expected a finite number, got .nan"),
        ("a: 1e999", "1:4: error: expected a finite number, got 1e999"),
    ],
)
def test_what_is_no_yaml_is_said_with_its_place(text: str, said: str) -> None:
    problems = Problems()
    parse_yaml(text, Path("w.yaml"), problems)
    assert any(said in str(problem) for problem in problems), [str(problem) for problem in problems]


def test_aliases_of_aliases_are_cut_short() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    problems = Problems()
    parse_yaml("\n".join(lines), Path("w.yaml"), problems)
    assert ["too large" in problem.message for problem in problems] == [True]


def test_deep_nesting_is_cut_short() -> None:
    problems = Problems()
    parse_yaml("[" * 400 + "]" * 400, Path("w.yaml"), problems)
    assert problems.errors == 1


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    file, problems = tmp_path / "w.yaml", Problems()
    file.write_bytes(b"a: 1\nb: caf\xe9\n")
    assert read_yaml(file, problems) is None
    assert [str(problem) for problem in problems] == [f"{file}:2: error: expected UTF-8, got the byte 0xe9; save the file as UTF-8"]


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file, problems = tmp_path / "w.yaml", Problems()
    file.write_bytes(b"#" * 1_000_001)
    assert read_yaml(file, problems) is None
    assert "expected at most 1,000,000 bytes, got 1,000,001" in str(problems.found[0])


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    file, problems = tmp_path / "w.yaml", Problems()
    file.write_bytes("\ufeffa: 1\r\nb: x\r\n".encode())
    node = read_yaml(file, problems)
    assert isinstance(node, Map)
    assert [(key.written, key.at.line) for key, _ in node.items] == [("a", 1), ("b", 2)]
    assert not problems.errors


_PIECES = st.sampled_from(
    ["", "x", "- ", "{", "}", "[", "]", ": ", "'", '"', "\n", "  ", "{{ x }}", "null", "5", "true", "&a ", "*a", "|", "\t", "é\u2028"]
)


@pytest.mark.parametrize("whole", [CART, HARD], ids=["shipped", "every form"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True)
@given(data=st.data())
def test_no_edit_of_a_workflow_makes_the_loader_raise(tmp_path: Path, whole: str, data: st.DataObject) -> None:
    edits = data.draw(st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 25), _PIECES), min_size=1, max_size=4))
    text = whole
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    project = load_project(write_project(tmp_path, {"cart_recovery/workflow.yaml": text}))
    assert all(problem.line >= 0 and problem.message for problem in project.problems)


def test_folded_text_is_what_it_reads_like(tmp_path: Path) -> None:
    problems = Problems()
    node = parse_yaml("folded: >-\n  a and\n  b\n\n  c\nkept: |\n  a\n  b\nplain: a\n  b\n", tmp_path / "x.yaml", problems)
    assert isinstance(node, Map)
    assert {key.written: value.value for key, value in node.items if isinstance(value, Text)} == {
        "folded": "a and b\nc", "kept": "a\nb\n", "plain": "a b",
    }  # fmt: skip
