"""The table contract as the README shows it: its SQL, run by a login that is a member of `app_writer` and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from journey_pipelines.engine.tick import tick
from journey_pipelines.store import tables as t
from journey_pipelines.store.clock import clock_now

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CONTRACT = README.partition("## The table contract")[2].partition("\n## ")[0]


def statements() -> list[str]:
    """The statements of the README's SQL block, in order."""
    [block] = re.findall(r"^```sql\n(.*?)^```$", CONTRACT, re.MULTILINE | re.DOTALL)
    lines = [line for line in block.splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in re.split(r";\s*$", "\n".join(lines), flags=re.MULTILINE) if statement.strip()]


@pytest.fixture
def app(db: sa.Engine) -> Iterator[sa.Connection]:
    """A session of an app's role: it may what `app_writer` may."""
    role = f"readme_{db.url.database}"
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


def _run(app: sa.Connection, statement: str) -> None:
    # as psql sends it: no colon in a text is a parameter
    app.exec_driver_sql(statement.replace("%", "%%"))
    app.commit()


def _drain(db: sa.Engine) -> None:
    with db.connect() as conn:
        now = clock_now(conn)
    tick(db, now)


def test_the_readmes_sql_does_what_it_says(app: sa.Connection, db: sa.Engine) -> None:
    shown = statements()
    assert len(shown) == 4
    for statement in [*shown, *shown]:
        _run(app, statement)
    _drain(db)
    with db.connect() as conn:
        events = conn.execute(sa.select(t.customer_events).order_by(t.customer_events.c.seq)).all()
        profile = conn.execute(sa.select(t.customer_profiles)).one()
        segments = conn.execute(sa.select(t.segment_memberships.c.segment_id, t.segment_memberships.c.left_at)).all()
        assert conn.scalar(sa.select(sa.func.count()).select_from(t.event_quarantine)) == 0
        assert conn.scalar(sa.select(sa.func.count()).select_from(t.event_inbox)) == 0
    # without an id an event counts as often as it is sent, with one it counts once
    assert sorted(event.type for event in events) == ["cart_updated", "cart_updated", "purchase"]
    [purchase] = [event for event in events if event.type == "purchase"]
    assert (purchase.source, purchase.source_event_id) == ("shop", "order-981")
    assert purchase.occurred_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert events[0].payload == {"cart_id": "k-7", "item_count": 2, "total": 59.9}
    assert (profile.customer_id, profile.email_address, profile.zone) == ("c-42", "ann@example.org", "Europe/Berlin")
    assert [tuple(row) for row in segments] == [("vip", None)]


def test_keys_present_are_set_null_unsets_absent_keys_stay(app: sa.Connection, db: sa.Engine) -> None:
    [upsert] = [statement for statement in statements() if "upsert_profile" in statement]
    _run(app, upsert)
    _run(app, """SELECT journeys.upsert_profile('c-42', '{"email_address": null, "plan": "gold"}')""")
    with db.connect() as conn:
        profile = conn.execute(sa.select(t.customer_profiles)).one()
    assert (profile.email_address, profile.subscription_status, profile.attributes) == (None, "active", {"plan": "gold"})


def test_the_columns_named_are_columns_and_every_other_key_is_an_attribute(app: sa.Connection, db: sa.Engine) -> None:
    named = re.findall(r"`(\w+)`", CONTRACT.partition("Profile columns:")[2].partition(";")[0])
    given = {name: "2026-03-01" if name == "created_at" else 7 if name == "lifetime_value" else f"a {name}" for name in named}
    _run(app, f"SELECT journeys.upsert_profile('c-42', '{json.dumps({**given, 'colour': 'red'})}')")
    with db.connect() as conn:
        profile = conn.execute(sa.select(t.customer_profiles)).one()._mapping
    assert profile["attributes"] == {"colour": "red"}
    assert [name for name in named if profile[name] is None] == []
    engines_own = {"customer_id", "shard", "zone", "zone_source", "attributes", "updated_at"}
    assert set(named) == {column.name for column in t.customer_profiles.c} - engines_own


def test_an_event_carries_a_profile(app: sa.Connection, db: sa.Engine) -> None:
    _run(app, """INSERT INTO journeys.event_inbox (customer_id, type, profile) VALUES ('c-1', 'signed_up', '{"first_name": "Ann"}')""")
    _drain(db)
    with db.connect() as conn:
        assert conn.scalar(sa.select(t.customer_profiles.c.first_name).where(t.customer_profiles.c.customer_id == "c-1")) == "Ann"


def test_conflicts_may_be_passed_over_and_the_clock_read(app: sa.Connection) -> None:
    for statement in statements():
        if statement.startswith("INSERT"):
            _run(app, f"{statement} ON CONFLICT DO NOTHING")
    assert app.exec_driver_sql("SELECT journeys.clock_now()").scalar_one() is not None


def test_an_app_may_nothing_else(app: sa.Connection, db: sa.Engine) -> None:
    for more in ("RETURNING id", "ON CONFLICT (id) DO NOTHING"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            app.exec_driver_sql(f"INSERT INTO journeys.event_inbox (customer_id, type) VALUES ('c-1', 'x') {more}")
        app.rollback()
    with db.connect() as conn:
        tables = conn.execute(sa.text(_MAY_DO_WITH_TABLES)).all()
        functions = conn.execute(sa.text(_MAY_CALL)).scalars().all()
        assert not conn.scalar(sa.text("SELECT has_schema_privilege('app_writer', 'journeys', 'CREATE')"))
    assert [tuple(row) for row in tables] == [("event_inbox", "INSERT"), ("segment_changes", "INSERT")]
    assert list(functions) == ["clock_now", "upsert_profile"]


_MAY_DO_WITH_TABLES = """
SELECT c.relname, p.privilege FROM pg_class c
 CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS p (privilege)
 WHERE c.relnamespace = 'journeys'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
   AND CASE WHEN p.privilege IN ('DELETE', 'TRUNCATE', 'TRIGGER') THEN has_table_privilege('app_writer', c.oid, p.privilege)
            ELSE has_any_column_privilege('app_writer', c.oid, p.privilege) END
 ORDER BY 1, 2
"""
_MAY_CALL = """
SELECT proname FROM pg_proc
 WHERE pronamespace = 'journeys'::regnamespace AND has_function_privilege('app_writer', oid, 'EXECUTE') ORDER BY 1
"""
