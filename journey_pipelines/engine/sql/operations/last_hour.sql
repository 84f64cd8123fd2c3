-- Entrants of the hour up to each workflow's latest entry, where they are enough to look further and nothing is held or was just released.
SELECT a.workflow_id, a.at, h.entrants
  FROM unnest(%(workflows)s::text[], %(ats)s::timestamptz[]) AS a (workflow_id, at)
 CROSS JOIN LATERAL (
    SELECT coalesce(sum(e.entries), 0)::bigint AS entrants FROM journeys.workflow_entries e
     WHERE e.workflow_id = a.workflow_id AND e.minute > a.at - interval '1 hour' AND e.minute <= a.at) AS h
 WHERE h.entrants >= %(minimum)s::bigint
   AND NOT EXISTS (SELECT FROM journeys.operator_holds o
                    WHERE o.workflow_id = a.workflow_id AND o.what = 'dispatch'
                      AND (o.released_at IS NULL OR o.held_by = 'breaker' AND o.released_at > %(now)s::timestamptz - interval '1 hour'))
