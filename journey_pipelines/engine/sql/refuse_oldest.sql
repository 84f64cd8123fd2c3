-- The oldest visible row of a shard cannot be taken in: it leaves the inbox with its reason.
WITH taken AS (
    DELETE FROM journeys.event_inbox d WHERE d.id = (
        SELECT e.id FROM journeys.event_inbox e WHERE e.shard = %(shard)s::smallint AND e.effective_at <= %(now)s::timestamptz
         ORDER BY e.effective_at, e.id LIMIT 1)
    RETURNING d.*)
INSERT INTO journeys.event_quarantine
       (inbox_id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, reason, sqlstate, statement, quarantined_at)
SELECT id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, %(error)s::text, %(sqlstate)s::text, 'take',
       %(now)s::timestamptz
  FROM taken
