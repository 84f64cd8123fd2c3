-- Which steps have journeys due, and since when: :low is the worker's low-water mark, so that dead index entries are not read again and again.
SELECT step_uid, min(due_at) AS first FROM (
    SELECT j.step_uid, j.due_at FROM journeys.customer_journeys j
     WHERE j.status = 'active' AND j.held_at IS NULL AND j.due_at <= %(now)s::timestamptz AND j.due_at >= %(low)s::timestamptz
       AND j.shard = ANY (%(shards)s::smallint[])
     ORDER BY j.due_at
     LIMIT 50000) AS x
 GROUP BY step_uid
