-- The journeys that a step's scan would claim: only asked when the scan failed, to halve it down to the one that fails.
SELECT j.id FROM journeys.customer_journeys j
 WHERE j.step_uid = %(step_uid)s::bigint AND j.status = 'active' AND j.held_at IS NULL AND j.due_at <= %(now)s::timestamptz
   AND j.due_at >= %(due_from)s::timestamptz
   AND j.shard = ANY (%(shards)s::smallint[])
 ORDER BY j.due_at
 LIMIT %(row_limit)s::integer
