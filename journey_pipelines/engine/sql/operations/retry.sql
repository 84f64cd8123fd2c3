-- Back to the step where they failed, due now. What the step had not written is not there: its batch was undone for them.
WITH again AS MATERIALIZED (
    SELECT j.* FROM unnest(%(ids)s::bigint[]) AS given (id) JOIN journeys.customer_journeys j ON j.id = given.id
     WHERE j.status = 'ended' AND j.exit_reason = 'error'
), revived AS (
    UPDATE journeys.customer_journeys j
       SET status = 'active', exit_reason = NULL, ended_at = NULL, held_at = NULL, due_was = coalesce(a.due_was, a.due_at),
           due_at = greatest(%(now)s::timestamptz, a.at), due_seq = 9223372036854775807
      FROM again a WHERE j.id = a.id
    RETURNING 1
), admitted AS (
    UPDATE journeys.journey_admissions m SET active = m.active + g.n
      FROM (SELECT workflow_id, customer_id, entry_key, count(*) AS n FROM again GROUP BY 1, 2, 3) AS g
     WHERE m.workflow_id = g.workflow_id AND m.customer_id = g.customer_id AND m.entry_key = g.entry_key
    RETURNING 1
), logged AS (
    INSERT INTO journeys.journey_transitions
           (journey_id, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, recorded_at, why, detail)
    SELECT a.id, a.workflow_id, a.version, a.customer_id, a.visit, a.step_key, a.step_key, greatest(%(now)s::timestamptz, a.at),
           9223372036854775807, %(now)s::timestamptz, 'retried', jsonb_build_object('by', %(by)s::text)
      FROM again a
    RETURNING 1
)
SELECT count(*) AS retried FROM revived
