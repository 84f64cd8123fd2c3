-- Journeys that ended with an error, by where and what the database said.
SELECT j.workflow_id, j.step_key, e.detail ->> 'sqlstate' AS sqlstate, e.detail ->> 'error' AS error, count(*) AS journeys,
       min(j.ended_at) AS first_at, max(j.ended_at) AS last_at
  FROM journeys.customer_journeys j
  LEFT JOIN LATERAL (
    SELECT t.detail FROM journeys.journey_transitions t WHERE t.journey_id = j.id AND t.why = 'error' ORDER BY t.id DESC LIMIT 1) AS e ON true
 WHERE j.exit_reason = 'error' AND (%(workflow)s::text IS NULL OR j.workflow_id = %(workflow)s::text)
 GROUP BY 1, 2, 3, 4
 ORDER BY journeys DESC, 1, 2, 3, 4
 LIMIT 200
