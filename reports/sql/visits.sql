-- Stays at steps, of the journeys that entered in the span. A stay begins with the transition to the step and ends with the
-- journey's next transition; no next one = waiting there. So reached = passed + waiting + exited holds by construction.
-- A stay that a restart cut short is not counted: the journey begins anew, and its next stay is. An error that was retried is part of
-- the stay: the journey was there all the time.
-- Two grains in one pass: a row for each step (is_total) and one for each way out of it. Version 0 = all versions together.
WITH cohort AS (
    SELECT j.id, j.workflow_id, CASE WHEN :by_version THEN j.version ELSE 0 END AS version
      FROM journeys.customer_journeys AS j
     WHERE j.id IN (SELECT t.journey_id FROM journeys.journey_transitions AS t
                     WHERE t.from_step IS NULL AND t.at >= :from_at AND t.at < :to_at)
       AND j.entered_at >= :from_at AND j.entered_at < :to_at
), told AS (
    SELECT c.workflow_id, c.version, t.journey_id, t.id, t.to_step, t.why, t.at,
           lead(t.why) OVER (PARTITION BY t.journey_id ORDER BY t.id) AS then_why
      FROM cohort AS c
      JOIN journeys.journey_transitions AS t ON t.journey_id = c.id
), moves AS (
    SELECT t.workflow_id, t.version, t.journey_id, t.to_step AS step_key, t.at,
           lead(t.id) OVER next_move AS next_id, lead(t.to_step) OVER next_move AS next_step,
           lead(t.why) OVER next_move AS next_why, lead(t.at) OVER next_move AS left_at
      FROM told AS t
     WHERE t.why <> 'retried' AND t.then_why IS DISTINCT FROM 'retried'
    WINDOW next_move AS (PARTITION BY t.journey_id ORDER BY t.id)
), stays AS (
    SELECT workflow_id, version, step_key, journey_id,
           CASE WHEN next_id IS NULL THEN 'waiting' WHEN next_step IS NOT NULL OR next_why = 'completed' THEN 'passed' ELSE 'exited' END AS outcome,
           CASE WHEN next_id IS NULL THEN '' WHEN next_step IS NOT NULL THEN next_step WHEN next_why = 'completed' THEN 'end' ELSE next_why END AS way,
           extract(epoch FROM left_at - at) AS seconds
      FROM moves
     WHERE step_key IS NOT NULL AND (next_why IS NULL OR next_why <> 'restarted')
)
SELECT workflow_id, version, step_key, outcome, way, grouping(outcome) = 1 AS is_total,
       count(*) AS n, count(DISTINCT journey_id) AS journeys,
       round(CAST(percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS numeric), 3) AS median_seconds,
       round(CAST(percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds) AS numeric), 3) AS p90_seconds
  FROM stays
 GROUP BY GROUPING SETS ((workflow_id, version, step_key), (workflow_id, version, step_key, outcome, way))
