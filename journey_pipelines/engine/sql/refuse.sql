-- A row that cannot be taken in leaves the inbox with its reason.
WITH taken AS (
    DELETE FROM journeys.event_inbox d WHERE d.id = %(id)s::bigint RETURNING d.*)
INSERT INTO journeys.event_quarantine
       (inbox_id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, reason, sqlstate, statement, quarantined_at)
SELECT id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, %(error)s::text, %(sqlstate)s::text, 'take',
       %(now)s::timestamptz
  FROM taken
