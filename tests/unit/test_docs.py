"""The documents say what the code does: their examples load, their tables are complete, what they point to is there."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import typer
from ruamel.yaml import YAML
from workflow_files import load_files

from journey_pipelines.cli import build_app
from journey_pipelines.expressions import names, values
from journey_pipelines.expressions.environment import customer_names, evaluate, event_names
from journey_pipelines.expressions.facts import Facts, PastEvent
from journey_pipelines.settings import Settings
from journey_pipelines.workflows.check_templates import CONTEXT
from journey_pipelines.workflows.load import Project
from journey_pipelines.workflows.model import ActionKind

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
LANGUAGE = [ROOT / "docs" / "language.md", ROOT / "docs" / "language-reference.md"]
DOCUMENTS = [README, *sorted((ROOT / "docs").rglob("*.md"))]
WORKFLOW_KEYS = {
    "workflow", "name", "description", "owner", "tags", "status", "priority", "category", "topic", "runs", "limits", "max_age", "in_flight",
    "on_resume", "triggers", "entry", "hold_out", "goal", "exit", "steps",
}  # fmt: skip
# the parts that a fragment of a workflow leaves out
PARTS = {
    "workflow": "workflow: example\n",
    "triggers": "triggers:\n  - event: started\n",
    "steps": "steps:\n  - id: only\n    wait: 1 day\n",
}


# what an example names beside itself
STATIC = "segment: {}\nstatic: true\n"
ASKED = "workflow: {}\ntriggers:\n  - manual: true\nsteps:\n  - id: only\n    wait: 1 day\n"


class Block(NamedTuple):
    """A fenced block: where it begins, the words behind the fence, what it holds."""

    file: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def blocks(files: Path | list[Path], info: str) -> list[Block]:
    """Of one file, or of several in turn."""
    if isinstance(files, list):
        return [block for file in files for block in blocks(file, info)]
    file, text = files, files.read_text(encoding="utf-8")
    found = re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    return [Block(file, text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in found if m[1] == info]


def inline_code(files: Path | list[Path]) -> list[str]:
    if isinstance(files, list):
        return [code for file in files for code in inline_code(file)]
    file = files
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```(?:.*\n)*?```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE))


EXAMPLES = [block for file in DOCUMENTS for block in blocks(file, "yaml")]


def project_of(data: Any, text: str) -> dict[str, str]:
    """The files of a project that holds an example: a whole file, some keys of a workflow, or a list of steps."""
    if isinstance(data, dict):
        for name, keys in (("catalogue", {"events", "attributes"}), ("sources", {"sources"})):
            if data.keys() <= keys:
                return {f"{name}.yaml": text}
        if "segment" in data:
            return {f"segments/{data['segment']}.yaml": text, **{f"segments/{name}.yaml": STATIC.format(name) for name in segments(text)}}
        if not data.keys() & WORKFLOW_KEYS:
            return {"policies.yaml": text}
    keys = set(data) if isinstance(data, dict) else {"steps"}
    whole = "".join(part for key, part in PARTS.items() if key not in keys) + (text if isinstance(data, dict) else f"steps:\n{text}")
    folder = data.get("workflow", "example") if isinstance(data, dict) else "example"
    templates = {f"{folder}/{name}{ending}": "Hello" for name in set(re.findall(r"template: (\w+)", text)) for ending in (".html", ".txt")}
    others = set(re.findall(r"(?:start|exit)_workflow: (?:\{workflow: )?(\w+)|in_workflow\('(\w+)'\)", text))
    named = {f"{name}/workflow.yaml": ASKED.format(name) for pair in others for name in pair if name}
    return {f"{folder}/workflow.yaml": whole, "policies.yaml": policies(), **templates, **named}


def segments(text: str) -> set[str]:
    """The segments that a condition asks for."""
    return set(re.findall(r"in_segment\('(\w+)'\)", text))


def policies() -> str:
    """The example of policies.yaml: other examples use its brand."""
    return next(block.text for block in EXAMPLES if "consent:" in block.text)


def read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def load_example(root: Path, text: str) -> Project:
    return load_files(root, project_of(read(text), text))


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_loads(block: Block, tmp_path: Path) -> None:
    project = load_example(tmp_path, block.text)
    assert [str(problem) for problem in project.errors] == []


def test_there_are_examples_of_every_file() -> None:
    assert len(blocks(README, "yaml")) >= 1
    holders = [next(iter(project_of(read(block.text), block.text))) for block in blocks(LANGUAGE, "yaml")]
    kinds = {"segment" if holder.startswith("segments/") else holder.rpartition("/")[2] for holder in holders}
    assert kinds == {"workflow.yaml", "segment", "policies.yaml", "catalogue.yaml", "sources.yaml"}


def test_a_wrong_example_is_refused_with_the_words_below_it(tmp_path: Path) -> None:
    [wrong] = blocks(LANGUAGE, "yaml wrong")
    said = min(blocks(LANGUAGE, "text"), key=lambda block: (block.line < wrong.line, block.line)).text.strip()
    whole = PARTS["workflow"] + wrong.text + PARTS["steps"]
    [error] = load_files(tmp_path, {"example/workflow.yaml": whole}).errors
    assert error.message == said


@pytest.mark.parametrize("block", blocks(LANGUAGE, "html"), ids=str)
def test_a_template_names_only_what_there_is(block: Block, tmp_path: Path) -> None:
    steps = "steps:\n  - id: only\n    do:\n      - send_email: {template: page, subject: Hello}\n"
    whole = PARTS["workflow"] + PARTS["triggers"] + steps
    project = load_files(tmp_path, {"example/workflow.yaml": whole, "example/page.html": block.text, "policies.yaml": policies()})
    assert [str(problem) for problem in project.errors] == []


def truths() -> Iterator[tuple[str, str]]:
    for block in blocks(LANGUAGE, "text"):
        for line in block.text.splitlines():
            expression, arrow, value = line.partition(" -> ")
            if arrow:
                yield expression.strip(), value.strip()


@pytest.mark.parametrize(("expression", "value"), truths())
def test_an_expression_has_the_value_that_is_written_beside_it(expression: str, value: str) -> None:
    row = json.loads(blocks(LANGUAGE, "json")[0].text, parse_float=Decimal)
    at, type_, payload = datetime.fromisoformat(row["event"]["occurred_at"]), row["event"]["type"], row["event"]["payload"]
    customer = {**row["customer"], "created_at": datetime.fromisoformat(row["customer"]["created_at"])}
    known = {"customer": customer_names(customer), "event": event_names(type_, at, payload), "arrived": None, "now": at}
    facts = Facts(now=at, at=at, at_seq=1, zone=row["zone"], history=[PastEvent(type_, at, 1, payload)])
    found = evaluate(expression, known, facts.functions(known))
    written = "missing" if found is None else f"'{found}'" if isinstance(found, str) else values.text_of(found)
    assert written == value


def test_there_are_truths_with_every_function_that_needs_no_journey() -> None:
    shown = " ".join(expression for expression, _ in truths())
    apart = {*names.ENGAGEMENT, "in_segment", "in_workflow", "days_until"}
    assert {name for name in names.FUNCTIONS.keys() - apart if f"{name}(" not in shown} == set()


def documented() -> set[str]:
    """Every word that stands in the code of the reference's text and tables; examples do not count."""
    return {word for code in inline_code(LANGUAGE) for word in re.findall(r"[a-z_]+", code)}


def test_every_word_of_the_expressions_is_documented() -> None:
    words = {*names.FUNCTIONS, *names.FILTERS, *names.FILTER_ALIASES, *names.TESTS, *names.ROOTS}
    words |= {*names.JOURNEY_FIELDS, *names.CUSTOMER_COLUMNS, *CONTEXT, "unsubscribe_url"}
    named = {argument for signature in names.FUNCTIONS.values() for argument in signature.named}
    assert (words | named) - documented() == set()
    calls = " ".join(inline_code(LANGUAGE))
    assert [name for name in names.FUNCTIONS if f"{name}(" not in calls] == []


def test_every_action_is_documented() -> None:
    rows = [row for file in LANGUAGE for row in re.findall(r"^\| (`.+?) \|", file.read_text(encoding="utf-8"), re.MULTILINE)]
    assert set(get_args(ActionKind)) <= {word for row in rows for word in re.findall(r"`(\w+)`", row)}


def with_unknown_keys(data: Any, *, an_action: bool = False) -> Any:
    """The example with a key that nobody knows in every mapping, but for the items of `do`, which have one key each."""
    if isinstance(data, list):
        return [with_unknown_keys(item) for item in data]
    if not isinstance(data, dict):
        return data
    changed = {
        key: [with_unknown_keys(item, an_action=True) for item in value] if key == "do" else with_unknown_keys(value)
        for key, value in data.items()
    }
    return changed if an_action else {**changed, "zzz": 1}


def test_every_key_that_the_loader_takes_is_documented(tmp_path: Path) -> None:
    allowed: dict[str, set[str]] = {}
    for number, block in enumerate(blocks(LANGUAGE, "yaml")):
        data = read(block.text)
        # JSON is YAML, and in flow style nothing is cut at a comma: all texts are quoted, days too
        files = project_of(data, block.text)
        holder = next(iter(files))
        files[holder] = json.dumps(with_unknown_keys(read(files[holder])), default=str)
        for error in load_files(tmp_path / str(number), files).errors:
            if found := re.search(r"(.*): unknown key 'zzz'.*Allowed here: (.*)", error.message):
                where = re.sub(r"^step \w+: |, branch \d+|^(step|source|segment) \w+", r"\1", found[1])
                allowed.setdefault(where, set()).update(found[2].split(", "))
    mappings = {
        "workflow", "trigger", "entry", "reentry", "goal", "exit", "step", "position", "wait", "next", "policies", "consent", "expires",
        "sender", "retry", "breaker", "catalogue", "sources", "source", "segment", "segment: from", "runs", "limits", *get_args(ActionKind),
    }  # fmt: skip
    assert mappings - allowed.keys() == set(), f"no example of these mappings; there are {sorted(allowed)}"
    assert set().union(*allowed.values()) - documented() == set()


def test_every_setting_is_in_the_readme_and_no_other() -> None:
    shown = set(inline_code(README))
    assert {str(field.validation_alias) for field in Settings.model_fields.values()} - shown == set()
    sources = [ROOT / "dagster.yaml"]
    for folder in ("journey_pipelines", "reports", "sensors"):
        sources += (ROOT / folder).rglob("*.py")
    known = {name for path in sources for name in re.findall(r"JOURNEYS_[A-Z_]+", path.read_text(encoding="utf-8"))}
    said = {name for file in DOCUMENTS for name in re.findall(r"JOURNEYS_[A-Z_]+", file.read_text(encoding="utf-8"))}
    assert said - known == set()


class Options(NamedTuple):
    """What a command takes, and what it does not do without."""

    known: set[str]
    needed: set[str]


def commands() -> dict[tuple[str, ...], Options]:
    """Every command with its options."""
    found: dict[tuple[str, ...], Options] = {}

    def walk(command: Any, path: tuple[str, ...]) -> None:
        # a group that does something by itself is a command, too
        if not hasattr(command, "commands") or (path and command.invoke_without_command):
            options = [parameter for parameter in command.params if parameter.opts[0].startswith("--")]
            known = {name for option in options for name in (*option.opts, *option.secondary_opts)}
            found[path] = Options({*known, "--help"}, {option.opts[0] for option in options if option.required})
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))

    walk(typer.main.get_command(build_app()), ())
    return found


def test_commands_and_their_options_are_those_of_the_documents() -> None:
    known, said, wrong = commands(), set[tuple[str, ...]](), []
    for file in DOCUMENTS:
        codes = [*inline_code(file), *(line for info in ("", "sh") for block in blocks(file, info) for line in block.text.splitlines())]
        for code in codes:
            for call in re.findall(r"(?:^|: |'|&& )journeys ([^#]*)", code):
                words = re.split(r"\s+", re.split(r" {3,}", call)[0].strip())
                path = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in known), None)
                if path is None and words[0] != "COMMAND":
                    wrong.append(f"{file.name}: journeys {call}")
                elif path is not None:
                    said.add(path)
                    options = {word.split("=")[0] for word in words if word.startswith("--")}
                    # a command's bare name in a sentence is no call
                    missing = known[path].needed - options if len(words) > len(path) else set()
                    wrong += [f"{file.name}: journeys {call}: {option}" for option in options - known[path].known | missing]
    assert wrong == []
    assert known.keys() - said == set()


def test_make_targets_are_those_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    said = {target for file in DOCUMENTS for target in re.findall(r"(?:`|^)make ([a-z]+)", file.read_text(encoding="utf-8"), re.MULTILINE)}
    assert said and said <= targets


def test_what_the_documents_point_to_is_there() -> None:
    files = {path.name for path in ROOT.rglob("*.*") if ".venv" not in path.parts}
    for file in DOCUMENTS:
        for code in inline_code(file):
            if re.fullmatch(r"(docs|tests|deploy|benchmarks|reports|sensors|workflow_defs|journey_pipelines|\.ci)/[\w./-]*", code):
                assert (ROOT / code).exists(), f"{file.name}: {code}"
            elif re.fullmatch(r"[\w-]+\.(yaml|toml|lock|sql|py)", code):
                assert code in files, f"{file.name}: {code}"
        for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
            name, _, anchor = target.partition("#")
            page = file.parent / name if name else file
            assert name.startswith("https://") or page.exists(), f"{file.name}: {target}"
            assert not anchor or name.startswith("https://") or anchor in headings(page), f"{file.name}: {target}"


def headings(file: Path) -> set[str]:
    """The anchors of a page."""
    found = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
