-- Dates of this round's customers that have come: each asks its customer in, unless something before it has planned it anew:
-- that plan waits in the queue, or is a later row of this batch.
WITH told AS (
    INSERT INTO journeys.event_inbox (id, source, customer_id, type, occurred_at, received_at, payload) OVERRIDING SYSTEM VALUE
    SELECT journeys.moment_id(2), 'engine', b.customer_id, 'enter.' || split_part(substr(b.type, 6), '.', 1), b.occurred_at, b.received_at,
           jsonb_build_object('trigger', split_part(b.type, '.', 2), 'date', journeys.iso(b.occurred_at))
      FROM batch_events b
     WHERE b.round = %(round)s::integer AND b.seq BETWEEN %(low)s::bigint AND %(high)s::bigint AND b.type LIKE 'date:%%'
       AND NOT EXISTS (SELECT FROM journeys.customer_moments m
                        WHERE m.customer_id = b.customer_id AND m.kind = 'date' AND m.ref = substr(b.type, 6))
       AND NOT EXISTS (SELECT FROM batch_events o WHERE o.customer_id = b.customer_id AND o.type = b.type AND o.seq > b.seq)
    RETURNING 1
)
SELECT count(*) AS emitted FROM told
