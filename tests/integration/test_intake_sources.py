"""Tables of apps as event sources: what is read, what is read once, what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from journey_pipelines.engine.tick import tick
from journey_pipelines.intake.sources import poll_sources, poller, sources_waiting
from journey_pipelines.store.tables import deployment, event_inbox, event_quarantine, event_sources

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDERS = {
    "table": "shop.orders",
    "id": "order_id",
    "customer_id": "buyer",
    "type": "purchase",
    "occurred_at": "ordered_at",
    "cursor": "written_at",
    "overlap": "5 minutes",
    "payload": ["total", "note"],
}


@pytest.fixture
def shop(db: sa.Engine) -> sa.Engine:
    with db.begin() as conn:
        conn.execute(sa.text("CREATE SCHEMA shop"))
        conn.execute(
            sa.text(
                "CREATE TABLE shop.orders (order_id bigint, buyer text, kind text, ordered_at timestamptz, total numeric, note json,"
                " written_at timestamptz)"
            )
        )
    declare(db, shop_orders=ORDERS)
    return db


def declare(db: sa.Engine, **sources: dict[str, Any]) -> None:
    with db.begin() as conn:
        conn.execute(sa.update(deployment).values(sources=sources))


def order(db: sa.Engine, order_id: int | None, buyer: str | None = "ann", **values: Any) -> None:
    row = {
        "order_id": order_id,
        "buyer": buyer,
        "kind": "sale",
        "ordered_at": NOW,
        "total": 12.5,
        "note": "{}",
        "written_at": NOW,
        **values,
    }
    statement = sa.text("INSERT INTO shop.orders VALUES (:order_id, :buyer, :kind, :ordered_at, :total, cast(:note AS json), :written_at)")
    with db.begin() as conn:
        conn.execute(statement, row)


def inbox(db: sa.Engine) -> list[Any]:
    with db.connect() as conn:
        return list(conn.execute(sa.select(event_inbox).order_by(event_inbox.c.id)).all())


def quarantine(db: sa.Engine) -> list[Any]:
    with db.connect() as conn:
        return list(conn.execute(sa.select(event_quarantine).order_by(event_quarantine.c.id)).all())


def waiting(db: sa.Engine) -> list[str]:
    with db.begin() as conn:
        return sources_waiting(conn, NOW)


def test_a_row_becomes_an_event_once(shop: sa.Engine) -> None:
    order(shop, 7, note='{"gift": true}')
    assert waiting(shop) == ["shop_orders"]
    (report,) = poll_sources(shop, NOW)
    assert (report.read, report.refused, report.more, report.error) == (1, 0, False, None)
    (event,) = inbox(shop)
    assert (event.source, event.source_event_id, event.customer_id, event.type) == ("shop_orders", "7", "ann", "purchase")
    assert event.payload == {"total": 12.5, "note": {"gift": True}}
    assert (event.occurred_at, event.received_at) == (NOW, NOW)

    assert waiting(shop) == []
    assert poll_sources(shop, NOW)[0].read == 0
    tick(shop, NOW)  # out of the inbox, into history
    assert waiting(shop) == []
    assert poll_sources(shop, NOW)[0].read == 0
    assert inbox(shop) == []


def test_a_row_that_commits_late_is_found_within_the_overlap(shop: sa.Engine) -> None:
    order(shop, 1)
    poll_sources(shop, NOW)
    order(shop, 2, written_at=NOW - timedelta(minutes=4))
    order(shop, 3, written_at=NOW - timedelta(minutes=6))
    poll_sources(shop, NOW)
    assert [event.source_event_id for event in inbox(shop)] == ["1", "2"]


def test_rows_of_one_instant_beyond_the_limit_are_all_read(shop: sa.Engine) -> None:
    for n in range(7):
        order(shop, n)
    assert [poll_sources(shop, NOW, limit=3)[0].read for _ in range(4)] == [3, 3, 1, 0]
    assert sorted(event.source_event_id for event in inbox(shop)) == [str(n) for n in range(7)]


def test_a_row_from_the_far_future_does_not_hide_the_rows_until_then(shop: sa.Engine) -> None:
    order(shop, 1, written_at=datetime(2099, 1, 1, tzinfo=UTC))
    order(shop, 2, written_at="infinity")
    assert poll_sources(shop, NOW)[0].read == 2
    order(shop, 3, written_at=NOW + timedelta(minutes=1))
    assert poll_sources(shop, NOW + timedelta(minutes=2))[0].read == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"buyer": None}, "column buyer (customer_id) is empty"),
        ({"buyer": "x" * 129}, "column buyer (customer_id) is longer than 128 characters"),
        ({"ordered_at": None}, "column ordered_at (occurred_at) is empty"),
        ({"ordered_at": "infinity"}, "column ordered_at (occurred_at) is outside years 1 to 9999"),
        ({"note": '"' + "x" * 70_000 + '"'}, "payload is larger than 64 kB"),
        ({"order_id": None}, "column order_id (id) is empty"),
        ({"note": '{"a": "\\u0000"}'}, "unsupported Unicode escape sequence"),
        ({"note": '"\\ud800"'}, "invalid input syntax for type json"),
        ({"note": "1e999999"}, "value overflows numeric format"),
    ],
)
def test_a_bad_row_goes_to_quarantine_and_the_others_go_on(shop: sa.Engine, wrong: dict[str, Any], reason: str) -> None:
    order(shop, 1)
    order(shop, **{"order_id": 2, **wrong})
    order(shop, 3)
    (report,) = poll_sources(shop, NOW)
    assert (report.read, report.refused, report.error) == (2, 1, None)
    assert [event.source_event_id for event in inbox(shop)] == ["1", "3"]
    (refused,) = quarantine(shop)
    assert reason in refused.reason
    assert refused.source == "shop_orders"
    assert refused.raw.startswith("(")
    # once, not at every poll
    assert waiting(shop) == []
    assert poll_sources(shop, NOW)[0].refused == 0
    assert len(quarantine(shop)) == 1


def test_a_refused_row_that_is_corrected_comes_in(shop: sa.Engine) -> None:
    order(shop, 1, buyer=None)
    poll_sources(shop, NOW)
    with shop.begin() as conn:
        conn.execute(sa.text("UPDATE shop.orders SET buyer = 'ann'"))
    assert poll_sources(shop, NOW)[0].read == 1


def test_the_type_may_be_a_column(shop: sa.Engine) -> None:
    declare(shop, shop_orders={**{k: v for k, v in ORDERS.items() if k != "type"}, "type_column": "kind"})
    order(shop, 1, kind="refund")
    poll_sources(shop, NOW)
    assert [event.type for event in inbox(shop)] == ["refund"]


@pytest.mark.parametrize("kind", ["timestamp", "date"])
def test_a_cursor_without_a_zone_is_in_utc(shop: sa.Engine, kind: str) -> None:
    with shop.begin() as conn:
        conn.execute(sa.text(f"ALTER TABLE shop.orders ALTER written_at TYPE {kind} USING (written_at AT TIME ZONE 'UTC')::{kind}"))
    order(shop, 1)
    assert poll_sources(shop, NOW)[0].read == 1
    order(shop, 2, written_at=NOW + timedelta(days=1))
    assert poll_sources(shop, NOW)[0].read == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"table": "shop.gone"}, "there is no table shop.gone"),
        ({"payload": ["total", "colour"]}, "has no column colour; it has buyer, kind, note"),
        ({"cursor": "order_id"}, "cursor shop.orders.order_id is int8, expected a column of type timestamptz, timestamp, date"),
        ({"occurred_at": "total"}, "occurred_at shop.orders.total is numeric, expected"),
    ],
)
def test_a_source_that_cannot_be_read_says_why_and_the_others_are_read(shop: sa.Engine, change: dict[str, Any], error: str) -> None:
    declare(shop, broken={**ORDERS, **change}, shop_orders=ORDERS)
    order(shop, 1)
    assert waiting(shop) == ["shop_orders"]
    broken, good = poll_sources(shop, NOW)
    assert error in (broken.error or "")
    assert good.read == 1
    with shop.connect() as conn:
        errors = dict(conn.execute(sa.select(event_sources.c.source_id, event_sources.c.last_error)).tuples().all())
    assert error in errors["broken"]
    assert errors["shop_orders"] is None


def test_a_source_without_the_right_to_read_says_so(shop: sa.Engine) -> None:
    with shop.begin() as conn:
        # a view reads with its owner's rights, and this owner may not read the table
        conn.execute(sa.text("GRANT USAGE, CREATE ON SCHEMA shop TO app_writer"))
        conn.execute(sa.text("CREATE VIEW shop.seen AS SELECT * FROM shop.orders"))
        conn.execute(sa.text("ALTER VIEW shop.seen OWNER TO app_writer"))
    declare(shop, shop_orders={**ORDERS, "table": "shop.seen"})
    assert "permission denied for table orders" in (poll_sources(shop, NOW)[0].error or "")
    assert waiting(shop) == []


def test_two_pollers_at_once_do_not_wait_for_each_other(shop: sa.Engine) -> None:
    order(shop, 1)
    poll_sources(shop, NOW)
    with shop.begin() as other:
        other.execute(sa.select(event_sources).with_for_update())
        assert poll_sources(shop, NOW) == []


def test_the_poller_of_a_drain_keeps_its_distance_but_goes_on_while_rows_are_left(shop: sa.Engine) -> None:
    for n in range(5):
        order(shop, n)
    poll = poller(shop, every=60, limit=3)
    assert [poll(NOW), poll(NOW), poll(NOW)] == [3, 2, 0]
    order(shop, 9)
    assert poll(NOW) == 0


def test_the_read_uses_an_index_on_the_cursor(shop: sa.Engine) -> None:
    with shop.begin() as conn:
        conn.execute(
            sa.text(
                "INSERT INTO shop.orders SELECT n, 'ann', 'sale', now(), 1, '{}', timestamptz '2026-01-01 00:00+00' + n * interval '1 min'"
                " FROM generate_series(1, 20000) n"
            )
        )
        conn.execute(sa.text("CREATE INDEX ON shop.orders (written_at)"))
        conn.execute(sa.text("ANALYZE shop.orders"))
        conn.execute(sa.insert(event_sources).values(source_id="shop_orders", cursor_value=datetime(2026, 1, 14, 21, tzinfo=UTC)))
        plans: list[str] = []

        @sa.event.listens_for(conn, "before_cursor_execute")
        def explain(conn: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            if "shop.orders" in statement:
                plans.append("\n".join(row[0] for row in cursor.connection.execute("EXPLAIN " + statement, parameters)))

        sources_waiting(conn, NOW)
    (plan,) = plans
    assert "Index Scan" in plan
    assert "Seq Scan on orders" not in plan
