"""The functions of the migration: total where JSON becomes a type, equal to their Python twins where they hash."""

from __future__ import annotations

import json
import random
import string
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import sqlalchemy as sa

from journey_pipelines.store import hashes
from journey_pipelines.store.tables import engine_identity

ALPHABET = string.ascii_letters + string.digits + " _-.:+/@äßéİñ字💌'\"\\%\t\n"


def _words(n: int) -> list[str]:
    return ["".join(random.choices(ALPHABET, k=random.randint(1, 40))) for _ in range(n)]


def test_shards_and_buckets_have_twins(db: sa.Engine) -> None:
    words = _words(3000)
    with db.connect() as conn:
        rows = conn.execute(
            sa.text("SELECT w, journeys.shard_of(w), journeys.bucket_of(w) FROM unnest(cast(:words AS text[])) AS u (w)"), {"words": words}
        ).all()
    assert [(w, hashes.shard_of(w), hashes.bucket_of(w)) for w in words] == [tuple(r) for r in rows]
    assert {r[1] for r in rows} == set(range(hashes.SHARDS))
    assert all(0 <= r[2] < hashes.BUCKETS for r in rows)


def test_message_keys_have_a_twin(db: sa.Engine) -> None:
    words = _words(800)
    with db.connect() as conn:
        for i in range(0, len(words), 4):
            salt, step, action, slot = words[i : i + 4]
            given = {"salt": salt, "id": 2**62 + i, "step": step, "action": action, "visit": i, "slot": slot}
            stored = conn.scalar(sa.text("SELECT journeys.message_key(:salt, :id, :step, :action, :visit, :slot)"), given)
            assert stored == hashes.message_key(salt, 2**62 + i, step, action, i, slot)


def test_address_keys_have_a_twin_and_forget_case(db: sa.Engine) -> None:
    addresses = ["ann@example.org", "Ann@Example.ORG", "+491701234567", "jörg@exämple.de", "x" * 320]
    with db.connect() as conn:
        identity = conn.execute(sa.select(engine_identity)).one()
        key = hashes.AddressKey(identity.hmac_inner, identity.hmac_outer)
        stored = [conn.scalar(sa.text("SELECT journeys.address_hmac(:a)"), {"a": a}) for a in addresses]
    assert stored == [key.hmac(a) for a in addresses]
    assert stored[0] == stored[1] and len(stored[0]) == 32


def test_the_padded_keys_are_hmac_sha256() -> None:
    import hmac

    secret = random.randbytes(32)
    assert hashes.AddressKey.from_secret(secret).hmac("ann@example.org") == hmac.digest(secret, b"ann@example.org", "sha256")


def test_event_keys_separate_source_and_id(db: sa.Engine) -> None:
    statement = sa.text("SELECT substr(sha256(convert_to(:s || chr(31) || :i, 'UTF8')), 1, 16)")
    with db.connect() as conn:
        assert conn.scalar(statement, {"s": "shop", "i": "ä-1"}) == hashes.event_key("shop", "ä-1")
    assert hashes.event_key("a", "bc") != hashes.event_key("ab", "c")


def _each(db: sa.Engine, function: str, values: list[str], kind: str = "jsonb") -> list[object]:
    source = "unnest(cast(:values AS text[])) WITH ORDINALITY AS u (v, n) ORDER BY n"
    statement = sa.text(f"SELECT journeys.{function}(cast(v AS {kind})) FROM {source}")
    with db.connect() as conn:
        return list(conn.scalars(statement, {"values": values}))


def test_numbers(db: sa.Engine) -> None:
    expected = {
        "1": Decimal(1), "-0.50": Decimal("-0.50"), "999999999999999": Decimal(999999999999999), "1e14": Decimal(10**14),
        "0.1": Decimal("0.1"), "1e15": None, "-1e300": None, '"1"': None, "true": None, "null": None, "[1]": None, "{}": None, '""': None,
    }  # fmt: skip
    assert _each(db, "num", list(expected)) == list(expected.values())


def test_texts_and_booleans(db: sa.Engine) -> None:
    assert _each(db, "txt", ['"a"', '""', "1", "true", "null", '["a"]']) == ["a", "", None, None, None, None]
    assert _each(db, "bool", ["true", "false", '"true"', "1", "null"]) == [True, False, None, None, None]
    assert _each(db, "present", ["null", "0", '""']) == [None, 0, ""]


def test_numbers_in_text(db: sa.Engine) -> None:
    expected = {" 12.50 ": Decimal("12.50"), "+.5": Decimal("0.5"), "-7": Decimal(-7), "12.": Decimal(12)}
    expected |= dict.fromkeys(["1e5", "", "12,50", "NaN", "infinity", "0x10", "9" * 16, "1_000", "٣"])
    assert _each(db, "num_text", list(expected), "text") == list(expected.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2026-02-28T09:30", datetime(2026, 2, 28, 9, 30, tzinfo=UTC)),
        ("2026-02-28 09:30:15.25", datetime(2026, 2, 28, 9, 30, 15, 250000, tzinfo=UTC)),
        ("2026-02-28T09:30:15Z", datetime(2026, 2, 28, 9, 30, 15, tzinfo=UTC)),
        ("2026-02-28T09:30:15+05:30", datetime(2026, 2, 28, 4, 0, 15, tzinfo=UTC)),
        ("2026-02-28T09:30:15-0800", datetime(2026, 2, 28, 17, 30, 15, tzinfo=UTC)),
        ("2026-02-28T09:30:15+01", datetime(2026, 2, 28, 8, 30, 15, tzinfo=UTC)),
    ],
)
def test_times(db: sa.Engine, text: str, expected: datetime | None) -> None:
    assert _each(db, "ts", [json.dumps(text)]) == [expected]


def test_what_is_no_time_is_missing(db: sa.Engine) -> None:
    words = ["now", "today", "tomorrow", "yesterday", "epoch", "infinity", "-infinity", "allballs", "", "1767225600", "20260101"]
    days = ["2026-02-30", "2026-13-01", "2026-00-10", "2026-01-00", "2025-02-29", "1900-02-29", "26-01-01", "2026-1-1", "2026-01-01 BC"]
    edges = ["0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "2026-01-01T", " 2026-01-01", "2026-01-01\n", "2026-01-01T24:00"]
    clocks = ["T23:60", "T23:59:60", "T00:00+16:00", "T00:00+01:60", "T10:00 Europe/Berlin", "T00:00:00.1234567890Z"]
    refused = words + days + edges + [f"2026-01-01{clock}" for clock in clocks]
    assert dict(zip(refused, _each(db, "ts_text", refused, "text"), strict=True)) == dict.fromkeys(refused)


def test_times_agree_with_python_and_never_raise(db: sa.Engine) -> None:
    good: dict[str, datetime] = {}
    for _ in range(2000):
        offset = timezone(timedelta(minutes=random.randint(-15 * 60, 15 * 60)))
        moment = datetime(2, 1, 1, tzinfo=UTC) + timedelta(days=random.randrange(9990 * 365), microseconds=random.randrange(86_400 * 10**6))
        good[moment.astimezone(offset).isoformat()] = moment
    assert _each(db, "ts_text", list(good), "text") == list(good.values())
    broken = [
        "".join(random.choice("0123456789-:T+Z. ") if random.random() < 0.1 else c for c in random.choice(list(good))) for _ in range(5000)
    ]
    assert len(_each(db, "ts_text", broken, "text")) == len(broken)
