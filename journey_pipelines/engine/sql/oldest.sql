-- The visible row of a shard that is taken first, of whatever queue.
SELECT u.queue, u.tid::text AS tid FROM (
    (SELECT 'event' AS queue, e.ctid AS tid, e.effective_at AS at, e.id AS place FROM journeys.event_inbox e
      WHERE e.shard = %(shard)s::smallint AND e.effective_at <= %(now)s::timestamptz ORDER BY e.effective_at, e.id LIMIT 1)
    UNION ALL
    (SELECT 'date', m.ctid, m.at, 2::bigint << 60 FROM journeys.customer_moments m
      WHERE m.shard = %(shard)s::smallint AND m.at <= %(now)s::timestamptz AND m.kind = 'date' ORDER BY m.at LIMIT 1)
    UNION ALL
    (SELECT 'change', c.ctid, c.at, (3::bigint << 60) + c.id FROM journeys.customer_changes c
      WHERE c.shard = %(shard)s::smallint AND c.at <= %(now)s::timestamptz ORDER BY c.at, c.id LIMIT 1)
    UNION ALL
    (SELECT 'move', c.ctid, c.occurred_at, (4::bigint << 60) + c.id FROM journeys.segment_changes c
      WHERE c.shard = %(shard)s::smallint AND c.occurred_at <= %(now)s::timestamptz ORDER BY c.occurred_at, c.id LIMIT 1)
    UNION ALL
    (SELECT 'watch', m.ctid, m.at, 6::bigint << 60 FROM journeys.customer_moments m
      WHERE m.shard = %(shard)s::smallint AND m.at <= %(now)s::timestamptz AND m.kind = 'watch' ORDER BY m.at LIMIT 1)) AS u
 ORDER BY u.at, u.place LIMIT 1
