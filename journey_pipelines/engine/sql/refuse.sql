-- A row that cannot be taken leaves its queue with its reason.
WITH event AS (
    DELETE FROM journeys.event_inbox d WHERE %(queue)s::text = 'event' AND d.ctid = %(tid)s::tid RETURNING d.*
), change AS (
    DELETE FROM journeys.customer_changes d WHERE %(queue)s::text = 'change' AND d.ctid = %(tid)s::tid RETURNING d.*
), move AS (
    DELETE FROM journeys.segment_changes d WHERE %(queue)s::text = 'move' AND d.ctid = %(tid)s::tid RETURNING d.*
), moment AS (
    DELETE FROM journeys.customer_moments d WHERE %(queue)s::text IN ('date', 'watch') AND d.ctid = %(tid)s::tid RETURNING d.*
), taken AS (
    SELECT id, source, source_event_id, customer_id, type, occurred_at, received_at, payload FROM event
    UNION ALL
    SELECT id, 'engine', NULL, customer_id, 'customer.change', at, received_at, jsonb_build_object('keys', to_jsonb(keys)) FROM change
    UNION ALL
    SELECT id, 'segment_changes', NULL, customer_id, 'segment.move', occurred_at, occurred_at,
           jsonb_build_object('segment', segment_id, 'change', change) FROM move
    UNION ALL
    SELECT NULL, 'engine', NULL, customer_id, kind || ':' || ref, at, known_at, '{}' FROM moment
)
INSERT INTO journeys.event_quarantine
       (inbox_id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, reason, sqlstate, statement, quarantined_at)
SELECT id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, %(error)s::text, %(sqlstate)s::text, 'take',
       %(now)s::timestamptz
  FROM taken
