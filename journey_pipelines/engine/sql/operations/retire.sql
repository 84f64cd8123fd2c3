-- End these journeys because a newer version does not keep them: where they stand in it decides the reason.
WITH gone AS MATERIALIZED (
    SELECT j.id, j.workflow_id, j.version, j.customer_id, j.entry_key, j.trigger_id, j.visit, j.step_key, greatest(%(now)s::timestamptz, j.at) AS at,
           CASE WHEN EXISTS (SELECT FROM journeys.workflow_steps s
                              WHERE s.workflow_id = j.workflow_id AND s.version = %(version)s::integer AND s.step_key = j.step_key)
                THEN 'version_retired' ELSE 'step_removed' END AS why
      FROM unnest(%(ids)s::bigint[]) AS given (id) JOIN journeys.customer_journeys j ON j.id = given.id
     WHERE j.status = 'active'
), ended AS (
    UPDATE journeys.customer_journeys j
       SET status = 'ended', exit_reason = g.why, ended_at = g.at, at = g.at, at_seq = 9223372036854775807, arrived_seq = NULL
      FROM gone g WHERE j.id = g.id
    RETURNING 1
), released AS (
    UPDATE journeys.journey_admissions a SET active = a.active - g.n, last_ended_at = greatest(a.last_ended_at, g.at)
      FROM (SELECT workflow_id, customer_id, entry_key, count(*) AS n, max(at) AS at FROM gone GROUP BY 1, 2, 3) AS g
     WHERE a.workflow_id = g.workflow_id AND a.customer_id = g.customer_id AND a.entry_key = g.entry_key
    RETURNING 1
), logged AS (
    INSERT INTO journeys.journey_transitions
           (journey_id, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, recorded_at, why, detail)
    SELECT g.id, g.workflow_id, g.version, g.customer_id, g.visit, g.step_key, NULL, g.at, 9223372036854775807, %(now)s::timestamptz, g.why,
           jsonb_build_object('rule', 'in_flight: exit', 'version', %(version)s::integer)
      FROM gone g
    RETURNING 1
), told AS (
    INSERT INTO journeys.event_inbox (source, customer_id, type, occurred_at, received_at, payload, journey_id)
    SELECT 'engine', g.customer_id, 'journey.ended', g.at, g.at,
           jsonb_build_object('workflow', g.workflow_id, 'version', g.version, 'trigger', g.trigger_id, 'entry_key', g.entry_key, 'step', g.step_key,
                              'exit_reason', g.why), g.id
      FROM gone g JOIN journeys.deployment d ON 'journey.ended' = ANY (d.named_events)
    RETURNING 1
), taken_back AS (
    UPDATE journeys.messages m SET state = 'suppressed', reason = 'exit', updated_at = %(now)s::timestamptz
      FROM gone g WHERE m.journey_id = g.id AND m.state IN ('planned', 'deferred', 'retry')
    RETURNING 1
)
SELECT count(*) FILTER (WHERE g.why = 'version_retired') AS version_retired, count(*) FILTER (WHERE g.why = 'step_removed') AS step_removed,
       (SELECT count(*) FROM taken_back) AS taken_back
  FROM gone g
