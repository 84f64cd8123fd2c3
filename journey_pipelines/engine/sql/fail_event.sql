-- An event, or a moment, that a statement cannot digest: an event stays in the history; this says what it did not do.
INSERT INTO journeys.event_quarantine
       (inbox_id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, reason, sqlstate, statement, quarantined_at)
SELECT b.seq, coalesce(e.source, 'engine'), e.source_event_id, b.customer_id, b.type, b.occurred_at, b.received_at, b.payload, %(error)s::text,
       %(sqlstate)s::text, %(statement)s::text, %(now)s::timestamptz
  FROM batch_events b
  LEFT JOIN journeys.customer_events e ON e.seq = b.seq
 WHERE b.seq = %(seq)s::bigint
