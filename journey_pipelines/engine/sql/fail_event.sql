-- An event that a statement cannot digest: it stays in the history, this says what it did not do.
INSERT INTO journeys.event_quarantine
       (inbox_id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, reason, sqlstate, statement, quarantined_at)
SELECT e.seq, e.source, e.source_event_id, e.customer_id, e.type, e.occurred_at, e.received_at, e.payload, %(error)s::text, %(sqlstate)s::text,
       %(statement)s::text, %(now)s::timestamptz
  FROM journeys.customer_events e WHERE e.seq = %(seq)s::bigint
