"""`journeys.upsert_profile`: keys present are set, null unsets, absent keys stay, an older patch only fills what is missing."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from journey_pipelines.store.hashes import shard_of
from journey_pipelines.store.tables import customer_profiles

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
EARLIER = NOON - timedelta(hours=1)


def _upsert(db: sa.Engine, profile: object, at: datetime = NOON, customer: str = "c1") -> dict[str, Any]:
    with db.begin() as conn:
        given = {"id": customer, "profile": json.dumps(profile), "at": at}
        conn.execute(sa.text("SELECT journeys.upsert_profile(:id, cast(:profile AS jsonb), :at)"), given)
        row = conn.execute(sa.select(customer_profiles).where(customer_profiles.c.customer_id == customer)).one()
    return dict(row._mapping)


def test_known_keys_are_columns_and_the_rest_are_attributes(db: sa.Engine) -> None:
    found = _upsert(db, {"first_name": " Ann ", "lifetime_value": 12.5, "created_at": "2026-01-02", "plan": "gold", "tags": ["a"]})
    assert (found["first_name"], found["lifetime_value"], found["created_at"]) == ("Ann", Decimal("12.5"), datetime(2026, 1, 2, tzinfo=UTC))
    assert found["attributes"] == {"plan": "gold", "tags": ["a"]}
    assert (found["shard"], found["updated_at"]) == (shard_of("c1"), NOON)


def test_absent_keys_stay_and_null_or_blank_unsets(db: sa.Engine) -> None:
    _upsert(db, {"first_name": "Ann", "last_name": "Lee", "email_address": "ann@example.org", "plan": "gold", "city": "Rome", "score": 1})
    found = _upsert(db, {"first_name": None, "last_name": "  ", "plan": None, "city": ""}, LATER)
    assert (found["first_name"], found["last_name"], found["email_address"]) == (None, None, "ann@example.org")
    assert found["attributes"] == {"score": 1}
    assert found["updated_at"] == LATER


def test_an_older_patch_only_fills_what_is_missing(db: sa.Engine) -> None:
    _upsert(db, {"first_name": "Ann", "plan": "gold", "timezone": "Europe/Rome"})
    found = _upsert(db, {"first_name": "Old", "last_name": "Lee", "plan": "tin", "city": "Rome", "timezone": "Asia/Tokyo"}, EARLIER)
    assert (found["first_name"], found["last_name"], found["zone"]) == ("Ann", "Lee", "Europe/Rome")
    assert found["attributes"] == {"plan": "gold", "city": "Rome"}
    assert found["updated_at"] == NOON


def test_an_older_null_unsets_nothing(db: sa.Engine) -> None:
    _upsert(db, {"first_name": "Ann", "plan": "gold"})
    found = _upsert(db, {"first_name": None, "plan": None}, EARLIER)
    assert (found["first_name"], found["attributes"]) == ("Ann", {"plan": "gold"})


def test_wrong_types_are_missing_and_stop_nothing(db: sa.Engine) -> None:
    found = _upsert(db, {"first_name": "Ann", "lifetime_value": "much", "created_at": "now"})
    assert (found["first_name"], found["lifetime_value"], found["created_at"]) == ("Ann", None, None)


@pytest.mark.parametrize(
    ("given", "zone", "source"),
    [
        ("America/New_York", "America/New_York", "profile"),
        ("UTC", "UTC", "profile"),
        ("Mars/Olympus", None, "invalid"),
        ("UTC+3", None, "invalid"),
        ("", None, "none"),
        (None, None, "none"),
    ],
)
def test_zones_are_resolved_at_the_upsert(db: sa.Engine, given: str | None, zone: str | None, source: str) -> None:
    found = _upsert(db, {"timezone": given})
    assert (found["zone"], found["zone_source"]) == (zone, source)
    # and a patch without the key leaves it as it is
    found = _upsert(db, {"plan": "gold"}, LATER)
    assert (found["zone"], found["zone_source"]) == (zone, source)


def test_a_zone_that_becomes_invalid_is_no_zone(db: sa.Engine) -> None:
    _upsert(db, {"timezone": "Europe/Rome"})
    found = _upsert(db, {"timezone": "Rome"}, LATER)
    assert (found["timezone"], found["zone"], found["zone_source"]) == ("Rome", None, "invalid")


def test_two_writers_of_one_person_lose_nothing(db: sa.Engine) -> None:
    threads = [threading.Thread(target=_upsert, args=(db, {f"key_{n}": n}, NOON + timedelta(seconds=n))) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _upsert(db, {}, LATER)["attributes"] == {f"key_{n}": n for n in range(12)}


@pytest.mark.parametrize(
    ("customer", "profile", "message"),
    [
        ("", {}, "customer_id must have 1 to 128 characters, got 0"),
        ("x" * 129, {}, "got 129"),
        ("c1", [], "profile must be a JSON object, got array"),
        ("c1", "text", "got string"),
        ("c1", {"a": "x" * 70_000}, "must not be larger than 64 kB"),
    ],
)
def test_what_cannot_be_a_profile_is_refused_with_a_reason(db: sa.Engine, customer: str, profile: object, message: str) -> None:
    with pytest.raises(sa.exc.DataError, match=message):
        _upsert(db, profile, customer=customer)


def test_a_batch_of_patches_skips_what_is_no_object(db: sa.Engine) -> None:
    statement = sa.text("SELECT journeys.apply_profiles(cast(:ids AS text[]), cast(:patches AS jsonb[]), cast(:ats AS timestamptz[]))")
    with db.begin() as conn:
        given = {"ids": ["a", "b", "c"], "patches": ['{"plan": "gold"}', "[1]", "null"], "ats": [NOON] * 3}
        assert conn.scalar(statement, given) == 1
        assert conn.scalars(sa.select(customer_profiles.c.customer_id)).all() == ["a"]
