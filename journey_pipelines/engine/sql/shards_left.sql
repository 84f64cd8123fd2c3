-- Shards with visible events still in the inbox: their timers wait for the rounds of those events.
SELECT s.shard FROM unnest(%(shards)s::smallint[]) AS s (shard)
 WHERE EXISTS (SELECT 1 FROM journeys.event_inbox e WHERE e.shard = s.shard AND e.effective_at <= %(now)s::timestamptz)
