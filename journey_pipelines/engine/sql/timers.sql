-- Journeys of this round's customers that go on before the event (:after false) or with it (:after true: the woken too).
-- A tie in time goes to the event: a timer's seq is the greatest there is (engine.md, 2).
SELECT j.step_uid, array_agg(j.id ORDER BY j.due_at, j.due_seq, j.id) AS ids
  FROM batch_events b
 CROSS JOIN LATERAL (
    SELECT x.id, x.step_uid, x.due_at, x.due_seq FROM journeys.customer_journeys x
     WHERE x.customer_id = b.customer_id AND x.status = 'active' AND x.held_at IS NULL
       AND ((x.due_at, x.due_seq) < (b.occurred_at, b.seq) OR %(after)s::boolean AND (x.due_at, x.due_seq) = (b.occurred_at, b.seq))
    OFFSET 0) AS j
 WHERE b.round = %(round)s::integer
 GROUP BY j.step_uid
