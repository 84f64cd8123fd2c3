-- What is due, of each customer only up to the first journey whose step may tell something (:emitting): order matters within a customer.
SELECT f.step_uid, min(f.due_at) AS first, array_agg(f.id ORDER BY f.due_at, f.due_seq, f.id) AS ids
  FROM (
    SELECT d.id, d.step_uid, d.due_at, d.due_seq,
           count(*) FILTER (WHERE d.step_uid = ANY (%(emitting)s::bigint[])) OVER (
               PARTITION BY d.customer_id ORDER BY d.due_at, d.due_seq, d.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS told_before
      FROM (SELECT j.id, j.customer_id, j.step_uid, j.due_at, j.due_seq FROM journeys.customer_journeys j
             WHERE j.status = 'active' AND j.held_at IS NULL AND j.due_at <= %(now)s::timestamptz AND j.due_at >= %(low)s::timestamptz
               AND j.shard = ANY (%(shards)s::smallint[])
             ORDER BY j.due_at
             LIMIT %(row_limit)s::integer) AS d) AS f
 WHERE f.told_before = 0
 GROUP BY f.step_uid
