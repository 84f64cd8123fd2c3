-- Journeys that ended with an error, the last first, and what the database said.
SELECT j.id AS journey_id, j.workflow_id, j.version, j.customer_id, j.entry_key, j.step_key, j.ended_at,
       e.detail ->> 'sqlstate' AS sqlstate, e.detail ->> 'error' AS error
  FROM journeys.customer_journeys j
  LEFT JOIN LATERAL (
    SELECT t.detail FROM journeys.journey_transitions t WHERE t.journey_id = j.id AND t.why = 'error' ORDER BY t.id DESC LIMIT 1) AS e ON true
 WHERE j.exit_reason = 'error' AND (%(workflow)s::text IS NULL OR j.workflow_id = %(workflow)s::text)
 ORDER BY j.ended_at DESC, j.id DESC
 LIMIT %(most)s::bigint
