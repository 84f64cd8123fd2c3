-- Shards with visible rows still in a queue: their timers wait for the rounds of those rows.
SELECT s.shard FROM unnest(%(shards)s::smallint[]) AS s (shard)
 WHERE EXISTS (SELECT 1 FROM journeys.event_inbox e WHERE e.shard = s.shard AND e.effective_at <= %(now)s::timestamptz)
    OR EXISTS (SELECT 1 FROM journeys.customer_moments m WHERE m.shard = s.shard AND m.at <= %(moments_until)s::timestamptz)
    OR EXISTS (SELECT 1 FROM journeys.customer_changes c WHERE c.shard = s.shard AND c.at <= %(moments_until)s::timestamptz)
    OR EXISTS (SELECT 1 FROM journeys.segment_changes c WHERE c.shard = s.shard AND c.occurred_at <= %(moments_until)s::timestamptz)
