-- Goals by the entry day of the journey. A journey counts once, with the exposure it had at its first conversion.
WITH reached AS (
    SELECT width_bucket(j.entered_at, CAST(:bounds AS timestamptz[])) AS day_no, c.workflow_id, j.version, c.value,
           first_value(c.exposed) OVER first_first AS exposed, row_number() OVER first_first = 1 AS is_first
      FROM journeys.customer_journeys AS j
      JOIN journeys.conversions AS c ON c.journey_id = j.id
     WHERE j.id IN (SELECT t.journey_id FROM journeys.journey_transitions AS t
                     WHERE t.from_step IS NULL AND t.at >= :from_at AND t.at < :to_at)
       AND j.entered_at >= :from_at AND j.entered_at < :to_at
    WINDOW first_first AS (PARTITION BY c.journey_id ORDER BY c.at, c.event_seq)
)
SELECT day_no, workflow_id, version, exposed, count(*) FILTER (WHERE is_first) AS journeys, count(*) AS conversions,
       coalesce(sum(value), 0) AS value
  FROM reached
 GROUP BY 1, 2, 3, 4
