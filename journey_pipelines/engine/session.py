"""How a batch's transaction begins: the shards that are free, the deployed generation held still, the batch table empty."""

from collections.abc import Sequence

import sqlalchemy as sa

#: held shared by every batch and exclusively by deploy: an event is never routed with a version that was just replaced
DEPLOY_LOCK = 7_235_001

_SHARDS = "SELECT shard FROM journeys.engine_shards WHERE shard = ANY (%(shards)s::smallint[]) ORDER BY shard FOR UPDATE SKIP LOCKED"
_BATCH = """
CREATE TEMPORARY TABLE IF NOT EXISTS batch_events (
    seq bigint, customer_id text, shard smallint, type text, occurred_at timestamptz, received_at timestamptz, payload jsonb, profile jsonb,
    journey_id bigint, round integer, keys text[], depth smallint, newest_at timestamptz
) ON COMMIT DELETE ROWS
"""
_CUSTOMERS = """
CREATE TEMPORARY TABLE IF NOT EXISTS batch_customers (
    customer_id text PRIMARY KEY, shard smallint, newest_at timestamptz, horizon timestamptz
) ON COMMIT DELETE ROWS
"""


def lock_shards(conn: sa.Connection, wanted: Sequence[int]) -> list[int]:
    """The first statement of every engine transaction, on its own (engine.md, 5): the shards that nobody else holds."""
    return [row.shard for row in conn.exec_driver_sql(_SHARDS, {"shards": list(wanted)})]


def wait_for_shards(conn: sa.Connection, wanted: Sequence[int]) -> None:
    """The same for an operator's command, which waits for the batches that hold them (two seconds at most) instead of going without."""
    conn.exec_driver_sql(_SHARDS.removesuffix(" SKIP LOCKED"), {"shards": list(wanted)})
    take_turn(conn)


def take_turn(conn: sa.Connection) -> int:
    """The number of this transaction among all that held shards. To be asked when they are locked: whoever held one of them since the last
    time this worker did has a number in between (see `low_water`).
    """
    return int(conn.exec_driver_sql("SELECT nextval('journeys.engine_turns')").scalar_one())


def hold_deployment(conn: sa.Connection) -> None:
    """Until this transaction ends, deploy waits."""
    conn.exec_driver_sql("SELECT pg_advisory_xact_lock_shared(%(key)s::bigint)", {"key": DEPLOY_LOCK})


def take_deployment(conn: sa.Connection) -> None:
    """Wait for running batches to end, and keep new ones waiting: for deploy."""
    conn.exec_driver_sql("SELECT pg_advisory_xact_lock(%(key)s::bigint)", {"key": DEPLOY_LOCK})
    take_turn(conn)


def batch_table(conn: sa.Connection) -> None:
    """The session's temporary tables: a batch's moments, and until when its customers' are complete. Made once per connection."""
    if not conn.info.get("batch_events"):
        with conn.begin():
            conn.exec_driver_sql(_BATCH)
            conn.exec_driver_sql(_CUSTOMERS)
        conn.info["batch_events"] = True
