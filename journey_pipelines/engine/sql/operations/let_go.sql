-- A slice of the parked: a journey's instant lies between from_at and until_at, by the hash of who and what it is for, so that it does
-- not depend on when somebody looks. Those whose instant has come by :now go on then; what came due later keeps its time.
WITH going AS MATERIALIZED (
    SELECT r.workflow_id, r.policy, r.from_at, (extract(epoch FROM r.until_at - r.from_at) * 1000000)::bigint AS span,
           CASE WHEN r.until_at <= %(now)s::timestamptz THEN 10000
                ELSE floor(10000 * extract(epoch FROM %(now)s::timestamptz - r.from_at) / extract(epoch FROM r.until_at - r.from_at))::integer + 1
           END AS upto
      FROM journeys.resumptions r WHERE r.from_at <= %(now)s::timestamptz
), chosen AS MATERIALIZED (
    SELECT p.id, g.policy, g.from_at + interval '1 microsecond' * (g.span * p.bucket / 10000) AS goes_at
      FROM going g
     CROSS JOIN LATERAL (
        SELECT j.id, journeys.bucket_of(j.workflow_id || '|' || j.customer_id || '|' || j.entry_key) AS bucket
          FROM journeys.customer_journeys j
         WHERE j.workflow_id = g.workflow_id AND j.held_at IS NOT NULL AND j.status = 'active' AND j.shard = ANY (%(shards)s::smallint[])
           AND journeys.bucket_of(j.workflow_id || '|' || j.customer_id || '|' || j.entry_key) < g.upto
         ORDER BY journeys.bucket_of(j.workflow_id || '|' || j.customer_id || '|' || j.entry_key)
         LIMIT %(row_limit)s::integer) AS p
), gone AS (
    UPDATE journeys.customer_journeys j SET
        held_at = NULL,
        skip = c.policy = 'skip' AND j.due_at < c.goes_at,
        due_was = CASE WHEN j.due_at < c.goes_at THEN coalesce(j.due_was, j.due_at) ELSE j.due_was END,
        due_at = greatest(j.due_at, c.goes_at),
        due_seq = CASE WHEN j.due_at < c.goes_at THEN 9223372036854775807 ELSE j.due_seq END
      -- by the key, also where the planner knows nothing of resumptions and would rather read the whole table
      FROM chosen c WHERE j.id = c.id AND j.id = ANY (ARRAY(SELECT id FROM chosen))
    RETURNING 1
)
SELECT count(*) AS released FROM gone
