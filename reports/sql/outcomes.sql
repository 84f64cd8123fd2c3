-- Journeys by entry day (1 = the first of the span), how they came in and how they ended; exit_reason null = under way.
-- The entries come from journey_transitions, whose index on time is small and ordered; customer_journeys has none.
SELECT width_bucket(j.entered_at, CAST(:bounds AS timestamptz[])) AS day_no,
       j.workflow_id, j.version, j.trigger_id, j.exit_reason, j.held_out, count(*) AS n
  FROM journeys.customer_journeys AS j
 WHERE j.id IN (SELECT t.journey_id FROM journeys.journey_transitions AS t
                 WHERE t.from_step IS NULL AND t.at >= :from_at AND t.at < :to_at)
   AND j.entered_at >= :from_at AND j.entered_at < :to_at
 GROUP BY 1, 2, 3, 4, 5, 6
