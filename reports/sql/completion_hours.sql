-- Hours from entry to the end, of the journeys that completed or reached the goal. Version 0 = all versions together.
-- Numeric, not floating: the sum of floats depends on the order of rows, and a report must not.
WITH took AS (
    SELECT j.workflow_id, CASE WHEN :by_version THEN j.version ELSE 0 END AS version,
           extract(epoch FROM j.ended_at - j.entered_at) / 3600 AS hours
      FROM journeys.customer_journeys AS j
     WHERE j.id IN (SELECT t.journey_id FROM journeys.journey_transitions AS t
                     WHERE t.from_step IS NULL AND t.at >= :from_at AND t.at < :to_at)
       AND j.entered_at >= :from_at AND j.entered_at < :to_at
       AND j.exit_reason IN ('completed', 'goal')
)
SELECT workflow_id, version, round(avg(hours), 3) AS mean_hours,
       round(CAST(percentile_cont(0.5) WITHIN GROUP (ORDER BY hours) AS numeric), 3) AS median_hours,
       round(CAST(percentile_cont(0.9) WITHIN GROUP (ORDER BY hours) AS numeric), 3) AS p90_hours
  FROM took
 GROUP BY 1, 2
