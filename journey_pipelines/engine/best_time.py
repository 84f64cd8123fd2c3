"""The prior of `best_time`: when people open and click, all customers together; to be learned anew once a day or so."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.compiler.best_time import CLICK, CONSTANT_PRIOR, WINDOW
from journey_pipelines.engine.policies import deployed_policies

#: how many people's habits the constant prior stands for, as long as there are few of their own
_STANDS_FOR = 10
#: of so many events at most it is learned: the shares of an hour do not change for more
_MOST = 1_000_000

_REFRESH = """
WITH seen AS MATERIALIZED (
    SELECT e.customer_id, e.occurred_at, CASE e.type WHEN 'message.clicked' THEN %(click)s::integer ELSE 1 END AS weight
      FROM journeys.customer_events e
     WHERE e.type IN ('message.opened', 'message.clicked') AND e.received_at > %(since)s::timestamptz
       AND e.occurred_at > %(since)s::timestamptz AND e.occurred_at <= %(now)s::timestamptz
       AND journeys.bool(e.payload -> 'machine') IS NOT true
     LIMIT %(most)s::integer
), hours AS (
    SELECT s.customer_id, extract(hour FROM (s.occurred_at AT TIME ZONE 'UTC') + z.utc_offset)::integer AS hour, sum(s.weight) AS n
      FROM seen s
      LEFT JOIN journeys.customer_profiles p ON p.customer_id = s.customer_id
     CROSS JOIN LATERAL (
        SELECT o.utc_offset FROM journeys.zone_offsets o
         WHERE o.zone = coalesce(p.zone, %(zone)s::text) AND o.utc_to > s.occurred_at ORDER BY o.utc_to LIMIT 1) AS z
     GROUP BY 1, 2
), shares AS (
    -- one person has one voice, however much they read
    SELECT hour, n / sum(n) OVER (PARTITION BY customer_id) AS share FROM hours
), learned AS (
    SELECT hour, sum(share)::double precision AS n FROM shares GROUP BY hour
), written AS (
    INSERT INTO journeys.best_time_prior AS b (hour, weight)
    SELECT c.n - 1, c.weight + coalesce(l.n, 0)
      FROM unnest(%(constant)s::double precision[]) WITH ORDINALITY AS c (weight, n) LEFT JOIN learned l ON l.hour = c.n - 1
    ON CONFLICT (hour) DO UPDATE SET weight = excluded.weight
    RETURNING 1
)
SELECT (SELECT count(DISTINCT customer_id) FROM hours) AS people, (SELECT count(*) FROM written) AS hours
"""


def refresh_prior(conn: sa.Connection, now: datetime) -> int:
    """Write `best_time_prior` from the opens and clicks of the last 180 days; returns of how many people. The caller commits.

    Empirical Bayes with a base: each person's shares of the 24 local hours are added up, and the constant prior counts as ten people more.
    """
    policies = deployed_policies(conn)
    total = sum(CONSTANT_PRIOR)
    values = {
        "now": now,
        "since": now - WINDOW,
        "click": CLICK,
        "most": _MOST,
        "zone": policies.zone if policies else "UTC",
        "constant": [_STANDS_FOR * weight / total for weight in CONSTANT_PRIOR],
    }
    return int(conn.exec_driver_sql(_REFRESH, values).one().people)
