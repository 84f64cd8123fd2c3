-- What happened within the span, whenever its journeys entered; under_way is the stock at the end of the span.
-- An end by an error that was retried later is none: the journey was under way all the time, and ends once.
SELECT t.workflow_id, t.version, 'ended' AS fact, count(*) AS n
  FROM journeys.journey_transitions AS t
 WHERE t.to_step IS NULL AND t.at >= :from_at AND t.at < :to_at
   AND (t.why <> 'error' OR NOT EXISTS (SELECT 1 FROM journeys.journey_transitions AS r
                                         WHERE r.journey_id = t.journey_id AND r.why = 'retried' AND r.id > t.id))
 GROUP BY 1, 2
UNION ALL
SELECT m.workflow_id, m.workflow_version, 'accepted', count(*)
  FROM journeys.messages AS m
 WHERE m.state = 'accepted' AND m.accepted_at >= :from_at AND m.accepted_at < :to_at
 GROUP BY 1, 2
UNION ALL
SELECT c.workflow_id, c.version, 'conversions', count(*)
  FROM journeys.conversions AS c
 WHERE c.at >= :from_at AND c.at < :to_at
 GROUP BY 1, 2
UNION ALL
SELECT j.workflow_id, j.version, 'under_way', count(*)
  FROM journeys.customer_journeys AS j
 WHERE j.entered_at < :to_at AND (j.ended_at IS NULL OR j.ended_at >= :to_at)
 GROUP BY 1, 2
