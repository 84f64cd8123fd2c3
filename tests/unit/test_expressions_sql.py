"""What the compiled SQL may and may not contain."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

import journey_pipelines.store
from journey_pipelines.expressions import ExpressionError, compile_condition, compile_recheck, compile_text, compile_value, letters
from journey_pipelines.expressions.scope import placeholder_scope

SCOPE = placeholder_scope({"plan": "text", "score": "number", "vip": "bool", "renewal": "date"})
EVERYTHING = [
    "customer.plan == 'gold' and customer.score >= 2.5 or customer.vip and customer.renewal < now",
    "event.x == event.y and event.x < event.y and event.x in event.y and 'a' in event.x and now in event.x and event.x in ['a', 1, none]",
    "not (event.x != 1) and event.x not in customer.plan",
    "(event.a + event.b) * 2 / event.c - 1 > -event.d and event.a ~ 'x' ~ event.b == 'y'",
    "event.s | lower | upper | trim == 's' and event.l | length > 1 and event.n | int == event.n | float | round(1)",
    "event.t | date('%d.%m.%Y \"%%\\\\') == 'x' and event.x | default('a') == 'b' and event.x | default('a', true) == 'b'",
    "event.x is defined and event.x is none and event.x is string and event.x is number and arrived is defined",
    "(event.a if arrived else event.b) == 1 and (event.a or event.b) == 2",
    "has_event('purchase') and event_count('purchase') > 1 and last_event('purchase') > now and event_sum('purchase', 'total') > 1",
    "has_event('a', within='7 days', since='entry', when='event.total > 10')",
    "event_count('a', since='step') > event_sum('a', 'b', since=event.t)",
    "in_segment('vip') and opened('a') and clicked('a', 'b') and replied('a') and bounced('a')",
    "in_workflow('welcome') and steps.score and steps.score.response.grade == 'A' and steps['call'].outcome is defined and not steps.never",
    "days_since(event.t) > 1 and days_until(customer.renewal) < 2 and add(event.t, '7 days') > now",
    "local_hour() > 8 and local_weekday() == 'mon'",
    "now > event.t and add(now, '1 day') <= customer.renewal and has_event('a', within='2 days', when='days_until(event.t) < 2')",
    "journey.visit == 1 and journey.entered_at < now and journey.trigger == 'x' and arrived.type == 'y' and event.o.k[0]['z'] == 1",
]


def sql_of(element: sa.ColumnElement[Any]) -> str:
    return str(element.compile(dialect=postgresql.dialect()))


def test_no_statement_asks_the_wall_clock_or_matches_patterns() -> None:
    forbidden = re.compile(
        r"\b(now\s*\(|current_(timestamp|date|time)|localtime|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|i?like\b|similar|~)",
        re.IGNORECASE,
    )
    for text in EVERYTHING:
        compiled = compile_condition(text, SCOPE)
        again = compile_recheck(text, SCOPE)
        for element in (compiled.sql, compiled.as_jsonb(), *compiled.values.values(), *(() if again is None else (again,))):
            assert not forbidden.search(sql_of(element)), text


def test_every_text_and_number_is_a_bound_parameter() -> None:
    hostile = "x'; DROP TABLE y; --"
    forms = [
        "event.a == {}",
        "event[{}] == 4242",
        "has_event({})",
        "in_segment({})",
        "in_workflow({})",
        "steps[{}]",
        "steps.a.response[{}] == 1",
    ]
    compiled = compile_condition(" or ".join(form.format(f'"{hostile}"') for form in forms), SCOPE)
    assert len(compiled.values) == len(forms)
    text = sql_of(compiled.sql)
    assert "DROP" not in text
    assert "4242" not in text
    bound = list(compiled.sql.compile(dialect=postgresql.dialect()).params.values())
    assert hostile in bound and Decimal(4242) in bound and ["response", hostile] in bound
    again = compile_recheck(f'now > event["{hostile}"] or has_event("{hostile}", within="1 day")', SCOPE)
    assert again is not None
    assert "DROP" not in sql_of(again)


def test_casts_are_made_by_total_functions_only() -> None:
    # casts of columns that cannot fail: counts and keys to numeric, and our own durations to interval
    total = r"count\(\*\)|visit|id|customer_event_stats_\d+\.n|EXTRACT\(.*\)|%\(\w+\)s(::\w+)?|length\(.*\)|trim_scale\(.*\)|.* IS true"
    allowed = re.compile(rf"CAST\(({total}) AS ")
    for text in EVERYTHING:
        for cast in re.findall(r"CAST\(.*?\sAS\s", sql_of(compile_condition(text, SCOPE).sql)):
            assert allowed.match(cast), f"{cast} in {text}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / 0 == 1", "false"),
        ("not (1 / 0 == 1)", "true"),
        ("'x' | int == 1 or 1 == 1", "true"),
        ("999999999999999 * 999999999999999 > 1", "false"),
        ("'2026-02-30' < now", "false"),
        ("add('9999-12-28', '7 days') is defined", "false"),
        ("event.x == none", "false"),
        ("event.x > 1 and false", "false"),
        ("event.x > 1 or true", "true"),
        ("'now' | date == event.x", "false"),
        ("customer.plan + 1 > 0 and event.x == none + 1", "false"),
    ],
)
def test_what_needs_no_row_is_worked_out_here(text: str, expected: str) -> None:
    assert sql_of(compile_condition(text, SCOPE).sql) == expected


def test_truth_is_settled_under_not_and_in_select_lists_only() -> None:
    compiled = compile_condition("customer.country == 'DE' and event.x > 1", SCOPE)
    assert " IS true" not in sql_of(compiled.sql)
    assert sql_of(compiled.as_jsonb()).count(" IS true") == 1
    assert sql_of(compile_condition("not customer.country == 'DE'", SCOPE).sql).endswith("IS NOT true")


def test_text_is_ordered_by_code_point_and_found_by_position() -> None:
    assert sql_of(compile_condition("customer.country < event.x", SCOPE).sql).count('COLLATE "C"') == 2
    assert "strpos(" in sql_of(compile_condition("event.x in customer.country", SCOPE).sql)


def test_typed_columns_first_then_attributes() -> None:
    assert sql_of(compile_value("customer.country", SCOPE).sql) == "customer_profiles.country"
    assert "attributes ->" in sql_of(compile_value("customer.plan", SCOPE).sql)
    kinds = {"country": "text", "lifetime_value": "num", "created_at": "ts", "plan": "text", "vip": "bool", "misc": "json"}
    assert {name: compile_value(f"customer.{name}", SCOPE).type for name in kinds} == kinds


def test_the_values_a_condition_names() -> None:
    compiled = compile_condition(
        "customer.lifetime_value > 1 and event.total / 2 in [1, event.x.y] and arrived and has_event('purchase', within=\"7 days\")"
        " and now > days_since(event.t)"
        " and has_event('a', when='event.inner == customer.country')",
        SCOPE,
    )
    assert set(compiled.values) == {
        "customer.lifetime_value",
        "event.total",
        "event.x.y",
        "arrived.type",
        "has_event('purchase', within='7 days')",
        "event.t",
        "days_since(event.t)",
        "has_event('a', when='event.inner == customer.country')",
    }


def test_what_a_place_does_not_know_is_an_error_there_and_an_absent_arrival_is_missing() -> None:
    nowhere = replace(SCOPE, journey={}, event=None, arrived=None, customer=None)
    unknown = [
        "journey.visit == 1",
        "event.x",
        "customer.country",
        "opened('a')",
        "has_event('a', since='entry')",
        "steps.a",
        "steps.a.status",
    ]
    for text in unknown:
        with pytest.raises(ExpressionError, match="here"):
            compile_condition(text, nowhere)
    for text in ("now > steps.a.response.t", "has_event('a', within='1 day', when='steps.a')", "days_since(customer.created_at) > 1"):
        with pytest.raises(ExpressionError, match="here"):
            compile_recheck(text, nowhere)
    assert sql_of(compile_condition("arrived or arrived.total > 1", nowhere).sql) == "false"


def test_brand_is_plain_values_or_columns() -> None:
    scope = replace(SCOPE, brand={"name": "Acme", "vat": 19, "colour": {"main": "red"}, "column": sa.column("b", sa.Text())})
    assert (
        sql_of(compile_condition("brand.name == 'Acme' and brand.vat > 18 and brand.colour.main == 'red' and not brand.absent", scope).sql)
        == "true"
    )
    assert compile_value("brand.column", scope).type == "text"


def test_a_lone_expression_keeps_its_type_and_text_around_it_makes_text() -> None:
    assert compile_text("{{ event.total * 2 }}", SCOPE).type == "num"
    assert compile_text("{{ event.total }}", SCOPE).type == "json"
    assert compile_text("Total {{ event.total }}", SCOPE).type == "text"
    assert compile_text("plain", SCOPE).type == "text"
    assert compile_text("", SCOPE).type == "text"
    assert sql_of(compile_text("{{ none }}", SCOPE).as_text()) == "CAST(NULL AS TEXT)"


def test_the_migration_holds_the_letters_of_both_cases() -> None:
    migration = (Path(journey_pipelines.store.__file__).parent / "migrations" / "0001_initial.sql").read_text(encoding="utf-8")
    for table in (letters.LOWER, letters.UPPER):
        assert f"'{''.join(table)}',\n    '{''.join(table.values())}'" in migration
