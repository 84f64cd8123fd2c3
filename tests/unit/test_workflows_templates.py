"""Templates: what they name is read from their tree, and the shipped ones render for the barest customer there is."""

import re
from pathlib import Path

import pytest
from jinja2 import DictLoader
from workflow_files import SIX_LINES, load_files, messages, workflow

from journey_pipelines.expressions.environment import make_environment
from journey_pipelines.workflows.load import load_project
from journey_pipelines.workflows.templates import names_of

SHIPPED = Path(__file__).parents[2] / "workflow_defs"


def test_uses_are_told_apart_by_whether_missing_matters() -> None:
    names = names_of(
        "{{ customer.a }}{{ customer.b | default('x') }}{% if customer.c %}{{ customer['d'].e | upper }}{% endif %}"
        "{{ 1 if customer.f is defined else customer.g }}{{ customer.h | lower | default('x') }}"
    )
    assert {use.key for use in names.uses if use.safe} == {"b", "c", "f", "h"}
    assert {use.key for use in names.uses if not use.safe} == {"a", "d", "g"}
    assert names.troubles == []


def test_times_that_are_written_as_they_are(tmp_path: Path) -> None:
    """A customer would read 2026-03-01T00:00:00Z."""
    page = "{{ customer.renewal }}{{ customer.renewal | date }}{% if customer.renewal %}{{ customer.plan }}{% endif %}"
    page += "{{ customer.created_at | default('-') }}"
    call = """      - webhook_call: {url: https://x.example/a, body: {day: "{{ customer.renewal }}"}}\n"""
    files = {
        "hello/workflow.yaml": SIX_LINES + call,
        "hello/hello.html": page,
        "catalogue.yaml": "attributes: {renewal: date, plan: text}\n",
    }
    said = sorted(problem.message for problem in load_files(tmp_path, files).warnings if "is a time" in problem.message)
    assert said == [
        f"customer.{key} is a time and is written as 2026-03-01T00:00:00Z: write {{{{ customer.{key} | date('%d.%m.%Y') }}}}"
        for key in ("created_at", "renewal")
    ]


def test_names_a_template_sets_are_its_own() -> None:
    text = "{% set x = event.a %}{% for y in event.b %}{{ x }}{{ y.c }}{{ loop.index }}{% endfor %}"
    names = names_of(text + "{% macro m(z) %}{{ z }}{% endmacro %}{{ m(1) }}")
    assert names.keys("event") == {"a", "b"}
    assert names.free.keys() == {"event"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ customer }}", "'customer' stands alone; name what of it, such as customer.first_name"),
        ("{{ event[customer.key] }}", "event[...] needs a name in quotes"),
        ("{% set event = 1 %}", "'event' is given by the engine"),
        ("{% include name %}", "a template is named by its text"),
        ("{{ x | nofilter }}", "nofilter"),
        ("{% if %}", "Expected an expression"),
        ("{{ 'a' ** 9 }}", "** is not in the language"),
        ("{{ range(9) }}", None),
    ],
)
def test_what_cannot_be_checked_is_refused(text: str, said: str | None) -> None:
    names = names_of(text)
    if said is None:
        assert names.free.keys() == {"range"}
    else:
        assert any(said in trouble.message for trouble in names.troubles), names.troubles


def test_a_template_may_be_shared_but_not_doubled(tmp_path: Path) -> None:
    shared = {"hello/workflow.yaml": SIX_LINES, "partials/hello.html": "shared"}
    assert messages(load_files(tmp_path / "a", shared)) == []
    [problem] = load_files(tmp_path / "b", {**shared, "hello/hello.html": "own"}).errors
    assert "partials/ has a file called hello.html too; rename one of the two" in str(problem)


def test_a_template_stays_inside_the_project(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    own = "{% include '../../secret.txt' %}{% include '/etc/hostname' %}{% include '../other/secret.txt' %}{% include 'link.txt' %}"
    files = {"hello/workflow.yaml": SIX_LINES, "hello/hello.html": own, "other/secret.txt": "secret"}
    (tmp_path / "project" / "hello").mkdir(parents=True)
    (tmp_path / "project" / "hello" / "link.txt").symlink_to(tmp_path / "secret.txt")
    errors = load_files(tmp_path / "project", files).errors
    assert len(errors) == 4
    assert all("found none" in problem.message for problem in errors)


def test_unsubscribe_url_is_there_when_the_brand_gives_one(tmp_path: Path) -> None:
    files = {"hello/workflow.yaml": SIX_LINES, "hello/hello.html": "{{ unsubscribe_url }}"}
    assert [problem.line for problem in load_files(tmp_path / "a", files).errors] == [1]
    with_brand = {**files, "policies.yaml": "brand: {unsubscribe_url: https://example.org/u}\n"}
    assert messages(load_files(tmp_path / "b", with_brand)) == []


@pytest.mark.parametrize("text", ["{{ steps.score.response.grade | default('?') }}", "{{ 'x' if clicked('only') }}"])
def test_what_only_conditions_know_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    step = f'  - id: only\n    do:\n      - send_sms: {{text: "{text}"}}\n'
    [problem] = load_files(tmp_path, {"hello/workflow.yaml": workflow(step)}).errors
    name = "steps" if "steps" in text else "clicked"
    assert f"nothing provides '{name}'. It is for conditions and for the texts of tasks, events and profiles" in problem.message
    assert problem.message.endswith("can use arrived, brand, current_date, customer, event, journey or message")


def _shipped() -> list[tuple[str, str, dict[str, str], dict[str, object]]]:
    project = load_project(SHIPPED)
    partials = {path.name for path in (SHIPPED / "partials").iterdir()}
    return [
        (loaded.workflow.id, name, dict(loaded.definition.templates), dict(project.policies.brand))
        for loaded in project.workflows
        for name in loaded.definition.templates
        if name not in partials
    ]


@pytest.mark.parametrize(("workflow", "name", "templates", "brand"), _shipped(), ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("customer", [{"customer_id": "c1"}, {"customer_id": "c 2", "first_name": 'Tom <b> "&"', "lifetime_value": 900}])
def test_shipped_templates_render_for_everybody(
    workflow: str, name: str, templates: dict[str, str], brand: dict[str, object], customer: dict[str, object]
) -> None:
    environment = make_environment(autoescape=name.endswith(".html"), strict=True, loader=DictLoader(templates))
    text = environment.get_template(name).render(customer=customer, event={}, arrived={}, journey={}, brand=brand, message={})
    assert not re.search(r"Hi ,|Hello ,|\bNone\b|\{\{|  things", text)
    if name.endswith(".html"):
        assert "<b>" not in text
        assert 'name="viewport"' in text
    if name != "onboarding.txt":
        assert "https://shop.example/unsubscribe?customer=c" in text


def test_every_shipped_mail_has_a_text_part() -> None:
    for loaded in load_project(SHIPPED).workflows:
        for _, action in loaded.workflow.actions():
            if action.kind == "send_email":
                assert f"{action.params['template']}.txt" in loaded.definition.templates
