"""The truth table of the language, row by row, in Jinja: the differential test holds SQL to it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from journey_pipelines.expressions import ExpressionError, letters, values
from journey_pipelines.expressions.environment import MissingValue, customer_names, evaluate, event_names, make_environment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES: dict[str, Any] = {
    "customer": customer_names(
        {
            "first_name": "Zoë",
            "lifetime_value": Decimal("12.50"),
            "created_at": NOW,
            "attributes": {"plan": "gold", "score": "7", "renewal": "2026-02-28", "late": "2026-02-30", "tags": ["a", 1], "upper": "mine"},
        },
        {"plan": "text", "score": "number", "renewal": "date", "late": "date"},
    ),
    "event": event_names(
        "cart",
        NOW,
        {
            "total": 100.1, "one": 1, "text": "100", "yes": True, "nothing": None, "empty": "", "none_left": [], "items": [1, {"price": 5}],
            "box": {"k": 0}, "values": "v", "huge": 10**15, "nan": float("nan"), "zero": 0, "at": "2026-03-01T12:00Z",
        },
    ),
    "arrived": None,
    "now": NOW,
}  # fmt: skip

TABLE = {
    # missing = null = undefined
    "event.nothing == none": False,
    "event.nothing != none": True,
    "event.absent == event.absent": False,
    "event.absent != 1": True,
    "event.absent < 1": False,
    "not event.absent < 1": True,
    "event.nothing is defined": False,
    "event.absent is undefined": True,
    "event.absent is none": True,
    "event.absent | default('x')": "x",
    "event.nothing | default('x')": "x",
    "event.empty | default('x')": "",
    "event.empty | default('x', true)": "x",
    "event.absent.deeper[3].still": None,
    "event.huge": None,
    "event.nan is defined": False,
    # different kinds
    "event.total == '100.1'": False,
    "event.text == 100": False,
    "event.text != 100": True,
    "event.yes == 1": False,
    "event.yes == true": True,
    "event.one == true": False,
    "event.text < 200": False,
    "event.items == 1": False,
    # in and not in
    "1 in event.items": True,
    "'1' in event.items": False,
    "'1' not in event.items": True,
    "'k' in event.box": True,
    "0 in event.box": False,
    "'0' in event.text": True,
    "0 in event.text": False,
    "event.absent in ['a', none]": False,
    "event.absent not in ['a']": True,
    "event.absent not in event.absent": True,
    "'' in event.text": True,
    "event.one in [true, 1]": True,
    "event.yes in [1]": False,
    # truth
    "event.items and true": True,
    "not event.none_left": True,
    "not event.box": False,
    "not event.zero": True,
    "not event.empty": True,
    "not arrived": True,
    "arrived is defined": False,
    "event is defined": True,
    "event.absent or 'x'": "x",
    "event.one and 'x'": "x",
    "event.one if arrived else 'nobody'": "nobody",
    "event.one if arrived": None,
    # keys before attributes
    "event.items | length": 2,
    "event.items[1].price": 5,
    "event.items[-2]": 1,
    "event['items'][0]": 1,
    "event.values": "v",
    "event.keys": None,
    "customer.upper": "mine",
    "event.text.upper": None,
    "event.type": "cart",
    # numbers
    "0.1 + 0.2 == 0.3": True,
    "event.total * 3": Decimal("300.3"),
    "1 / 3": Decimal("0.333333333333"),
    "-2 / 3": Decimal("-0.666666666667"),
    "1 / 0": None,
    "event.one / event.zero": None,
    "(1 / 0) == (1 / 0)": False,
    "999999999999999 * 10": None,
    "event.text + 1": None,
    "event.yes + 1": None,
    "-event.one": -1,
    "-event.text": None,
    "2.5 | round": 3,
    "-2.5 | round": -3,
    "2.345 | round(2)": Decimal("2.35"),
    "'12.9' | int": 12,
    "-12.9 | int": -12,
    "'x' | int": None,
    "true | int": None,
    "'.5' | float": Decimal("0.5"),
    "1 < event.one + 1 < 3": True,
    "3 > 2 > 2": False,
    # text
    "'Z' < 'a'": True,
    "'z' < 'ä'": True,
    "'ÄRGER' | lower": "ärger",
    "'straße' | upper": "STRAßE",
    "' \t x \u00a0' | trim": "x",
    "5 | lower": None,
    "'a' ~ 1.50 ~ true": "a1.5true",
    "'a' ~ event.absent": None,
    "'e\u0301' | length": 2,
    "event.one | string_length": ExpressionError,
    # times
    "customer.renewal < now": True,
    "customer.renewal == '2026-02-28'": True,
    "customer.late is defined": False,
    "event.at == now": True,
    "event.at is string": True,
    "now is string": False,
    "now | date": "2026-03-01",
    "now | date('%e %B %Y, %H:%M %%')": "1 March 2026, 12:00 %",
    "'today' == now": False,
    "event.occurred_at >= now": True,
    # what a catalogue declares is that or missing
    "customer.score": None,
    "customer.tags": ["a", 1],
    "customer.lifetime_value == 12.5": True,
    "event.one is number": True,
    "event.yes is number": False,
    "event.text is string": True,
}


@pytest.mark.parametrize("text", TABLE)
def test_the_truth_table(text: str) -> None:
    expected = TABLE[text]
    if expected is ExpressionError:
        with pytest.raises(ExpressionError):
            evaluate(text, NAMES)
        return
    found = evaluate(text, NAMES)
    assert found == expected
    assert (found is None) is (expected is None)
    assert isinstance(found, bool) is isinstance(expected, bool)


@pytest.mark.parametrize("text", [text for text, value in TABLE.items() if value is not ExpressionError])
def test_templates_follow_the_same_truth(text: str) -> None:
    environment = make_environment()
    expected = TABLE[text]
    branch = environment.from_string("{% if (" + text + ") %}yes{% else %}no{% endif %}").render(NAMES)
    assert branch == ("yes" if values.truth(expected) else "no")
    assert environment.from_string("{{ " + text + " }}").render(NAMES) == (values.text_of(expected) or "")


@pytest.mark.parametrize("operator", ["==", "<", "<=", ">", ">=", "in"])
def test_every_pair_of_kinds_has_an_answer_and_negations_are_exact(operator: str) -> None:
    every_kind = ["none", "event.absent", "event.nothing", "1", "'1'", "true", "now", "event.items", "event.box"]
    for left, right in itertools.product(every_kind, every_kind):
        answer = evaluate(f"{left} {operator} {right}", NAMES)
        assert isinstance(answer, bool)
        negation = {"==": f"{left} != {right}", "in": f"{left} not in {right}"}.get(operator, f"not {left} {operator} {right}")
        assert evaluate(negation, NAMES) is (not answer), negation


def test_a_template_that_writes_something_missing_fails_with_its_name_and_line() -> None:
    strict = make_environment(strict=True, autoescape=True)
    with pytest.raises(MissingValue) as caught:
        strict.from_string("Hello,\n{% if true %}\n  {{ customer.nickname }}{% endif %}").render(NAMES)
    assert (caught.value.name, caught.value.line) == ("customer.nickname", 3)
    assert "customer.nickname is missing and has no default" in str(caught.value)
    assert strict.from_string("{{ customer.nickname | default('you') }}").render(NAMES) == "you"


def test_a_template_escapes_what_it_writes_and_joins() -> None:
    page = make_environment(autoescape=True)
    names = {"customer": {"first_name": "<b>"}, "event": {"items": [{"name": "a&b"}, None]}, "brand": {"logo": Markup("<i>")}}
    assert (
        page.from_string("{{ customer.first_name ~ '!' }}{{ brand.logo ~ customer.first_name }}").render(names) == "&lt;b&gt;!<i>&lt;b&gt;"
    )
    loop = "{% for item in event.items %}{{ loop.index }} {{ item.name | default('-') }};{% endfor %}"
    assert page.from_string(loop).render(names) == "1 a&amp;b;2 -;"
    assert page.from_string("{% for x in event.absent %}x{% else %}none{% endfor %}").render(names) == "none"


@pytest.mark.parametrize(
    "escape",
    [
        "{{ ''.__class__ }}",
        "{{ customer.__class__.__mro__ }}",
        "{{ event['__class__'] }}",
        "{{ now.__reduce__ }}",
        "{{ customer.items }}",
        "{{ 'a'.format }}",
    ],
)
def test_nothing_of_python_can_be_reached(escape: str) -> None:
    assert make_environment().from_string(escape).render(NAMES) == ""


def test_no_function_of_python_can_be_called() -> None:
    with pytest.raises(UndefinedError, match="no attribute 'upper'"):
        make_environment().from_string("{{ event.text.upper() }}").render(NAMES)
    assert make_environment().globals == {}


def test_letters_change_case_one_by_one() -> None:
    assert all(len(letters.lower(c)) == 1 == len(letters.upper(c)) for c in map(chr, range(0x20, 0x2000)))
    assert letters.lower("ÄÖÜ ΑΒΓ ЖЗ Ǆ ẞ İ") == "äöü αβγ жз ǆ ß İ"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2026-02-28T09:30", datetime(2026, 2, 28, 9, 30, tzinfo=UTC)),
        ("2026-02-28 09:30:15.5+01:30", datetime(2026, 2, 28, 8, 0, 15, 500_000, tzinfo=UTC)),
        ("2024-02-29T23:59:59Z", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("2026-02-30", None),
        ("2026-13-01", None),
        ("2026-02-28T24:00", None),
        ("2026-02-28T09:30:59.9999999", None),
        ("now", None),
        ("infinity", None),
        ("٢٠٢٦-٠٢-٢٨", None),
        ("2026-02-28T09:30+16:00", None),
        ("0001-01-01", None),
        ("2026-02-28 ", None),
    ],
)
def test_times_are_read_from_iso_only(text: str, expected: datetime | None) -> None:
    assert values.parse_time(text) == expected
