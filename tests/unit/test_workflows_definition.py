"""What makes a version: the content hash changes when a journey would, and only then."""

import json
from pathlib import Path

import pytest
from workflow_files import load_files

from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.load import load_project

SHIPPED = Path(__file__).parents[2] / "workflow_defs"
HARD = Path(__file__).parent / "fixtures" / "hard"

WORKFLOW = """\
workflow: hello
name: Hello
triggers:
  - event: user_registered
entry:
  when: customer.visits > 3
steps:
  - id: hello
    name: Greet
    position: {x: 1, y: 2}
    do:
      - send_email: {template: hello, subject: Hi}
"""
FILES = {
    "hello/workflow.yaml": WORKFLOW,
    "hello/hello.html": "<p>{% include 'footer.html' %}</p>",
    "partials/footer.html": "Bye{% include 'address.txt' %}",
    "partials/address.txt": "Orchard Lane",
    "partials/unused.html": "Nobody includes me",
    "catalogue.yaml": "attributes: {visits: number, other: text}\n",
}


def _hash(root: Path, **changes: str) -> str:
    files = {**FILES, **{name.replace("__", "/").replace("_dot_", "."): text for name, text in changes.items()}}
    project = load_files(root, files)
    assert not project.errors, "\n".join(map(str, project.errors))
    return project.workflows[0].definition.content_hash()


def test_partials_belong_to_the_version_and_unused_files_do_not(tmp_path: Path) -> None:
    project = load_files(tmp_path, FILES)
    assert list(project.workflows[0].definition.templates) == ["address.txt", "footer.html", "hello.html"]


@pytest.mark.parametrize(
    "changes",
    [
        {"hello__workflow_dot_yaml": WORKFLOW.replace("name: Hello", "name: Another\ndescription: x\nowner: me\ntags: [a]\nstatus: draft")},
        {"hello__workflow_dot_yaml": WORKFLOW.replace("x: 1", "x: 400").replace("name: Greet", "name: Say hello")},
        {"hello__workflow_dot_yaml": WORKFLOW.replace("template: hello,", "name: First mail, template: hello,")},
        {"hello__workflow_dot_yaml": "# a comment\n" + WORKFLOW},
        {"hello__workflow_dot_yaml": WORKFLOW + "    next: end\n"},
        {"partials__unused_dot_html": "changed"},
        {"catalogue_dot_yaml": "attributes: {visits: number, other: number}\n"},
        {"hello__workflow_dot_yaml": "runs: {from: 2026-01-01}\nlimits: {in_flight: 9, entries: 5/hour}\n" + WORKFLOW},
        {"hello__workflow_dot_yaml": "on_resume: skip\nin_flight: exit\nstatus: paused\n" + WORKFLOW},
    ],
)
def test_presentation_makes_no_version(tmp_path: Path, changes: dict[str, str]) -> None:
    assert _hash(tmp_path / "a") == _hash(tmp_path / "b", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"hello__workflow_dot_yaml": WORKFLOW.replace("> 3", "> 4")},
        {"hello__workflow_dot_yaml": WORKFLOW.replace("subject: Hi", "subject: Ho")},
        {"hello__workflow_dot_yaml": WORKFLOW + "    wait: 1 hour\n"},
        {"hello__workflow_dot_yaml": "priority: 3\n" + WORKFLOW},
        {"hello__workflow_dot_yaml": "category: transactional\n" + WORKFLOW},
        {"hello__workflow_dot_yaml": "topic: offers\n" + WORKFLOW},
        {"hello__workflow_dot_yaml": "hold_out: 5%\n" + WORKFLOW},
        {"hello__workflow_dot_yaml": "max_age: 5 days\n" + WORKFLOW},
        {"hello__workflow_dot_yaml": WORKFLOW.replace("event: user_registered", "segment: user_registered")},
        {"hello__workflow_dot_yaml": WORKFLOW + "    next: {to: hello, max_visits: 3, then: end}\n    wait: 1 hour\n"},
        {"hello__hello_dot_html": "<p>new {% include 'footer.html' %}</p>"},
        {"hello__hello_dot_txt": "a text part"},
        {"partials__footer_dot_html": "Bye bye"},
        {"partials__address_dot_txt": "Another lane"},
        {"catalogue_dot_yaml": "attributes: {visits: text}\n"},
    ],
)
def test_content_makes_a_version(tmp_path: Path, changes: dict[str, str]) -> None:
    assert _hash(tmp_path / "a") != _hash(tmp_path / "b", **changes)


def test_what_the_language_gained_makes_no_version_of_what_was_there() -> None:
    """Hashes of the shipped workflows as they were before there were segments, schedules and loops."""
    hashes = {loaded.workflow.id: loaded.definition.content_hash()[:16] for loaded in load_project(SHIPPED).workflows}
    assert hashes == {"cart_recovery": "86320e8e9f5ce0db", "new_customer_welcome": "fe9d2b0b00300430", "win_back": "f82ba13d26e22ce5"}


def test_a_stored_definition_is_read_back_as_it_was() -> None:
    for loaded in [*load_project(SHIPPED).workflows, *load_project(HARD).workflows]:
        definition = loaded.definition
        stored = json.loads(json.dumps(definition.model_dump(mode="json")))
        again = Definition.model_validate(stored)
        assert again == definition
        assert again.content_hash() == definition.content_hash()
        assert "\\u0000" not in json.dumps(stored)
