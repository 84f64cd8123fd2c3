"""Identities of statements: what did not change keeps its own, so that versions share statements and parked journeys find theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compiled import everything, shipped
from workflow_files import load_one

from journey_pipelines.compiler.identity import entry_uid, interest_rows, step_rows
from journey_pipelines.compiler.rule_uids import exit_uid, goal_uid
from journey_pipelines.compiler.statement import uid_of
from journey_pipelines.workflows.definition import Definition

BASE = """\
workflow: hello
name: Hello
description: Says hello.
owner: ann
tags: [a]
triggers:
  - id: signup
    name: Signs up
    event: signup
    when: event.plan == 'free'
entry:
  key: event.account
hold_out: 10%
goal: {event: purchase, when: arrived.total > 0, within: 7 days}
exit:
  - goal
  - event: unsubscribed
steps:
  - id: greet
    name: Greeting
    position: {x: 1, y: 2}
    wait: 1 hour
    do:
      - send_email: {template: hello, subject: Hello, name: Mail}
  - id: settle
    wait: {for: reply, timeout: 1 day, since: entry}
    next:
      - when: arrived and customer.plan == 'gold'
        to: end
      - else: again
  - id: again
    wait: 2 hours
    next: end
"""


@pytest.fixture
def definition(tmp_path: Path) -> Any:
    def make(*changes: tuple[str, str], **files: str) -> Definition:
        text = BASE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return load_one(folder, text, **files).definition

    return make


def uids(definition: Definition) -> dict[str, int]:
    """Step -> uid, step -> arrival uid where it has one, goal, exit."""
    found = {}
    for row in step_rows(definition, 1):
        found[row["step_key"]] = row["step_uid"]
        if row["entry_uid"] != row["step_uid"]:
            found[f"{row['step_key']} arrives"] = row["entry_uid"]
    return {**found, "goal": goal_uid(definition), "exit": exit_uid(definition), "entry": entry_uid(definition)}


def changed(a: Definition, b: Definition) -> set[str]:
    before, after = uids(a), uids(b)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (("subject: Hello", "subject: Good day"), {"greet"}),
        (("wait: 1 hour", "wait: 3 hours"), {"greet"}),
        (("timeout: 1 day", "timeout: 2 days"), {"settle", "settle arrives"}),
        (("to: end\n      - else: again", "to: again\n      - else: end"), {"settle", "settle arrives"}),
        (("'gold'", "'silver'"), {"settle", "settle arrives"}),
        (("arrived.total > 0", "arrived.total > 5"), {"goal", "exit"}),
        (("unsubscribed", "left"), {"exit"}),
        (("workflow: hello", "workflow: hello\ncategory: transactional"), {"greet", "settle", "settle arrives", "again"}),
        (("workflow: hello", "workflow: hello\npriority: 3"), {"greet", "settle", "settle arrives", "again"}),
        # what a step's statement does not hold
        (("hold_out: 10%", "hold_out: 20%"), set()),
        (("event.account", "event.cart"), set()),
        (("'free'", "'paid'"), set()),
    ],
)
def test_what_is_changed_gets_another_uid_and_nothing_else(definition: Any, change: tuple[str, str], moved: set[str]) -> None:
    assert changed(definition(), definition(change)) == moved


@pytest.mark.parametrize(
    "change",
    [
        ("name: Hello", "name: Good day"),
        ("description: Says hello.", "description: Another."),
        ("owner: ann", "owner: bob"),
        ("tags: [a]", "tags: [a, b]"),
        ("name: Signs up", "name: Registers"),
        ("name: Greeting", "name: Good day"),
        ("{x: 1, y: 2}", "{x: 7, y: 9}"),
        ("name: Mail", "name: Letter"),
    ],
)
def test_what_is_only_shown_changes_no_uid(definition: Any, change: tuple[str, str]) -> None:
    a, b = definition(), definition(change)
    assert a != b
    assert changed(a, b) == set()


def test_uids_are_those_of_the_first_release(definition: Any) -> None:
    """A field added to the language must not change them: journeys parked years ago find their statement."""
    steps = {name: uid for name, uid in uids(definition()).items() if name not in ("goal", "exit", "entry")}
    assert steps == {
        "greet": 3736318326132791634, "settle": 158887223994674216, "settle arrives": 1570145571171823336, "again": 910205612689847084,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        # what every step asks is in every step's uid
        (("tags: [a]", "tags: [a]\nmax_age: 30 days"), {"greet", "settle", "settle arrives", "again"}),
        (("event: unsubscribed", "when: customer.plan == 'gold'"), {"greet", "settle", "settle arrives", "again", "exit"}),
        (("wait: 1 hour", "wait: {after: 1 hour, on: [mon]}"), {"greet", "greet arrives"}),
        (("wait: 1 hour", "wait: {date: customer.day}"), {"greet", "greet arrives"}),
        (("wait: 2 hours", "wait: {after: 2 hours, best_time: true}"), {"again", "again arrives"}),
    ],
)
def test_what_a_step_asks_more_is_part_of_its_uid(definition: Any, change: tuple[str, str], moved: set[str]) -> None:
    assert changed(definition(), definition(change)) == moved


def looped(definition: Definition, wait: str) -> Definition:
    """`again` goes back to `settle`, which goes to `again`: legal once loops are."""
    document = definition.model_dump(mode="json")
    document["workflow"]["steps"][2] |= {"wait": {"kind": "after", "after": wait}, "next": {"branches": [{"to": "settle"}]}}
    return Definition.model_validate(document)


def test_a_target_counts_by_name_not_by_content(definition: Any) -> None:
    """A hash over what steps lead to would never end where they lead back."""
    assert changed(looped(definition(), "2 hours"), looped(definition(), "5 hours")) == {"again"}
    assert changed(definition(), looped(definition(), "2 hours")) == {"again"}


def test_a_step_that_moves_in_the_file_stays_what_it_is(definition: Any) -> None:
    moved = definition(("steps:\n", "steps:\n  - id: before\n    wait: 5 minutes\n"))
    assert changed(definition(), moved) == {"before"}


def test_a_template_is_the_versions_business_not_the_statements(definition: Any) -> None:
    a, b = definition(), definition(hello__hello_dot_html="<p>Another text</p>")
    assert a.content_hash() != b.content_hash()
    assert changed(a, b) == set()


def test_uids_survive_the_database(definition: Any) -> None:
    """What is stored is JSON; a uid must come out of it as it went in."""
    for project in (shipped(), everything()):
        for loaded in project.workflows:
            again = Definition.model_validate(loaded.definition.model_dump(mode="json"))
            assert step_rows(again, 1) == step_rows(loaded.definition, 1)
            assert interest_rows(again, uids_of(again), current=True) == interest_rows(loaded.definition, uids_of(again), current=True)


def test_uids_are_positive_bigints_and_no_two_steps_share_one() -> None:
    seen: dict[int, str] = {}
    for project in (shipped(), everything()):
        for loaded in project.workflows:
            for row in step_rows(loaded.definition, 1):
                for uid in {row["step_uid"], row["entry_uid"]}:
                    assert 0 < uid < 2**62
                    assert seen.setdefault(uid, f"{row['workflow_id']}/{row['step_key']}") == f"{row['workflow_id']}/{row['step_key']}"


def test_parts_do_not_run_into_each_other() -> None:
    assert uid_of("ab", "c") != uid_of("a", "bc")


def uids_of(version: Definition) -> dict[str, int]:
    """Those of its steps, as deploy stores them."""
    return {row["step_key"]: row["step_uid"] for row in step_rows(version, 1)}


def test_interests_name_every_type_that_has_something_to_do(definition: Any) -> None:
    version = definition()
    found = {(row["event_type"], row["kind"]) for row in interest_rows(version, uids_of(version), current=True)}
    assert found == {
        ("signup", "entry"), ("reply", "wake"), ("purchase", "goal"), ("purchase", "exit"), ("unsubscribed", "exit"),
                     ("enter.hello", "entry"),
        ("exit.hello", "exit"),
    }  # fmt: skip
    assert ("signup", "entry") not in {
        (row["event_type"], row["kind"]) for row in interest_rows(definition(), uids_of(definition()), current=False)
    }
