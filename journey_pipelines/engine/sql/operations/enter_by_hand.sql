-- Ask a workflow to take customers in, or to let them go: an event for each, once per request.
INSERT INTO journeys.event_inbox (source, source_event_id, customer_id, type, occurred_at, received_at, payload)
SELECT 'manual', %(request)s::text || '|' || u.customer_id, u.customer_id, %(type)s::text, %(now)s::timestamptz, %(now)s::timestamptz, u.payload
  FROM unnest(%(customers)s::text[], %(payloads)s::text[]) AS p (customer_id, document)
 CROSS JOIN LATERAL (SELECT p.customer_id, p.document::jsonb AS payload) AS u
