-- Hand-written baseline: one batch of due journeys gets its message planned and goes to the next step, without an engine.
WITH due AS (
    SELECT id, customer_id, shard, due_at FROM journeys.customer_journeys
     WHERE step_uid = %(first)s AND status = 'active' AND held_at IS NULL AND due_at <= %(now)s ORDER BY due_at LIMIT %(size)s
), sent AS (
    INSERT INTO journeys.messages
           (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, channel, category,
            planned_at, created_at, send_after, expires_at, state, updated_at)
    SELECT journeys.message_key('salt', id, 'hello', 'send_email', 1, 'email'), id, 'hello', 'send_email', 1, 'email', 'bench', 1, customer_id, shard,
           'email', 'marketing', due_at, %(now)s, due_at, due_at + interval '1 day', 'planned', %(now)s
      FROM due
), moved AS (
    UPDATE journeys.customer_journeys j
       SET step_key = 'later', step_uid = %(second)s, at = d.due_at, at_seq = 9223372036854775807, due_at = d.due_at + interval '1 day'
      FROM due d WHERE j.id = d.id
    RETURNING j.id
)
INSERT INTO journeys.journey_transitions
       (journey_id, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, recorded_at, why)
SELECT id, 'bench', 1, customer_id, 1, 'hello', 'later', due_at, 9223372036854775807, %(now)s, 'timer' FROM due
