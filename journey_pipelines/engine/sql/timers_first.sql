-- As timers, but of each customer only what is due up to the first journey whose step may tell something (:emitting): that may concern the
-- others (an exit, a change, a segment) and is looked at first.
SELECT f.step_uid, array_agg(f.id ORDER BY f.due_at, f.due_seq, f.id) AS ids
  FROM (
    SELECT j.id, j.step_uid, j.due_at, j.due_seq,
           count(*) FILTER (WHERE j.step_uid = ANY (%(emitting)s::bigint[])) OVER (
               PARTITION BY b.customer_id ORDER BY j.due_at, j.due_seq, j.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS told_before
      FROM batch_events b
     CROSS JOIN LATERAL (
        SELECT x.id, x.step_uid, x.due_at, x.due_seq, x.held_at FROM journeys.customer_journeys x
         WHERE x.customer_id = b.customer_id AND x.status = 'active'
        OFFSET 0) AS j
     WHERE b.round = %(round)s::integer AND j.held_at IS NULL AND (j.due_at, j.due_seq) < (b.occurred_at, b.seq)) AS f
 WHERE f.told_before = 0
 GROUP BY f.step_uid
