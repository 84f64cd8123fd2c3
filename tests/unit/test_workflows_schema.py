"""The JSON Schema for editors: current, taken by every valid file, marking mistakes, and never stricter than the loader."""

from __future__ import annotations

import copy
import json
import random
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from workflow_files import load_files

from journey_pipelines.workflows.fields import plain
from journey_pipelines.workflows.load import load_project
from journey_pipelines.workflows.problems import Problems
from journey_pipelines.workflows.schema import FILE_NAME, MODELINES, schema, schema_text
from journey_pipelines.workflows.yaml_nodes import parse_yaml

ROOT = Path(__file__).parents[2]
FULL = ROOT / "tests" / "unit" / "fixtures" / "full"
SCHEMA = schema()
# which part of the schema a file is held against
PARTS = {"workflow.yaml": "workflow", "policies.yaml": "policies", "catalogue.yaml": "catalogue", "sources.yaml": "sources"}
VALIDATORS = {part: Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{part}"}) for part in (*PARTS.values(), "segment")}


def part_of(file: Path) -> str:
    return "segment" if file.parent.name == "segments" else PARTS[file.name]


def read(text: str) -> Any:
    """YAML 1.2 as editors read it: a date is text."""
    problems = Problems()
    node = parse_yaml(text, Path("example.yaml"), problems)
    assert node is not None and not problems.errors, list(problems)
    return plain(node)


def marks(part: str, value: Any) -> list[str]:
    """What the schema says against a value: `$.path: message`."""
    return [f"{error.json_path}: {error.message}" for error in VALIDATORS[part].iter_errors(value)]


def projects() -> list[Path]:
    """Every folder of a project in the tree that is not there to be wrong."""
    found = {file.parents[1] for folder in ("workflow_defs", "tests") for file in (ROOT / folder).rglob("*/workflow.yaml")}
    return sorted(folder for folder in found if folder.parent.name != "fixtures" or folder == FULL)


FILES = [
    file
    for project in projects()
    for file in sorted([*project.glob("*/workflow.yaml"), *project.glob("segments/*.yaml"), *(project / name for name in PARTS)])
    if file.is_file()
]


def test_the_shipped_file_is_current() -> None:
    assert (ROOT / "workflow_defs" / FILE_NAME).read_text(encoding="utf-8") == schema_text(), "run `journeys schema`"


def test_it_is_a_schema_and_every_part_is_used() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    pointers = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(SCHEMA)))
    assert pointers | {"segment", "policies", "catalogue", "sources"} == SCHEMA["$defs"].keys()


def test_there_are_files_of_every_kind() -> None:
    assert {part_of(file) for file in FILES} == VALIDATORS.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_valid_file_is_not_marked(file: Path) -> None:
    assert marks(part_of(file), read(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("file", sorted((ROOT / "workflow_defs").glob("*/workflow.yaml")), ids=lambda file: file.parent.name)
def test_a_shipped_workflow_tells_editors_where_the_schema_is(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == MODELINES["workflow.yaml"]
    assert (file.parent / first.split("$schema=")[1]).is_file()


# -- mistakes --------------------------------------------------------------------------------------------------------

HELLO = """\
workflow: hello
triggers:
  - event: user_registered
steps:
  - id: first
    wait: 1 day
"""
# what of HELLO is replaced, by what, and the path that is marked
MISTAKES = [
    ("", "statsu: active\n", "$"),
    ("", "status: actve\n", "$.status"),
    ("", "priority: high\n", "$.priority"),
    ("", "hold_out: 10\n", "$.hold_out"),
    ("", "hold_out: 100%\n", "$.hold_out"),
    ("", "max_age: 1 month\n", "$.max_age"),
    ("", "limits: {entries: 5000 per hour}\n", "$.limits.entries"),
    ("", "runs: {from: soon}\n", "$.runs.from"),
    ("", "runs: {}\n", "$.runs"),
    ("", "entry: {reentry: sometimes}\n", "$.entry.reentry"),
    ("", "entry: {reentry: {of: exit}}\n", "$.entry.reentry"),
    ("", "goal: {event: purchase, withn: 7 days}\n", "$.goal"),
    ("", "goal: {segment: vip, match: cart_id}\n", "$.goal"),
    ("", "exit: [gaol]\n", "$.exit[0]"),
    ("", "exit: goal\n", "$.exit"),
    ("workflow: hello", "workflow: Hello World", "$.workflow"),
    ("workflow: hello", "workflow: end", "$.workflow"),
    ("workflow: hello\n", "", "$"),
    ("event: user_registered", "evnt: user_registered", "$.triggers[0]"),
    ("event: user_registered", "event: user_registered\n    segment: vip", "$.triggers[0]"),
    ("event: user_registered", "event: user_registered\n    timezone: UTC", "$.triggers[0]"),
    ("event: user_registered", "schedule: every monday", "$.triggers[0]"),
    ("event: user_registered", "at: tomorrow", "$.triggers[0]"),
    ("event: user_registered", "date: customer.renewal\n    at: 9 o'clock", "$.triggers[0]"),
    ("event: user_registered", "manual: false", "$.triggers[0]"),
    ("  - event: user_registered", "  - user_registered", "$.triggers[0]"),
    ("triggers:\n  - event: user_registered\n", "triggers: []\n", "$.triggers"),
    ("id: first", "id: The first", "$.steps[0].id"),
    ("id: first\n    wait: 1 day", "wait: 1 day", "$.steps[0]"),
    ("    wait: 1 day\n", "", "$.steps[0]"),
    ("wait: 1 day", "wiat: 1 day", "$.steps[0]"),
    ("wait: 1 day", "wait: 90", "$.steps[0].wait"),
    ("wait: 1 day", "wait: 1 dya", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {after: 1 day, for: purchase}", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {for: purchase}", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {for: [], timeout: 1 day}", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {after: 1 day, until: 25:00}", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {after: 1 day, between: ['09:00']}", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {until: '09:00', between: ['09:00', '18:00']}", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {until: '09:00', on: [monday]}", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {after: 1 day, within: 24 hours}", "$.steps[0].wait"),
    ("wait: 1 day", "wait: {offset: -3 days}", "$.steps[0].wait"),
    ("wait: 1 day", "do: []", "$.steps[0].do"),
    ("wait: 1 day", "do: [{send_mail: {template: hello, subject: Hello}}]", "$.steps[0].do[0]"),
    ("wait: 1 day", "do: [{send_email: {template: hello, subject: Hello}, id: mail}]", "$.steps[0].do[0]"),
    ("wait: 1 day", "do: [{send_email: {template: hello.html, subject: Hello}}]", "$.steps[0].do[0].send_email.template"),
    ("wait: 1 day", "do: [{send_email: {template: hello}}]", "$.steps[0].do[0].send_email"),
    ("wait: 1 day", "do: [{send_sms: {text: Hello, template: hello}}]", "$.steps[0].do[0].send_sms"),
    ("wait: 1 day", "do: [{send: {channels: auto}}]", "$.steps[0].do[0]"),
    ("wait: 1 day", "do: [{webhook_call: {url: 'https://{{ event.host }}/x'}}]", "$.steps[0].do[0].webhook_call.url"),
    ("wait: 1 day", "do: [{webhook_call: {url: 'https://x.example', method: PSOT}}]", "$.steps[0].do[0].webhook_call.method"),
    ("wait: 1 day", "do: [{update_profile: {}}]", "$.steps[0].do[0].update_profile"),
    ("wait: 1 day", "do: [{update_profile: {increment: {visits: once}}}]", "$.steps[0].do[0].update_profile.increment.visits"),
    ("wait: 1 day", "do: [{emit_event: {payload: {n: 1}}}]", "$.steps[0].do[0].emit_event"),
    ("wait: 1 day", "do: [{exit_workflow: {workflow: x, payload: {}}}]", "$.steps[0].do[0].exit_workflow"),
    ("wait: 1 day", "next: [{when: event.x, to: end}]", "$.steps[0].next"),
    ("wait: 1 day", "next: [{when: event.x}, {else: end}]", "$.steps[0].next"),
    ("wait: 1 day", "next: [{when: '{{ event.x }}', to: end}, {else: end}]", "$.steps[0].next"),
    ("wait: 1 day", "next: {to: first, max_visits: 3}", "$.steps[0].next"),
    ("wait: 1 day", "next: {split: {end: 100}}", "$.steps[0].next"),
    ("wait: 1 day", "next: {split: {end: 50, first: half}}", "$.steps[0].next"),
]
OTHERS = [
    ("policies", "zoen: UTC", "$"),
    ("policies", "consent: {fax: true}", "$.consent"),
    ("policies", "sender: {from: Acme}", "$.sender.from"),
    ("policies", "retry: {attempts: 0}", "$.retry.attempts"),
    ("policies", "breaker: {factor: 1}", "$.breaker.factor"),
    ("catalogue", "events: {purchase: {total: money}}", "$.events.purchase.total"),
    ("catalogue", "events: {message.opened: {}}", "$.events"),
    ("catalogue", "attributes: {tags: list}", "$.attributes.tags"),
    ("sources", "orders: {}", "$"),
    ("sources", "sources: {o: {table: orders, id: a, customer_id: b, type: c, occurred_at: d, cursor: e}}", "$.sources.o.table"),
    ("sources", "sources: {o: {table: s.orders, id: a, customer_id: b, occurred_at: d, cursor: e}}", "$.sources.o"),
    ("segment", "segment: vip", "$"),
    ("segment", "{segment: vip, static: true, when: customer.vip}", "$"),
    ("segment", "{segment: vip, static: false}", "$.static"),
    ("segment", "{segment: vip, from: {table: vips}}", "$.from.table"),
]


def test_the_example_of_the_mistakes_has_none() -> None:
    assert marks("workflow", read(HELLO)) == []


@pytest.mark.parametrize(("old", "new", "path"), MISTAKES, ids=[new.strip() or f"without {old.strip()}" for old, new, _ in MISTAKES])
def test_a_mistake_is_marked_where_it_is(old: str, new: str, path: str) -> None:
    text = HELLO.replace(old, new) if old else HELLO + new
    assert text != HELLO
    assert {found.split(": ")[0] for found in marks("workflow", read(text))} == {path}


@pytest.mark.parametrize(("part", "text", "path"), OTHERS, ids=[text for _, text, _ in OTHERS])
def test_a_mistake_in_another_file_is_marked_where_it_is(part: str, text: str, path: str) -> None:
    assert {found.split(": ")[0] for found in marks(part, read(text))} == {path}


# -- the schema and the loader ---------------------------------------------------------------------------------------

FULL_FILES = {str(file.relative_to(FULL)): file.read_text(encoding="utf-8") for file in FULL.rglob("*") if file.is_file()}
# nothing needs the largest file, and each time it is read costs a tenth of a second
REST_FILES = {name: text for name, text in FULL_FILES.items() if not name.startswith("full/")}
FULL_YAML = sorted(name for name in FULL_FILES if name.endswith(".yaml"))
# what a value may be replaced with by a slip. Not true: the loader reads it as the word where a text is wanted, the schema marks it
SLIPS: tuple[Any, ...] = ("", "x y!", "end", 7, -0.5, [], {}, ["x"], {"x": 1})
# of all the slips in a file so many are tried, others each time: each costs the loading of a project
TRIED = 10


def around(name: str, text: str) -> dict[str, str]:
    """The full project, or as much of it as is needed, with another text in one file."""
    return {**(FULL_FILES if name.startswith("full/") else REST_FILES), name: text}


def mappings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from mappings(inner, (*path, key))


def changed(document: Any, path: tuple[Any, ...], key: str, value: Any) -> Any:
    """A copy with another value under a key of the mapping at `path`; without the key where it is None."""
    whole = copy.deepcopy(document)
    at = whole
    for part in path:
        at = at[part]
    if value is None:
        del at[key]
    else:
        at[key] = value
    return whole


def test_the_full_project_is_valid() -> None:
    assert [str(problem) for problem in load_project(FULL).errors] == []


def test_the_full_project_has_every_key_that_the_schema_knows() -> None:
    used = {key for name in FULL_YAML for _, mapping in mappings(read(FULL_FILES[name])) for key in mapping}
    known = {key for _, part in mappings(SCHEMA["$defs"]) if part.get("type") == "object" for key in part.get("properties", {})}
    assert known - used == set()


def candidates(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object schemas that a schema comes down to."""
    if "$ref" in part:
        yield from candidates(SCHEMA["$defs"][part["$ref"].rpartition("/")[2]])
    for inner in part.get("anyOf", ()):
        yield from candidates(inner)
    if "properties" in part:
        yield part


def schemas_at(part: str, path: tuple[Any, ...], document: Any) -> list[dict[str, Any]]:
    """The object schemas with fixed keys that fit the mapping at `path`."""
    found: list[dict[str, Any]] = [{"$ref": f"#/$defs/{part}"}]
    at = document
    for step in path:
        at = at[step]
        inner: list[dict[str, Any]] = []
        for schema_ in found:
            if isinstance(step, int):
                for one in _flat(schema_):
                    inner.extend([one["items"]] if "items" in one else [])
            else:
                for one in _flat(schema_):
                    if step in one.get("properties", {}):
                        inner.append(one["properties"][step])
                    elif isinstance(one.get("additionalProperties"), dict):
                        inner.append(one["additionalProperties"])
        found = inner
    fitting = [one for schema_ in found for one in candidates(schema_)]
    return [one for one in fitting if set(one.get("required", ())) <= set(at) <= set(one["properties"])]


def _flat(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in part:
        yield from _flat(SCHEMA["$defs"][part["$ref"].rpartition("/")[2]])
    for inner in part.get("anyOf", ()):
        yield from _flat(inner)
    yield part


@pytest.mark.parametrize("name", FULL_YAML)
def test_the_loader_and_the_schema_allow_the_same_keys(name: str, tmp_path: Path) -> None:
    """A key that nobody knows goes into every mapping: the loader says what it allows there, the schema has to know the same."""
    document, part = read(FULL_FILES[name]), part_of(FULL / name)
    paths = [path for path, _ in mappings(document) if path[-2:-1] != ("do",)]
    whole = document
    for number, path in enumerate(paths):
        whole = changed(whole, path, f"zzz{number}", 1)
    # JSON is YAML, and in flow style nothing is cut at a comma: all texts are quoted
    errors = load_files(tmp_path, around(name, json.dumps(whole))).errors
    allowed = {
        paths[int(found[1])]: set(found[2].split(", "))
        for error in errors
        if (found := re.search(r"unknown key 'zzz(\d+)'.*Allowed here: (.*)", error.message))
    }
    assert () in allowed
    for path, keys in allowed.items():
        assert marks(part, changed(document, path, "zzz", 1)), f"{path}: the schema does not mark a key that the loader refuses"
        shapes = {frozenset(one["properties"]) for one in schemas_at(part, path, document)}
        # a branch with `when` names `else`, too, to say where it belongs; a goal and an exit name the keys of all their forms
        if path[-1:] == ("goal",) or {"exit", "next"} & set(path):
            assert shapes and all(shape <= keys for shape in shapes), f"{path}: {keys} against {shapes}"
        else:
            assert frozenset(keys) in shapes, f"{path}: {keys} against {shapes}"


@pytest.mark.parametrize("name", FULL_YAML)
def test_what_the_loader_accepts_the_schema_accepts(name: str, tmp_path: Path) -> None:
    """Each key of the full project taken out, and given each slip: whatever the schema marks is an error of the loader's, too."""
    document, part = read(FULL_FILES[name]), part_of(FULL / name)
    seed = secrets.randbits(32)
    slips = [(path, key, slip) for path, mapping in mappings(document) for key in mapping for slip in (None, *SLIPS)]
    marked, strict = 0, []
    for path, key, slip in random.Random(seed).sample(slips, len(slips)):
        whole = changed(document, path, key, slip)
        if not (found := marks(part, whole)):
            continue
        if not load_files(tmp_path, around(name, json.dumps(whole))).errors:
            strict.append(f"{path} {key}: {slip!r}: {found}")
        marked += 1
        if marked == TRIED:
            break
    assert strict == [], f"seed {seed}"
    assert marked
