-- Shards with visible rows still in a queue, from the shard's low-water mark on: their timers wait for the rounds of those rows.
SELECT s.shard FROM unnest(%(shards)s::smallint[], %(lows)s::timestamptz[], %(places)s::bigint[]) AS s (shard, low, place)
 WHERE EXISTS (SELECT 1 FROM journeys.event_inbox e
                WHERE e.shard = s.shard AND e.effective_at <= %(now)s::timestamptz AND (e.effective_at, e.id) >= (s.low, s.place))
    OR EXISTS (SELECT 1 FROM journeys.customer_moments m WHERE m.shard = s.shard AND m.at <= %(moments_until)s::timestamptz AND m.at >= s.low)
    OR EXISTS (SELECT 1 FROM journeys.customer_changes c
                WHERE c.shard = s.shard AND c.at <= %(moments_until)s::timestamptz AND (c.at, c.id) >= (s.low, s.place - (3::bigint << 60)))
    OR EXISTS (SELECT 1 FROM journeys.segment_changes c
                WHERE c.shard = s.shard AND c.occurred_at <= %(moments_until)s::timestamptz
                  AND (c.occurred_at, c.id) >= (s.low, s.place - (4::bigint << 60)))
