-- Workflows whose time is over and in which nobody is left. Their entries end at `until`, and an event that comes late may still enter for
-- as long as `max_lateness` allows, so :now is that much later for the caller; what is in the inbox from before has to be looked at first.
UPDATE journeys.automation_workflows w SET status = 'completed'
  FROM unnest(%(workflows)s::text[], %(untils)s::timestamptz[]) AS u (id, until)
 WHERE w.id = u.id AND w.is_current AND w.status = 'active'
   AND NOT EXISTS (SELECT FROM journeys.engine_shards s
                    CROSS JOIN LATERAL (SELECT e.effective_at FROM journeys.event_inbox e WHERE e.shard = s.shard
                                         ORDER BY e.effective_at, e.id LIMIT 1) AS oldest
                    WHERE oldest.effective_at < u.until)
   AND NOT EXISTS (SELECT FROM journeys.customer_journeys j
                    WHERE j.status = 'active' AND j.held_at IS NULL
                      AND j.step_uid = ANY (ARRAY(SELECT t.step_uid FROM journeys.workflow_steps t WHERE t.workflow_id = w.id
                                                   UNION SELECT t.entry_uid FROM journeys.workflow_steps t WHERE t.workflow_id = w.id)))
   AND NOT EXISTS (SELECT FROM journeys.customer_journeys j
                    WHERE j.workflow_id = w.id AND j.status = 'active' AND j.held_at IS NOT NULL)
RETURNING w.id
