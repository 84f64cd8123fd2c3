"""Lengths of time: how they are written, what they mean, how they travel through models."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta

import pytest
from pydantic import BaseModel, ValidationError

from journey_pipelines.expressions.durations import Duration, DurationError


@pytest.mark.parametrize(
    ("text", "months", "days", "seconds"),
    [
        ("7 days", 0, 7, 0),
        ("1d", 0, 1, 0),
        ("90 minutes", 0, 0, 5400),
        ("1 month", 1, 0, 0),
        ("2 weeks", 0, 14, 0),
        ("36 hours", 0, 0, 129_600),
        ("1.5 hours", 0, 0, 5400),
        ("1 year", 12, 0, 0),
        ("1 day 12 hours", 0, 1, 43_200),
        ("1 day and 30 min", 0, 1, 1800),
        ("1 day, 5 s", 0, 1, 5),
        ("3 WEEKS", 0, 21, 0),
        ("0 minutes", 0, 0, 0),
    ],
)
def test_reading(text: str, months: int, days: int, seconds: float) -> None:
    duration = Duration.parse(text)
    assert (duration.months, duration.days, duration.seconds) == (months, days, seconds)
    assert duration.text == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a duration such as"),
        ("7", "expected a duration"),
        ("seven days", "expected a duration"),
        ("7 dayz", "'dayz' is no unit"),
        ("-1 day", "expected a duration"),
        ("1.5 days", "whole numbers"),
        ("1 day 2 days", "twice"),
        ("200 years", "longer than 100 years"),
        ("1 day;", "expected a duration"),
        (7, "write the unit"),
        (None, "write the unit"),
    ],
)
def test_what_cannot_be_read(text: object, why: str) -> None:
    with pytest.raises(DurationError, match=why):
        Duration.parse(text)  # type: ignore[arg-type]


def test_elapsed_time_has_no_months() -> None:
    assert Duration.parse("1 week 2 hours").elapsed() == timedelta(days=7, hours=2)
    with pytest.raises(DurationError, match="months have no fixed length here; write days"):
        Duration.parse("1 month").elapsed()


def test_equality_is_of_meaning_and_a_day_is_not_24_hours() -> None:
    assert Duration.parse("1 week") == Duration.parse("7 days") == Duration(days=7)
    assert Duration.parse("1 day") != Duration.parse("24 hours")
    assert not Duration.parse("0 days")
    assert str(Duration(months=1, seconds=30)) == "1 month 30 seconds"
    assert Duration.parse("1 day").is_calendar
    assert not Duration.parse("24 hours").is_calendar


def test_a_duration_does_not_change() -> None:
    duration = Duration.parse("1 day")
    with pytest.raises(AttributeError):
        duration.days = 2  # type: ignore[misc]
    assert copy.deepcopy(duration) == duration == pickle.loads(pickle.dumps(duration))


def test_through_a_model() -> None:
    class Wait(BaseModel):
        after: Duration
        until: Duration | None = None

    wait = Wait.model_validate({"after": "90 minutes"})
    assert wait.after.seconds == 5400
    assert wait.model_dump(mode="json") == {"after": "90 minutes", "until": None}
    assert Wait.model_validate_json(wait.model_dump_json()) == wait
    with pytest.raises(ValidationError, match="'fortnight' is no unit"):
        Wait(after="1 fortnight")  # type: ignore[arg-type]
    assert Wait.model_json_schema()["properties"]["after"]["type"] == "string"
