-- Hand-written baseline: one batch of due journeys takes one of four ways by profile, history and segment, without an engine.
-- It writes what the engine writes: the journey's next place, and a transition that says which rule held and what it saw.
WITH due AS MATERIALIZED (
    SELECT id, customer_id, visit, due_at, due_seq FROM journeys.customer_journeys
     WHERE step_uid = %(sort)s AND status = 'active' AND held_at IS NULL AND due_at <= %(now)s ORDER BY due_at LIMIT %(size)s
), seen AS MATERIALIZED (
    SELECT d.*, p.lifetime_value, p.country, o.orders, m.customer_id IS NOT NULL AS lapsed
      FROM due d
      LEFT JOIN journeys.customer_profiles p ON p.customer_id = d.customer_id
      LEFT JOIN journeys.segment_memberships m ON m.customer_id = d.customer_id AND m.segment_id = 'lapsed' AND m.left_at IS NULL
     CROSS JOIN LATERAL (
        SELECT count(*) AS orders FROM journeys.customer_events e
         WHERE e.customer_id = d.customer_id AND e.type = 'order' AND e.occurred_at BETWEEN d.due_at - interval '30 days' AND d.due_at) AS o
), routed AS MATERIALIZED (
    SELECT s.*, CASE WHEN lifetime_value >= 1000 AND country = 'DE' THEN 'gold' WHEN orders >= 2 THEN 'regular' WHEN lapsed THEN 'lapsed'
                     ELSE 'others' END AS way
      FROM seen s
), moved AS (
    UPDATE journeys.customer_journeys j
       SET step_key = w.step_key, step_uid = w.entry_uid, at = r.due_at, at_seq = r.due_seq, due_at = r.due_at + w.wait_elapsed,
           due_seq = 9223372036854775807
      FROM routed r JOIN journeys.workflow_steps w ON w.workflow_id = 'sorting' AND w.version = 1 AND w.step_key = r.way
     WHERE j.id = r.id
)
INSERT INTO journeys.journey_transitions
       (journey_id, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, recorded_at, why, detail)
SELECT id, 'sorting', 1, customer_id, visit, 'sort', way, due_at, due_seq, %(now)s, 'timer',
       jsonb_build_object(
           'rule', CASE way WHEN 'gold' THEN 'customer.lifetime_value >= 1000 and customer.country == ''DE'''
                            WHEN 'regular' THEN 'event_count(''order'', within=''30 days'') >= 2'
                            WHEN 'lapsed' THEN 'in_segment(''lapsed'')' ELSE 'else' END,
           'to', way,
           'values', jsonb_build_object('customer.lifetime_value', lifetime_value, 'customer.country', country,
                                        'event_count(''order'', within=''30 days'')', orders, 'in_segment(''lapsed'')', lapsed))
  FROM routed
