"""The app's contract: what a member of `app_writer` may do, and what the intake tables refuse, clamp and fill in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa

from journey_pipelines.store.clock import clock_now
from journey_pipelines.store.hashes import shard_of
from journey_pipelines.store.tables import event_inbox, metadata


@pytest.fixture
def app(db: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that may what an app may."""
    role = f"app_{db.url.database}"
    with db.begin() as conn:
        conn.execute(sa.text(f"CREATE ROLE {role} IN ROLE app_writer"))
    with db.connect() as conn:
        conn.execute(sa.text(f"SET ROLE {role}"))
        conn.commit()
        yield conn
        conn.rollback()
        conn.execute(sa.text("RESET ROLE"))
        conn.execute(sa.text(f"DROP ROLE {role}"))
        conn.commit()


def _count(db: sa.Engine, table: str = "event_inbox") -> int:
    with db.connect() as conn:
        return int(conn.scalar(sa.text(f"SELECT count(*) FROM journeys.{table}")) or 0)


def test_an_app_may_insert_copy_and_skip_conflicts(app: sa.Connection, db: sa.Engine) -> None:
    app.execute(sa.text("INSERT INTO journeys.event_inbox (customer_id, type) VALUES ('c1', 'purchase')"))
    app.execute(
        sa.text(
            "INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type, occurred_at, payload, profile)"
            """ VALUES ('shop', 'o-1', 'c1', 'purchase', '2026-01-01', '{"total": 3}', '{"plan": "gold"}') ON CONFLICT DO NOTHING"""
        )
    )
    app.execute(sa.text("INSERT INTO journeys.segment_changes (segment_id, customer_id, change) VALUES ('vip', 'c1', 'enter')"))
    driver = app.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor, cursor.copy("COPY journeys.event_inbox (customer_id, type, payload) FROM STDIN") as copy:
        copy.write_row(("c2", "purchase", "{}"))
    app.execute(sa.text("""SELECT journeys.upsert_profile('c1', '{"plan": "gold"}')"""))
    app.execute(sa.text("SELECT journeys.clock_now()"))
    app.commit()
    assert (_count(db), _count(db, "segment_changes"), _count(db, "customer_profiles")) == (3, 1, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO journeys.event_inbox (customer_id, type) VALUES ('c1', 'x') RETURNING id",
        "INSERT INTO journeys.event_inbox (customer_id, type) VALUES ('c1', 'x') ON CONFLICT (id) DO NOTHING",
        "INSERT INTO journeys.event_inbox (customer_id, type, received_at) VALUES ('c1', 'x', '2026-01-01')",
        "INSERT INTO journeys.event_inbox (customer_id, type, depth) VALUES ('c1', 'x', 3)",
        "UPDATE journeys.event_inbox SET type = 'x'",
        "DELETE FROM journeys.event_inbox",
        "SELECT journeys.shard_of('c1')",
        "SELECT journeys.address_hmac('a')",
        "SELECT journeys.apply_profiles(ARRAY['a'], ARRAY['{}'::jsonb], ARRAY[now()])",
        "CREATE TABLE journeys.mine (a int)",
        "UPDATE journeys.engine_clock SET rate = 2",
    ],
)
def test_and_nothing_else(app: sa.Connection, statement: str) -> None:
    with pytest.raises(sa.exc.ProgrammingError) as caught:
        app.execute(sa.text(statement))
    assert isinstance(caught.value.orig, psycopg.errors.InsufficientPrivilege)


def test_an_app_reads_no_table(app: sa.Connection) -> None:
    for table in metadata.tables.values():
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
            app.execute(sa.text(f"SELECT 1 FROM {table} LIMIT 1"))
        app.rollback()


def test_defaults_and_generated_columns(db: sa.Engine) -> None:
    with db.begin() as conn:
        before = clock_now(conn)
        conn.execute(sa.insert(event_inbox).values(customer_id="c1", type="purchase"))
        row = conn.execute(sa.select(event_inbox)).one()
    assert (row.source, row.source_event_id, row.payload, row.profile, row.depth) == ("app", None, {}, None, 0)
    assert row.shard == shard_of("c1")
    assert before <= row.occurred_at <= row.received_at <= row.effective_at + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"customer_id": ""}, "event_inbox_customer_id_check"),
        ({"customer_id": "x" * 129}, "event_inbox_customer_id_check"),
        ({"type": ""}, "event_inbox_type_check"),
        ({"type": "x" * 129}, "event_inbox_type_check"),
        ({"source": "x" * 65}, "event_inbox_source_check"),
        ({"source_event_id": "x" * 201}, "event_inbox_source_event_id_check"),
        ({"occurred_at": sa.text("timestamptz 'infinity'")}, "event_inbox_occurred_at_check"),
        ({"occurred_at": sa.text("timestamptz '4000-01-01 BC'")}, "event_inbox_occurred_at_check"),
    ],
)
def test_sizes_are_refused_at_the_insert(db: sa.Engine, values: dict[str, object], constraint: str) -> None:
    with pytest.raises(sa.exc.IntegrityError, match=constraint), db.begin() as conn:
        conn.execute(sa.insert(event_inbox).values({"customer_id": "c1", "type": "purchase", **values}))


@pytest.mark.parametrize("payload", [r'{"a": "\u0000"}', r'{"a": "\ud800"}', '{"a": NaN}', '{"a": Infinity}', "{", ""])
def test_what_is_no_jsonb_is_refused_at_the_insert(db: sa.Engine, payload: str) -> None:
    statement = sa.text("INSERT INTO journeys.event_inbox (customer_id, type, payload) VALUES ('c1', 'x', cast(:payload AS jsonb))")
    with pytest.raises((sa.exc.DataError, sa.exc.ProgrammingError)), db.begin() as conn:
        conn.execute(statement, {"payload": payload})
    assert _count(db) == 0


def test_the_future_counts_from_five_minutes_after_arrival(db: sa.Engine) -> None:
    received = datetime(2026, 5, 1, 12, tzinfo=UTC)
    cases = {
        datetime(2099, 1, 1, tzinfo=UTC): received + timedelta(minutes=5),
        received + timedelta(minutes=5): received + timedelta(minutes=5),
        received + timedelta(minutes=4): received + timedelta(minutes=4),
        datetime(1970, 1, 1, tzinfo=UTC): datetime(1970, 1, 1, tzinfo=UTC),
    }
    with db.begin() as conn:
        for occurred in cases:
            conn.execute(sa.insert(event_inbox).values(customer_id="c1", type="x", occurred_at=occurred, received_at=received))
        found = conn.execute(sa.select(event_inbox.c.occurred_at, event_inbox.c.effective_at)).all()
    assert {row.occurred_at: row.effective_at for row in found} == cases
