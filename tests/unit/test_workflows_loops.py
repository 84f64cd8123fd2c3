"""Ways back: which loops are legal, what they become, and why the others are refused."""

from pathlib import Path

import pytest
from workflow_files import load_files, load_one, messages, workflow

from journey_pipelines.workflows.model import Branch, Next

LEGAL = """\
  - id: remind
    wait: 1 day
    do:
      - send_sms: {text: Hi, when: not clicked('remind')}
  - id: ask
    wait: {for: message.clicked, timeout: 1 day}
    next:
      - when: arrived
        to: end
      - when: customer.country == 'CH'
        to: remind
        max_visits: 5
        then: call
      - else: remind
        max_visits: 3
        then: end
  - id: call
    do:
      - create_task: {title: Call}
"""


def test_a_loop_through_a_wait_with_a_cap_on_each_way_back(tmp_path: Path) -> None:
    loaded = load_one(tmp_path, workflow(LEGAL.replace("  - id: remind\n", "  - id: remind\n    next: ask\n", 1))).workflow
    assert loaded.step("ask").next.branches == (
        Branch(when="arrived", to="end"),
        Branch(when="customer.country == 'CH'", to="remind", max_visits=5, then="call"),
        Branch(to="remind", max_visits=3, then="end"),
    )
    assert loaded.step("ask").next.targets() == ["end", "remind", "call"]


@pytest.mark.parametrize(
    ("written", "way_on"),
    [
        ("{to: a, max_visits: 3, then: end}", Next(branches=(Branch(to="a", max_visits=3, then="end"),))),
        ("{to: b}", Next(branches=(Branch(to="b"),))),
    ],
)
def test_the_short_form(tmp_path: Path, written: str, way_on: Next) -> None:
    steps = f"  - id: a\n    wait: 1 day\n    next: {written}\n"
    steps += "" if "end" in written else "  - id: b\n    wait: 1 day\n    next: end\n"
    assert load_one(tmp_path, workflow(steps)).workflow.steps[0].next == way_on


def test_a_split_may_lie_on_a_loop_that_is_counted_elsewhere(tmp_path: Path) -> None:
    steps = """\
  - id: start
    wait: 1 day
    next: {split: {gentle: 50, urgent: 50}}
  - id: gentle
    next: {to: start, max_visits: 3, then: end}
  - id: urgent
    next: end
"""
    assert len(load_one(tmp_path, workflow(steps)).workflow.steps) == 3


WAYS = """\
  - id: a
    wait: WAIT
  - id: b
    next: NEXT
  - id: c
    wait: 1 day
"""


@pytest.mark.parametrize(
    ("wait", "way_on", "said"),
    [
        ("1 day", "a", "step b: a loop (a -> b -> a) that nothing ends; say how often and where to then: `to: a` with `max_visits: 3`"),
        ("1 day", "{split: {a: 50, c: 50}}", "step b: a loop (a -> b -> a) that nothing ends"),
        ("1 day", "{to: c, max_visits: 3, then: a}", "step b: a loop (a -> b -> a) that nothing ends"),
        ('{between: ["09:00", "18:00"]}', "{to: a, max_visits: 3, then: c}", "whose wait, of step a, may be over at once"),
        ("{best_time: true}", "{to: a, max_visits: 3, then: c}", "may be over at once; a loop needs one with `after`, `until` or `for`"),
        ("{date: customer.created_at}", "{to: a, max_visits: 3, then: c}", "may be over at once"),
        ("{date: customer.created_at, past: b}", "{to: a, max_visits: 3, then: c}", "step b: a loop (a -> b -> a) whose wait"),
        ("{for: x, timeout: 1 day, since: entry}", "{to: a, max_visits: 3, then: c}", "may be over at once"),
        ("1 day", "{to: a, max_visits: 1, then: c}", "step b: 'max_visits: 1' never lets anybody back: who comes here was at a once"),
    ],
)  # fmt: skip
def test_loops_that_spin_or_never_end_are_refused(tmp_path: Path, wait: str, way_on: str, said: str) -> None:
    steps = WAYS.replace("WAIT", wait).replace("NEXT", way_on).replace("- id: a\n", "- id: a\n    next: b\n")
    found = messages(load_files(tmp_path, {"hello/workflow.yaml": workflow(steps)}))
    assert any(said in message for message in found), found


@pytest.mark.parametrize("wait", ["1 minute", "{until: '09:00'}", "{after: 1 hour, on: weekdays}", "{for: x, timeout: 1 day}"])
def test_waits_that_take_time_hold_a_loop(tmp_path: Path, wait: str) -> None:
    steps = WAYS.replace("WAIT", wait).replace("NEXT", "{to: a, max_visits: 3, then: c}").replace("- id: a\n", "- id: a\n    next: b\n")
    assert messages(load_files(tmp_path, {"hello/workflow.yaml": workflow(steps)})) == []


def test_a_cap_where_nothing_goes_round_is_warned_of(tmp_path: Path) -> None:
    steps = "  - id: a\n    next: {to: b, max_visits: 3, then: end}\n  - id: b\n    wait: 1 day\n    next: end\n"
    project = load_files(tmp_path, {"hello/workflow.yaml": workflow(steps)})
    assert not project.errors
    assert any("'max_visits' counts nothing: no way leads back to b; write `to` alone" in p.message for p in project.warnings)


def test_what_only_then_leads_to_is_reached(tmp_path: Path) -> None:
    steps = "  - id: a\n    wait: 1 day\n    next: {to: a, max_visits: 3, then: b}\n  - id: b\n    wait: 1 day\n"
    assert len(load_one(tmp_path, workflow(steps)).workflow.steps) == 2


def test_the_way_on_of_a_wrong_wait_is_checked_all_the_same(tmp_path: Path) -> None:
    steps = "  - id: a\n    wait: 1 dya\n    next: {to: a, max_visits: 3, then: nowhere}\n  - id: b\n    next: a\n"
    found = messages(load_files(tmp_path, {"hello/workflow.yaml": workflow(steps)}))
    assert ["'dya' is no unit" in found[0], "names the step 'nowhere'" in found[1], len(found)] == [True, True, 2]
