-- Journeys of this round's customers that go on before the event (:after false) or with it (:after true: the woken too).
-- A tie in time goes to the event: a timer's seq is the greatest there is (engine.md, 2).
-- OFFSET 0 fences the customer's journeys off, so that no plan starts from everything that is due.
SELECT j.step_uid, array_agg(j.id ORDER BY j.due_at, j.due_seq, j.id) AS ids
  FROM batch_events b
 CROSS JOIN LATERAL (
    SELECT x.id, x.step_uid, x.due_at, x.due_seq, x.held_at FROM journeys.customer_journeys x
     WHERE x.customer_id = b.customer_id AND x.status = 'active'
    OFFSET 0) AS j
 WHERE b.round = %(round)s::integer AND j.held_at IS NULL
   AND ((j.due_at, j.due_seq) < (b.occurred_at, b.seq) OR %(after)s::boolean AND (j.due_at, j.due_seq) = (b.occurred_at, b.seq))
 GROUP BY j.step_uid
