-- Active journeys of a workflow, in all versions, counted as far as the limit: by the steps they are at, and those parked.
SELECT (SELECT count(*) FROM (
            SELECT FROM journeys.customer_journeys j
             WHERE j.status = 'active' AND j.held_at IS NULL
               AND j.step_uid = ANY (ARRAY(SELECT s.step_uid FROM journeys.workflow_steps s WHERE s.workflow_id = %(workflow)s::text
                                            UNION SELECT s.entry_uid FROM journeys.workflow_steps s WHERE s.workflow_id = %(workflow)s::text))
             LIMIT %(most)s::bigint) AS going)
     + (SELECT count(*) FROM (
            SELECT FROM journeys.customer_journeys j
             WHERE j.workflow_id = %(workflow)s::text AND j.status = 'active' AND j.held_at IS NOT NULL
             LIMIT %(most)s::bigint) AS parked) AS in_flight
