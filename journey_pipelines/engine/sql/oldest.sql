-- The visible row of a shard that is taken first.
SELECT e.id FROM journeys.event_inbox e WHERE e.shard = %(shard)s::smallint AND e.effective_at <= %(now)s::timestamptz
 ORDER BY e.effective_at, e.id LIMIT 1
