"""Customers with a profile and a past, made inside the database: nothing of them passes through Python."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from benchmarks.database import execute
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.workflows.load import load_project

#: a Monday; what is deployed, entered and filled begins here
START = datetime(2026, 1, 5, 9, tzinfo=UTC)

_PROFILES = """
INSERT INTO journeys.customer_profiles
       (customer_id, shard, email_address, first_name, country, subscription_status, lifetime_value, updated_at)
SELECT 'c' || n, journeys.shard_of('c' || n), 'c' || n || '@example.org', 'N' || n, (ARRAY['DE', 'FR', 'US', 'GB', 'IT'])[n %% 5 + 1],
       'active', 100 + n %% 1000, %(at)s::timestamptz - interval '1 year'
  FROM generate_series(1, %(n)s) n
"""
# half a day beside the hour at which the measurements run: an order grows out of a number of days in none of them
_ORDERS = """
INSERT INTO journeys.customer_events (seq, customer_id, shard, type, occurred_at, received_at, source, payload)
SELECT row_number() OVER (), o.customer_id, journeys.shard_of(o.customer_id), 'order', o.at, o.at, 'bench', '{"total": 20}'
  FROM (SELECT 'c' || n AS customer_id,
               %(at)s::timestamptz - interval '12 hours' - interval '1 day' * ((n * 7 + k * 23) %% %(days)s) AS at
          FROM generate_series(1, %(n)s) n, generate_series(%(least)s::integer, n %% 4) k) AS o
"""
_STATS = """
INSERT INTO journeys.customer_event_stats (customer_id, type, shard, first_at, last_at, last_seq, n)
SELECT customer_id, type, min(shard), min(occurred_at), max(occurred_at), max(seq), count(*) FROM journeys.customer_events GROUP BY 1, 2
"""
_AHEAD = "SELECT setval(pg_get_serial_sequence('journeys.event_inbox', 'id'), (SELECT max(seq) FROM journeys.customer_events))"


def fill_people(engine: sa.Engine, customers: int, *, days: int, least: int = 1) -> None:
    """`customers` profiles, and the orders of each in the last `days` days: n % 4 for customer n; with `least` 0, one more."""
    execute(engine, _PROFILES, n=customers, at=START)
    execute(engine, _ORDERS, n=customers, at=START, days=days, least=least)
    execute(engine, _STATS)
    execute(engine, _AHEAD)


def deploy_files(engine: sa.Engine, folder: Path, files: dict[str, str], now: datetime = START) -> None:
    """Write a project and deploy it as `journeys deploy` does; files: path in the project -> text."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = load_project(folder)
    if project.errors:
        raise SystemExit("\n".join(map(str, project.errors)))
    deploy(engine, project, now)
