-- What may be retried of these journeys: of a customer and key the last one alone, and that only where nobody is active.
SELECT given.id, j.workflow_id, j.customer_id, j.entry_key, j.status, j.exit_reason, coalesce(a.active, 0) > 0 AS another,
       j.id < max(j.id) FILTER (WHERE j.exit_reason = 'error') OVER (PARTITION BY j.workflow_id, j.customer_id, j.entry_key) AS older,
       w.definition -> 'workflow' -> 'entry' -> 'reentry' ->> 'policy' AS reentry
  FROM unnest(%(ids)s::bigint[]) AS given (id)
  LEFT JOIN journeys.customer_journeys j ON j.id = given.id
  LEFT JOIN journeys.journey_admissions a
         ON a.workflow_id = j.workflow_id AND a.customer_id = j.customer_id AND a.entry_key = j.entry_key
  LEFT JOIN journeys.automation_workflows w ON w.id = j.workflow_id AND w.is_current
 ORDER BY given.id
