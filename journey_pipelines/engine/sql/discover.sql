-- Which steps have journeys due: :low is the run's low-water mark, so that dead index entries are not read again and again.
SELECT step_uid, count(*) AS due FROM (
    SELECT j.step_uid FROM journeys.customer_journeys j
     WHERE j.status = 'active' AND j.held_at IS NULL AND j.due_at <= %(now)s::timestamptz AND j.due_at > %(low)s::timestamptz
       AND j.shard = ANY (%(shards)s::smallint[])
     ORDER BY j.due_at
     LIMIT 50000) AS x
 GROUP BY step_uid
