-- Who entered a workflow between two times, by bucket, all workers together.
SELECT e.minute, sum(e.entries)::bigint AS entries FROM journeys.workflow_entries e
 WHERE e.workflow_id = %(workflow)s::text AND e.minute BETWEEN %(low)s::timestamptz AND %(high)s::timestamptz
 GROUP BY e.minute
