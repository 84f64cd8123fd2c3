-- Messages by the day they were planned (logical time), with what has become of them.
SELECT width_bucket(m.planned_at, CAST(:bounds AS timestamptz[])) AS day_no,
       m.workflow_id, m.workflow_version AS version, m.channel, m.state, coalesce(m.reason, '') AS reason, count(*) AS n
  FROM journeys.messages AS m
 WHERE m.planned_at >= :from_at AND m.planned_at < :to_at
 GROUP BY 1, 2, 3, 4, 5, 6
