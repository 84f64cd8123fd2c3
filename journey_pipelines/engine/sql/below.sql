-- The first row of a shard's queues below its low-water mark (:shards, :lows, :places; see engine/low_water.py), and, with shard null, the
-- first journey of :all shards that was due before :due. In a queue without dead entries a look of less than a millisecond.
SELECT s.shard, f.at
  FROM unnest(%(shards)s::smallint[], %(lows)s::timestamptz[], %(places)s::bigint[]) AS s (shard, low, place)
 CROSS JOIN LATERAL (
    SELECT min(u.at) AS at FROM (
        (SELECT e.effective_at AS at FROM journeys.event_inbox e
          WHERE e.shard = s.shard AND (e.effective_at, e.id) < (s.low, s.place) ORDER BY e.effective_at, e.id LIMIT 1)
        UNION ALL
        (SELECT m.at FROM journeys.customer_moments m WHERE m.shard = s.shard AND m.at < s.low ORDER BY m.at LIMIT 1)
        UNION ALL
        (SELECT c.at FROM journeys.customer_changes c
          WHERE c.shard = s.shard AND (c.at, c.id) < (s.low, s.place - (3::bigint << 60)) ORDER BY c.at, c.id LIMIT 1)
        UNION ALL
        (SELECT c.occurred_at FROM journeys.segment_changes c
          WHERE c.shard = s.shard AND (c.occurred_at, c.id) < (s.low, s.place - (4::bigint << 60)) ORDER BY c.occurred_at, c.id LIMIT 1)) AS u) AS f
 WHERE f.at IS NOT NULL
UNION ALL
(SELECT NULL, j.due_at FROM journeys.customer_journeys j
  WHERE j.status = 'active' AND j.held_at IS NULL AND j.due_at < %(due)s::timestamptz AND j.shard = ANY (%(all)s::smallint[])
  ORDER BY j.due_at LIMIT 1)
