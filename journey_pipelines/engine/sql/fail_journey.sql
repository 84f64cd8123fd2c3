-- A step that fails for one person ends that journey with reason error; the others go on.
WITH failed AS (
    UPDATE journeys.customer_journeys j SET status = 'ended', exit_reason = 'error', ended_at = j.due_at, at = j.due_at, at_seq = j.due_seq
     WHERE j.id = %(id)s::bigint AND j.status = 'active'
    RETURNING j.id, j.workflow_id, j.version, j.customer_id, j.entry_key, j.visit, j.step_key, j.at, j.at_seq, j.trigger_id, j.entered_seq, j.depth
), released AS (
    UPDATE journeys.journey_admissions a SET active = a.active - 1, last_ended_at = greatest(a.last_ended_at, f.at)
      FROM failed f WHERE a.workflow_id = f.workflow_id AND a.customer_id = f.customer_id AND a.entry_key = f.entry_key
    RETURNING 1
), told AS (
    INSERT INTO journeys.event_inbox (source, customer_id, type, occurred_at, received_at, payload, causation_id, depth, journey_id)
    SELECT 'engine', f.customer_id, 'journey.ended', t.at, t.at,
           jsonb_build_object('workflow', f.workflow_id, 'version', f.version, 'trigger', f.trigger_id, 'entry_key', f.entry_key,
                              'step', f.step_key, 'exit_reason', 'error'),
           f.entered_seq, f.depth + 1, f.id
      FROM failed f
      JOIN journeys.deployment d ON 'journey.ended' = ANY (d.named_events)
     CROSS JOIN LATERAL (SELECT CASE WHEN f.at_seq >= 1::bigint << 60 THEN f.at + interval '1 microsecond' ELSE f.at END AS at) AS t
    RETURNING 1
)
INSERT INTO journeys.journey_transitions
       (journey_id, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, recorded_at, why, detail)
SELECT id, workflow_id, version, customer_id, visit, step_key, NULL, at, at_seq, %(now)s::timestamptz, 'error',
       jsonb_build_object('sqlstate', %(sqlstate)s::text, 'error', %(error)s::text)
  FROM failed
