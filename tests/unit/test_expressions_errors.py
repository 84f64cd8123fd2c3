"""What a person reads when an expression is wrong: the place, what was found, what to write."""

from __future__ import annotations

from typing import Any

import pytest

from journey_pipelines.expressions import (
    Catalogue,
    ExpressionError,
    analyse,
    analyse_text,
    compile_condition,
    compile_text,
    compile_value,
    names,
)
from journey_pipelines.expressions.scope import placeholder_scope
from journey_pipelines.workflows.events import BUILT_IN_EVENTS

CATALOGUE = Catalogue(attributes={"plan": "text", "renewal": "date"}, event_types={"purchase", "cart_updated"}, segments={"vip"})

WRONG = {
    "custmer.plan == 'gold'": (1, 1, "unknown name 'custmer'. Did you mean 'customer'?"),
    "event.total = 5": (1, 13, "expected the end of the expression, got '='. Equality is written ==."),
    "event.total > 5 && arrived": (1, 17, "unexpected char '&'. Write and."),
    "event.a and\n  event.b AND event.c": (2, 11, "got 'AND'. Write and, in lower case."),
    "customer.plan == gold": (1, 18, "unknown name 'gold'. A text is written in quotes: 'gold'."),
    "first_name == 'Ann'": (1, 1, "Did you mean 'customer.first_name'?"),
    "plan == 'gold'": (1, 1, "Did you mean 'customer.plan'?"),
    "customer.plann == 'gold'": (1, 1, "the catalogue declares no attribute 'plann'. Did you mean 'plan'?"),
    "customer.first_name.x": (1, 1, "customer.first_name has no parts"),
    "customer.plan.x": (1, 1, "declared as text and has no parts"),
    "customer": (1, 1, "customer is not a value: name one of its fields, such as customer.first_name"),
    "arrived == 1": (1, 1, "arrived as a whole can only be asked for"),
    "journey.entry == now": (1, 1, "journey has no entry."),
    "now.year == 2026": (1, 1, "now is a point in time and has no parts"),
    "has_evnt('purchase')": (1, 1, "unknown function 'has_evnt'. Did you mean 'has_event'?"),
    "has_event": (1, 1, "has_event is a function: write has_event('purchase'"),
    "has_event()": (1, 1, "has_event takes 1 argument, got 0"),
    "has_event('purchas')": (1, 11, "unknown event type 'purchas'. Did you mean 'purchase'?"),
    "has_event(event.type)": (1, 11, "the event type is a text written out"),
    "has_event('purchase', withn='7 days')": (1, 29, "has_event has no argument 'withn'. Did you mean 'within'?"),
    "has_event('purchase', within='7 dayz')": (1, 30, "'dayz' is no unit"),
    "has_event('purchase', within='1 month')": (1, 30, "months have no fixed length here"),
    "has_event('purchase', within=7)": (1, 30, "write the unit"),
    "has_event('purchase', since='entree')": (1, 29, "since is 'entry', 'step' or a time"),
    "has_event('purchase', when='event.total >')": (1, 41, "in when=: unexpected 'end of template'"),
    "has_event('purchase', when='evnt.total > 1')": (1, 29, "in when=: unknown name 'evnt'. Did you mean 'event'?"),
    "has_event('purchase', when='has_event(\\'purchase\\')')": (1, 29, "in when=: has_event cannot stand inside when="),
    "in_segment('vp')": (1, 12, "unknown segment 'vp'. Did you mean 'vip'?"),
    "in_workflow(event.type)": (1, 13, "in_workflow: the workflow is a text written out"),
    "in_workflw('welcome')": (1, 1, "unknown function 'in_workflw'. Did you mean 'in_workflow'?"),
    "in_workflow == 1": (1, 1, "in_workflow is a function: write in_workflow('welcome')."),
    "steps": (1, 1, "steps is not a value: name one of its fields, such as steps.score.response.grade"),
    "step.score.status == 200": (1, 1, "unknown name 'step'. Did you mean 'steps'?"),
    "steps('score').status == 200": (1, 1, "a key can only be read from a name"),
    "event.n > 1 and steps('score')": (1, 17, "steps is no function: write steps.score.response.grade"),
    "steps[0].status == 200": (1, 1, "steps[0]: a step is named by its id, such as steps.score.response.grade"),
    "steps[''].status == 200": (1, 1, "steps['']: a step is named by its id"),
    "steps.score == 'A'": (1, 1, "steps.score as a whole can only be asked for (when: steps.score); name what came of it"),
    "steps.score.respons.grade == 'A'": (1, 1, "the result of a step has no 'respons'. Did you mean 'response'?"),
    "steps.call.outcomes == 'won'": (1, 1, "the result of a step has no 'outcomes'. Did you mean 'outcome'?"),
    "steps.score.grade == 'A'": (1, 1, "What a webhook answered is under response: steps.score.response.grade."),
    "steps.response.grade == 'A'": (
        1,
        1,
        "steps.response.grade names no step: write steps.STEP.response, with the step's id in the middle",
    ),
    "steps.score.status.code == 200": (1, 1, "steps.score.status has no parts"),
    "has_event('purchase', when='steps.score.grade')": (1, 29, "in when=: the result of a step has no 'grade'."),
    "has_event('webhook.answerd')": (1, 11, "unknown event type 'webhook.answerd'. Did you mean 'webhook.answered'?"),
    "add(now, 'soon')": (1, 10, "expected a duration"),
    "lower('A') == 'a'": (1, 1, "lower is a filter: write value | lower."),
    "event.x | lowr": (1, 11, "unknown filter 'lowr'. Did you mean 'lower'?"),
    "event.x | round(20)": (1, 17, "round takes a number of decimals from 0 to 10"),
    "event.x | default": (1, 1, "the filter default takes 1 to 2 arguments, got 0"),
    "event.x | date('%Q')": (1, 16, "got %Q"),
    "event.x is defned": (1, 9, "unknown test 'defned'. Did you mean 'defined'?"),
    "'a' + 'b' == event.x": (1, 1, "'a' is text: texts are joined with ~"),
    "event.x // 2": (1, 1, "// is not in the language"),
    "event.x[1:2]": (1, 1, "a key in [ ] is a text or a number written out"),
    "event.x[event.y]": (1, 1, "a key in [ ] is a text or a number written out"),
    "event.x.upper() == 'A'": (1, 1, "only the functions of the language can be called"),
    "[1, 2] == event.x": (1, 1, "a list can only stand on the right of in or not in"),
    "{'a': 1} == event.x": (1, 1, "a mapping cannot be written here"),
    "event.x > 1000000000000000": (1, 11, "at most 15 digits before the point"),
    "event.x > 1e999": (1, 11, "at most 15 digits before the point"),
    "event.x == 'a\\x00'": (1, 12, "the character NUL"),
    "event.x == '\\ud800'": (1, 12, "half of a surrogate pair"),
    "event.x == null": (1, 12, "what is missing is written none"),
    "(event.x": (1, 8, "expected ')'"),
    "": (1, 1, "expected an expression, got nothing"),
    "event.x | default(now) == now": (1, 1, "is a time in one case and no time in the other"),
}


@pytest.mark.parametrize("text", WRONG)
def test_the_message(text: str) -> None:
    line, col, message = WRONG[text]
    errors = analyse(text, CATALOGUE).errors
    assert errors
    assert message in errors[0].message
    assert (errors[0].line, errors[0].col) == (line, col)


def test_all_errors_at_once_in_reading_order() -> None:
    errors = analyse("custmer.a == 1\nand event.b | lowr == foo(3)\nand has_event('x', within='9 lives')", CATALOGUE).errors
    assert [error.line for error in errors] == [1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    "text",
    [
        None,
        5,
        True,
        ["a"],
        "x" * 20_001,
        "(" * 5_000,
        "not " * 4_900 + "event.x",
        "event" + ".a" * 9_000,
        "\x00",
        "{{ event.x }}",
        "1 +",
        "'",
    ],
)
def test_analysis_never_raises(text: Any) -> None:
    assert analyse(text).errors
    assert analyse_text(text).errors or isinstance(text, str)


def test_what_is_named() -> None:
    found = analyse(
        "customer.plan == 'gold' and customer.first_name and event.total > 1 and event.address.city == arrived.city"
        " and arrived.type == 'purchase'"
        " and has_event('purchase', when='event.total > 1 and customer.country == brand.country and in_segment(\\'vip\\')')"
        " and clicked('remind') and in_segment('vip')",
        CATALOGUE,
    )
    assert found.errors == []
    assert found.customer_fields == {"plan", "first_name", "country"}
    assert found.event_keys == {"total", "address"}
    assert found.arrived_keys == {"city", "type"}
    assert found.brand_keys == {"country"}
    assert found.event_types == {"purchase", "message.clicked"}
    assert found.segments == {"vip"}
    assert found.steps == {"remind"}
    assert found.uses_arrived
    assert found.names == {"customer", "event", "arrived", "brand"}


def test_results_of_steps_and_workflows_are_named_also_inside_when() -> None:
    found = analyse(
        "steps.score.response.grade == 'A' and steps.call and in_workflow('welcome')"
        " and has_event('segment.entered', when='steps[\\'late\\'].status == 200 or in_workflow(\\'winback\\')')",
        CATALOGUE,
    )
    assert found.errors == []
    assert found.step_results == {"score", "call", "late"}
    assert found.workflows == {"welcome", "winback"}
    assert found.steps == set()
    assert found.event_types == {"segment.entered"}
    assert found.names == {"steps"}


def test_every_built_in_event_type_is_known() -> None:
    written = [*(f"message.{what}" for what in ("accepted", "unsubscribed")), "webhook.answered", "task.done", "journey.entered"]
    for name in (*written, "journey.ended", "segment.entered", "segment.left"):
        assert analyse(f"has_event('{name}')", CATALOGUE).errors == []
    assert analyse("has_event('journey.left')", CATALOGUE).errors
    # workflows know the payloads too: of the same types, and of what steps.<id> can name
    assert BUILT_IN_EVENTS.keys() == names.BUILT_IN_EVENTS
    assert set(names.STEP_RESULTS) == {key for name in names.STEP_EVENTS for key in BUILT_IN_EVENTS[name]}


def test_texts_name_things_too_and_take_no_statements() -> None:
    assert analyse_text("Call {{ customer.first_name | default('x') }} about {{ event.total }}").event_keys == {"total"}
    wrong = analyse_text("Hi {{ custmer.first_name }}{% if event.x %}!{% endif %}").errors
    assert [error.message for error in wrong] == [
        "unknown name 'custmer'. Did you mean 'customer'?",
        "only {{ }} is possible here, not {% %}",
    ]
    assert wrong[0].col == 7


def test_compiling_raises_what_analysis_lists() -> None:
    scope = placeholder_scope()
    for compiling, text in (
        (compile_condition, "evnt.x"),
        (compile_value, "arrived"),
        (compile_text, "{{ evnt.x }}"),
        (compile_text, "{% if x %}{% endif %}"),
    ):
        with pytest.raises(ExpressionError):
            compiling(text, scope)


def test_without_a_catalogue_every_attribute_segment_and_event_type_is_taken() -> None:
    assert analyse("customer.anything.at.all and in_segment('x') and has_event('y')").errors == []
    assert analyse("customer.anything == 1", {"plan": "text"}).errors
