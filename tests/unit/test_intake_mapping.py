"""Options over rows: what becomes of a row, what is refused, what is said about a wrong option."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from journey_pipelines.intake.errors import TemplateProblem
from journey_pipelines.intake.mapping import Event, MappingOptions, RowMapping, RowRefused, time_reader

ROW = {"customer_id": "00042", "occurred_at": "2026-03-01", "total": "12.50", "note": None}


def event(row: dict[str, Any] | None = None, columns: list[str] | None = None, **options: Any) -> Event:
    mapping = RowMapping(MappingOptions(**{"type": "purchase", **options}), columns)
    return mapping.event(ROW if row is None else {**ROW, **row})


def payload(row: dict[str, Any] | None = None, **templates: str) -> dict[str, Any]:
    return dict(json.loads(event(row, payload=templates).payload))


def test_a_row_becomes_an_event() -> None:
    found = event()
    assert found == Event("00042", "purchase", datetime(2026, 3, 1, tzinfo=UTC), '{"total": "12.50"}', None)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ total }}", "12.50"),
        ("{{ total | float }}", 12.5),
        ("{{ 3 }}", 3),
        ("{{ total | float * 2 }}", 25),
        ("{{-total-}}", "12.50"),
        ("EUR {{ total }}", "EUR 12.50"),
        ("{{ total }}{{ customer_id }}", "12.5000042"),
        ("{{ note | default('none') }}", "none"),
        ("x{{ note | default('none') }}", "xnone"),
        ("{% if total %}yes{% endif %}", "yes"),
        ("plain text", "plain text"),
        ("{{ row['total'] }}", "12.50"),
        ("{{ total == '12.50' }}", True),
    ],
)
def test_a_lone_expression_keeps_its_type_and_anything_else_is_text(template: str, value: Any) -> None:
    assert payload(None, key=template) == {"key": value}


@pytest.mark.parametrize(
    "template", ["{{ note }}", "c{{ note }}@example.org", "{{ note | upper }}", "{{ nowhere }}", "a{{ note | upper }}b"]
)
def test_a_template_that_needs_a_missing_value_is_missing_as_a_whole(template: str) -> None:
    assert payload(None, key=template, other="1") == {"other": "1"}
    assert event(profile={"email_address": template}).profile is None


def test_a_profile_is_made_of_templates() -> None:
    found = event(profile={"email_address": "c{{ customer_id }}@example.org", "plan": "{{ note }}"})
    assert json.loads(found.profile or "") == {"email_address": "c00042@example.org"}


def test_ids_and_types_may_be_templates_and_numbers() -> None:
    found = event({"n": 7, "kind": "refund"}, customer_id="{{ n }}", type="{{ kind }}")
    assert (found.customer_id, found.type) == ("7", "refund")
    assert event({"n": 7.0}, customer_id="n").customer_id == "7"
    assert json.loads(event({"n": 7}, customer_id="shop-{{ n }}").payload)["n"] == 7


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"customer_id": None}, "no customer id (missing or empty)"),
        ({"customer_id": "  "}, "no customer id (missing or empty)"),
        ({"customer_id": "x" * 129}, "customer id is longer than 128 characters: 129"),
        ({"customer_id": True}, "customer id is neither text nor a whole number: bool"),
        ({"customer_id": 1.5}, "customer id is neither text nor a whole number: float"),
        ({"customer_id": "a\x00b"}, "customer id contains a NUL character, which PostgreSQL cannot store"),
        ({"customer_id": "a\ud800"}, "customer id contains a lone surrogate, which is no character"),
        ({"occurred_at": None}, "no time (missing or empty)"),
        ({"occurred_at": "2026-02-30"}, "time is not ISO 8601 (see --date-format): '2026-02-30'"),
        ({"occurred_at": "now"}, "time is not ISO 8601 (see --date-format): 'now'"),
        ({"occurred_at": "0001-01-01"}, "time is outside years 1 to 9999: '0001-01-01'"),
        ({"occurred_at": "0001-01-01T00:00+14:00"}, "time is outside years 1 to 9999: '0001-01-01T00:00+14:00'"),
        ({"occurred_at": 1_700_000_000}, "time is not text (for a number give --date-format epoch or epoch_ms): int"),
        ({"total": "a\x00b"}, "payload contains a NUL character, which PostgreSQL cannot store"),
        ({"total": {"deep": ["\x00"]}}, "payload contains a NUL character, which PostgreSQL cannot store"),
        ({"total": "\ud800"}, "payload contains a lone surrogate, which is no character"),
        ({"total": float("nan")}, "payload holds NaN or Infinity, which is not JSON"),
        ({"total": float("inf")}, "payload holds NaN or Infinity, which is not JSON"),
        ({"total": "x" * 70_000}, "payload is larger than 64 kB: 70,013 bytes"),
    ],
)
def test_what_postgresql_would_refuse_is_refused_with_a_reason(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowRefused) as refused:
        event(row)
    assert str(refused.value) == reason


def test_text_that_only_looks_like_a_nul_is_kept() -> None:
    assert json.loads(event({"total": "\\u0000"}).payload) == {"total": "\\u0000"}


@pytest.mark.parametrize(
    ("date_format", "zone", "text", "moment"),
    [
        (None, "UTC", "2026-03-01T09:30:15.25+01:00", datetime(2026, 3, 1, 8, 30, 15, 250_000, tzinfo=UTC)),
        (None, "UTC", "2026-03-01 09:30", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        (None, "Europe/Berlin", "2026-07-01 09:30", datetime(2026, 7, 1, 7, 30, tzinfo=UTC)),
        (None, "Europe/Berlin", "2026-07-01T09:30Z", datetime(2026, 7, 1, 9, 30, tzinfo=UTC)),
        ("%Y%m%d", "UTC", "19970101", datetime(1997, 1, 1, tzinfo=UTC)),
        ("%Y%m%d", "UTC", 19970101, datetime(1997, 1, 1, tzinfo=UTC)),
        ("%d.%m.%Y %H:%M %z", "UTC", "01.03.2026 10:00 +0100", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("epoch", "UTC", "1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("epoch_ms", "UTC", 1_700_000_000_500, datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_told(date_format: str | None, zone: str, text: Any, moment: datetime) -> None:
    assert time_reader(date_format, zone)(text) == moment


@pytest.mark.parametrize("value", ["", None, "x", "nan", "1e30", True])
def test_a_bad_number_of_seconds_is_refused(value: Any) -> None:
    with pytest.raises(RowRefused):
        time_reader("epoch", "UTC")(value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"customer_id": "custmer_id"}, "--customer-id 'custmer_id': there is no column 'custmer_id'. Did you mean 'customer_id'?"),
        ({"occurred_at": "{{ wen }}"}, "there is no column 'wen'"),
        ({"payload": {"total": "{{ totl | float }}"}}, "Did you mean 'total'?"),
        ({"profile": {"name": "{{ total | shout }}"}}, "No filter named 'shout'"),
        ({"payload": {"total": "{{ total"}}, "--payload total="),
        ({"payload": {" ": "x"}}, "empty key"),
        ({"timezone": "Europe/Berln"}, "--timezone 'Europe/Berln' is not a zone"),
        ({"date_format": "YYYYMMDD"}, "expected epoch, epoch_ms or a format like %Y%m%d"),
    ],
)
def test_a_wrong_option_is_said_before_the_first_row(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TemplateProblem) as problem:
        event(columns=list(ROW), **options)
    assert said in str(problem.value)
