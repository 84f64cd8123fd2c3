-- Active journeys of the versions before :version.
SELECT j.id FROM journeys.customer_journeys j
 WHERE j.workflow_id = %(workflow)s::text AND j.version < %(version)s::integer AND j.status = 'active' AND j.held_at IS NULL
   AND j.step_uid = ANY (ARRAY(SELECT s.step_uid FROM journeys.workflow_steps s WHERE s.workflow_id = %(workflow)s::text
                                UNION SELECT s.entry_uid FROM journeys.workflow_steps s WHERE s.workflow_id = %(workflow)s::text))
 UNION ALL
SELECT j.id FROM journeys.customer_journeys j
 WHERE j.workflow_id = %(workflow)s::text AND j.version < %(version)s::integer AND j.status = 'active' AND j.held_at IS NOT NULL
