"""What a folder of YAML becomes: the normalised model, its defaults, and YAML's own traps."""

from pathlib import Path

import pytest
from workflow_files import SIX_LINES, load_files, load_one, messages

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.load import load_project
from journey_pipelines.workflows.model import AfterWait, Branch, EventWait, ExitRule, Goal, Next, Reentry
from journey_pipelines.workflows.project import Breaker

SHIPPED = Path(__file__).parents[2] / "workflow_defs"


def _with(tail: str, head: str = "") -> str:
    return f"workflow: hello\ntriggers:\n  - event: user_registered\n{head}steps:\n{tail}"


def test_the_shipped_project_is_clean() -> None:
    project = load_project(SHIPPED)
    assert [str(problem) for problem in project.problems] == []
    assert [loaded.workflow.id for loaded in project.workflows] == ["cart_recovery", "new_customer_welcome", "win_back"]


def test_six_lines_are_a_workflow_with_every_default(tmp_path: Path) -> None:
    workflow = load_one(tmp_path, SIX_LINES).workflow
    assert (workflow.name, workflow.status, workflow.category, workflow.priority, workflow.hold_out) == (
        "Hello",
        "active",
        "marketing",
        0,
        0.0,
    )
    assert [(trigger.id, trigger.event, trigger.active) for trigger in workflow.triggers] == [("user_registered", "user_registered", True)]
    assert workflow.entry.reentry == Reentry(policy="after_exit")
    assert (workflow.entry.key, workflow.entry.while_active, workflow.entry.max_lateness) == (None, "ignore", Duration.parse("1 day"))
    assert (workflow.goal, workflow.exit) == (None, ())
    [step] = workflow.steps
    assert (step.wait, step.next) == (None, Next(branches=(Branch(to="end"),)))
    [action] = step.do
    assert (action.kind, action.id, action.channel, action.params["template"]) == ("send_email", "send_email", "email", "hello")


def test_yaml_1_2_leaves_words_and_times_alone(tmp_path: Path) -> None:
    steps = """\
  - id: norway
    do:
      - update_profile:
          set: {country: NO, at: 12:30, on: yes, version: 010, since: 2026-01-01, number: 3, fact: true}
"""
    [(_, action)] = load_one(tmp_path, _with(steps)).workflow.actions()
    assert action.params["set"] == {
        "country": "NO", "at": "12:30", "on": "yes", "version": "010", "since": "2026-01-01", "number": 3, "fact": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "reentry"),
    [
        ("never", Reentry(policy="never")),
        ("after exit", Reentry(policy="after_exit")),
        ("always", Reentry(policy="always")),
        ("{after: 7 days}", Reentry(policy="after", after=Duration.parse("7 days"), of="exit")),
        ("{after: 36 hours, of: entry, max: 3}", Reentry(policy="after", after=Duration.parse("36 hours"), of="entry", max=3)),
    ],
)
def test_reentry_in_all_forms(tmp_path: Path, written: str, reentry: Reentry) -> None:
    text = _with("  - id: a\n    wait: 1 day\n", head=f"entry:\n  reentry: {written}\n")
    assert load_one(tmp_path, text).workflow.entry.reentry == reentry


@pytest.mark.parametrize(
    ("written", "wait"),
    [
        ("90 minutes", AfterWait(after=Duration.parse("90 minutes"))),
        ("{after: 90 minutes}", AfterWait(after=Duration.parse("90 minutes"))),
        ("1 month", AfterWait(after=Duration(months=1))),
        ("{for: purchase, timeout: 1 day}", EventWait(events=("purchase",), timeout=Duration(days=1))),
        (
            "{for: [purchase, message.clicked], match: order_id, when: arrived.total > 3, timeout: 2 weeks, since: entry, any: true}",
            EventWait(
                events=("purchase", "message.clicked"),
                match="order_id",
                when="arrived.total > 3",
                timeout=Duration(days=14),
                since="entry",
                any=True,
            ),
        ),
    ],
)
def test_waits_in_all_forms(tmp_path: Path, written: str, wait: AfterWait | EventWait) -> None:
    assert load_one(tmp_path, _with(f"  - id: a\n    wait: {written}\n")).workflow.steps[0].wait == wait


def test_next_in_all_forms(tmp_path: Path) -> None:
    steps = """\
  - id: falls
    wait: 1 hour
  - id: chooses
    next:
      - when: customer.country == 'DE'
        to: splits
      - when: arrived
        to: end
      - else: goes
  - id: splits
    next: {split: {goes: 33.3, ends: 33.3%, end: 33.4}}
  - id: goes
    next: ends
  - id: ends
    do:
      - send_sms: {text: Bye}
"""
    workflow = load_one(tmp_path, _with(steps)).workflow
    ways = {step.id: step.next for step in workflow.steps}
    assert ways["falls"] == Next(branches=(Branch(to="chooses"),))
    assert ways["chooses"].branches == (
        Branch(when="customer.country == 'DE'", to="splits"),
        Branch(when="arrived", to="end"),
        Branch(to="goes"),
    )
    assert ways["splits"].split == {"goes": 33.3, "ends": 33.3, "end": 33.4}
    assert ways["goes"] == Next(branches=(Branch(to="ends"),))
    assert ways["ends"] == Next(branches=(Branch(to="end"),))
    assert ways["chooses"].targets() == ["splits", "end", "goes"]
    assert workflow.step("goes").id == "goes"
    with pytest.raises(KeyError, match="workflow hello has no step nowhere"):
        workflow.step("nowhere")


def test_goal_exit_and_hold_out(tmp_path: Path) -> None:
    head = """\
hold_out: 12.5%
goal: {event: purchase, match: cart_id, when: arrived.total > 0, value: arrived.total, within: 7 days}
exit:
  - goal
  - {event: cart_emptied, match: cart_id, when: arrived.cart_id is defined}
"""
    workflow = load_one(tmp_path, _with("  - id: a\n    wait: 1 day\n", head=head)).workflow
    assert workflow.hold_out == 12.5
    assert workflow.goal == Goal(
        event="purchase", match="cart_id", when="arrived.total > 0", value="arrived.total", within=Duration.parse("7 days")
    )
    assert workflow.exit == (ExitRule(goal=True), ExitRule(event="cart_emptied", match="cart_id", when="arrived.cart_id is defined"))
    assert workflow.event_types() == {"user_registered", "purchase", "cart_emptied"}


def test_actions_in_all_kinds(tmp_path: Path) -> None:
    steps = """\
  - id: a
    position: {x: 1, y: 2.5}
    do:
      - send_email:
          {id: mail, name: First, template: hello, subject: Hi, from: a@example.org, headers: {X-Campaign: hello}, expires: 2 days}
      - send_sms: {text: Hi, when: customer.country == 'DE'}
      - send_push: {title: Hi, text: There}
      - webhook_call:
          url: https://example.org/hook/{{ customer.customer_id | urlencode }}
          method: PUT
          headers: {X-Source: journeys}
          body: {id: "{{ customer.customer_id }}", list: [1, "{{ event.plan | default('free') }}"], deep: {yes: true}}
      - update_profile: {set: {stage: new, score: "{{ event.score }}"}, unset: [old], increment: {visits: 1, points: "{{ event.points }}"}}
      - add_to_segment: lapsed
      - remove_from_segment: {id: out, segment: fresh, when: customer.country == 'DE'}
      - create_task: {title: "Call {{ customer.first_name | default('them') }}", assignee: sales, due: 2 days, body: Please.}
"""
    workflow = load_one(tmp_path, _with(steps)).workflow
    actions = {action.id: action for _, action in workflow.actions()}
    assert list(actions) == ["mail", "send_sms", "send_push", "webhook_call", "update_profile", "add_to_segment", "out", "create_task"]
    assert [action.channel for action in actions.values()] == ["email", "sms", "push", "webhook", None, None, None, None]
    assert actions["mail"].params == {
        "template": "hello", "subject": "Hi", "from": "a@example.org", "headers": {"X-Campaign": "hello"}, "expires": "2 days",
    }  # fmt: skip
    assert actions["webhook_call"].params["body"] == {
        "id": "{{ customer.customer_id }}", "list": [1, "{{ event.plan | default('free') }}"], "deep": {"yes": True},
    }  # fmt: skip
    assert actions["update_profile"].params == {
        "set": {"stage": "new", "score": "{{ event.score }}"}, "unset": ["old"], "increment": {"visits": 1, "points": "{{ event.points }}"},
    }  # fmt: skip
    assert actions["out"].params == {"segment": "fresh"}
    assert actions["create_task"].params["due"] == "2 days"


def test_without_a_catalogue_every_event_type_and_attribute_is_taken_as_it_comes(tmp_path: Path) -> None:
    text = _with("  - id: a\n    wait: {for: anything, timeout: 1 day}\n", head="entry:\n  when: customer.whatever == 3\n")
    assert load_one(tmp_path, text).definition.catalogue == {}


def test_a_declared_attribute_goes_with_the_definition_and_no_other(tmp_path: Path) -> None:
    text = _with("  - id: a\n    wait: 1 day\n", head="entry:\n  when: customer.visits > 3\n")
    loaded = load_one(tmp_path, text, catalogue_dot_yaml="attributes: {visits: number, colour: text}\n")
    assert loaded.definition.catalogue == {"visits": "number"}


def test_a_wrong_workflow_does_not_hide_the_others(tmp_path: Path) -> None:
    project = load_files(
        tmp_path, {"hello/workflow.yaml": SIX_LINES, "hello/hello.html": "Hi", "broken/workflow.yaml": "workflow: broken\nsteps: [\n"}
    )
    assert [loaded.workflow.id for loaded in project.workflows] == ["hello"]
    assert [problem.file.parent.name for problem in project.errors] == ["broken"]


def test_no_project_says_what_was_expected(tmp_path: Path) -> None:
    project = load_project(tmp_path / "nowhere")
    assert project.workflows == []
    [problem] = project.problems
    assert str(problem) == (
        f"{tmp_path}/nowhere: error: expected the folder of a project, with a folder a workflow (hello/workflow.yaml), found none; "
        "set JOURNEYS_PROJECT to it"
    )


def test_a_folder_with_yaml_of_another_name_is_not_silent(tmp_path: Path) -> None:
    [problem] = load_files(tmp_path, {"hello/workflow.yml": SIX_LINES}).errors
    assert "expected workflow.yaml in this folder, found workflow.yml; rename it" in str(problem)


def test_an_expression_over_several_lines_is_reported_on_its_own_line(tmp_path: Path) -> None:
    text = _with("  - id: a\n    wait: 1 day\n", head="entry:\n  when: |\n    customer.country == 'DE'\n    and custmer.plan == 'x'\n")
    [error] = load_files(tmp_path, {"hello/workflow.yaml": text}).errors
    assert (error.line, error.column) == (7, 0)
    assert "custmer" in error.message


def test_an_expression_on_one_line_is_reported_at_its_column(tmp_path: Path) -> None:
    for written in ("customer.country == 'DE' and custmer.plan == 'x'", "\"customer.country == 'DE' and custmer.plan == 'x'\""):
        text = _with("  - id: a\n    wait: 1 day\n", head=f"entry:\n  when: {written}\n")
        [error] = load_files(tmp_path, {"hello/workflow.yaml": text}).errors
        assert error.line == 5
        assert text.splitlines()[4][error.column - 1 :].startswith("custmer")


def test_a_file_of_comments_counts_as_absent(tmp_path: Path) -> None:
    project = load_files(tmp_path, dict.fromkeys(("policies.yaml", "catalogue.yaml", "sources.yaml"), "# nothing yet\n"))
    assert project.problems == []
    assert project.catalogue.events is None


def test_policies_have_defaults_and_a_project_needs_none(tmp_path: Path) -> None:
    policies = load_files(tmp_path, {"hello/workflow.yaml": SIX_LINES, "hello/hello.html": "Hi"}).policies
    assert (policies.consent, policies.zone, policies.brand, policies.sender.from_address) == ({}, "UTC", {}, None)
    assert (str(policies.expires.marketing), str(policies.expires.transactional)) == ("1 day", "3 days")
    assert (policies.retry.attempts, str(policies.retry.backoff), str(policies.retry.max_backoff)) == (3, "1 minute", "1 hour")


def test_the_breaker_of_the_policies(tmp_path: Path) -> None:
    assert (Breaker().factor, Breaker().minimum) == (10, 500)
    policies = load_files(tmp_path, {"policies.yaml": "breaker: {factor: 2.5, minimum: 50}\n"}).policies
    assert policies.breaker == Breaker(factor=2.5, minimum=50)


def test_a_source_is_read_with_its_columns(tmp_path: Path) -> None:
    sources = """\
sources:
  shop_orders:
    table: shop.orders
    id: order_id
    customer_id: customer_id
    type_column: kind
    occurred_at: placed_at
    cursor: updated_at
    overlap: 0 seconds
"""
    project = load_files(tmp_path, {"sources.yaml": sources})
    assert not messages(project)
    source = project.sources["shop_orders"]
    assert (source.table, source.type, source.type_column, source.payload) == ("shop.orders", None, "kind", ())
    assert source.overlap.elapsed().total_seconds() == 0


_SMS = "    do:\n      - send_sms: {text: A}\n"


@pytest.mark.parametrize(
    ("tail", "warning"),
    [
        ("  - id: a\n    wait: 1 day\n", "no goal"),
        ("  - id: a\n    wait: 1 day\n", "no exit"),
        (f"  - id: a\n{_SMS}      - send_push: {{title: A, text: B}}\n", "two messages at once (send_sms, send_push)"),
        (
            f"  - id: a\n{_SMS}  - id: b\n    do:\n      - add_to_segment: x\n  - id: c\n{_SMS}",
            "step c: sends right after step a without a wait",
        ),
        (
            f"  - id: a\n{_SMS}  - id: b\n    wait: 1 day\n    next:\n      - when: opened('a')\n        to: end\n      - else: end\n",
            "branches on opens",
        ),
        ("  - id: a\n    wait: {for: message.opened, timeout: 1 day}\n", "waits for opens"),
    ],
)
def test_warnings_do_not_stop_a_deploy(tmp_path: Path, tail: str, warning: str) -> None:
    project = load_files(tmp_path, {"hello/workflow.yaml": _with(tail)})
    assert not messages(project)
    assert len(project.workflows) == 1
    assert any(warning in problem.message for problem in project.warnings)
    assert all(": warning: " in str(problem) for problem in project.warnings)
