-- Which wait steps hold journeys of this round's customers.
SELECT DISTINCT j.step_uid
  FROM batch_events b
 CROSS JOIN LATERAL (
    SELECT x.step_uid FROM journeys.customer_journeys x
     WHERE x.customer_id = b.customer_id AND x.status = 'active' AND x.arrived_seq IS NULL
    OFFSET 0) AS j
 WHERE b.round = %(round)s::integer AND b.type = ANY (%(types)s::text[])
