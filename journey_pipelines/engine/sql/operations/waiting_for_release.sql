-- What a release of these workflows would let go: parked journeys, and messages that should have left by now.
SELECT w.id AS workflow_id, w.definition -> 'workflow' ->> 'on_resume' AS policy,
       (SELECT count(*) FROM journeys.customer_journeys j WHERE j.workflow_id = w.id AND j.held_at IS NOT NULL AND j.status = 'active') AS parked,
       coalesce(m.overdue, 0) AS overdue
  FROM journeys.automation_workflows w
  LEFT JOIN (SELECT x.workflow_id, count(*) AS overdue FROM journeys.messages x
              WHERE x.state IN ('planned', 'deferred', 'retry') AND x.send_after <= %(now)s::timestamptz AND x.workflow_id = ANY (%(workflows)s::text[])
              GROUP BY x.workflow_id) AS m ON m.workflow_id = w.id
 WHERE w.is_current AND w.id = ANY (%(workflows)s::text[])
 ORDER BY w.id
