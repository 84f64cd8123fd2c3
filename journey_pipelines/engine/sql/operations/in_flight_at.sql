-- Where the active journeys of these workflows are: by version and step, parked ones too.
SELECT x.workflow_id, x.version, x.step_key, sum(x.n)::bigint AS journeys FROM (
    SELECT j.workflow_id, j.version, j.step_key, count(*) AS n FROM journeys.customer_journeys j
     WHERE j.status = 'active' AND j.held_at IS NULL
       AND j.step_uid = ANY (ARRAY(SELECT s.step_uid FROM journeys.workflow_steps s WHERE s.workflow_id = ANY (%(workflows)s::text[])
                                    UNION SELECT s.entry_uid FROM journeys.workflow_steps s WHERE s.workflow_id = ANY (%(workflows)s::text[])))
     GROUP BY 1, 2, 3
     UNION ALL
    SELECT j.workflow_id, j.version, j.step_key, count(*) FROM journeys.customer_journeys j
     WHERE j.workflow_id = ANY (%(workflows)s::text[]) AND j.status = 'active' AND j.held_at IS NOT NULL
     GROUP BY 1, 2, 3) AS x
 GROUP BY 1, 2, 3
 ORDER BY 1, 2 DESC, journeys DESC, 3
