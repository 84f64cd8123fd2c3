-- Hand-written baseline: one batch of events becomes history, keys, stats and journeys of one workflow, without an engine.
-- It fills the same tables and indexes as the engine does for the same events.
WITH taken AS (
    DELETE FROM journeys.event_inbox WHERE id = ANY (ARRAY(SELECT id FROM journeys.event_inbox ORDER BY id LIMIT %(size)s)) RETURNING *
), keyed AS (
    INSERT INTO journeys.event_keys (key, seq) SELECT journeys.event_key(source, source_event_id), id FROM taken ON CONFLICT DO NOTHING RETURNING seq
), history AS (
    INSERT INTO journeys.customer_events (seq, customer_id, shard, type, occurred_at, received_at, source, source_event_id, payload, depth)
    SELECT t.id, customer_id, shard, type, occurred_at, received_at, source, source_event_id, payload, depth FROM taken t JOIN keyed k ON k.seq = t.id
), stats AS (
    INSERT INTO journeys.customer_event_stats (customer_id, type, shard, first_at, last_at, last_seq, n)
    SELECT customer_id, type, min(shard), min(occurred_at), max(occurred_at), max(id), count(*) FROM taken GROUP BY 1, 2
    ON CONFLICT (customer_id, type) DO UPDATE SET n = customer_event_stats.n + excluded.n, last_at = excluded.last_at
), admitted AS (
    INSERT INTO journeys.journey_admissions AS a (workflow_id, customer_id, entry_key, entries, active, last_entered_at)
    SELECT 'bench', customer_id, '', 1, 1, occurred_at FROM taken
    ON CONFLICT (workflow_id, customer_id, entry_key) DO UPDATE SET entries = a.entries + 1, active = 1 WHERE a.active = 0
    RETURNING customer_id
), entered AS (
    INSERT INTO journeys.customer_journeys
           (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at, entered_seq)
    SELECT 'bench', 1, t.customer_id, t.shard, 'signup', 'hello', %(first)s, t.occurred_at, t.id, t.occurred_at + interval '1 hour',
           9223372036854775807, t.occurred_at, t.id
      FROM taken t JOIN admitted USING (customer_id)
    RETURNING id, customer_id, at, at_seq
), context AS (
    INSERT INTO journeys.journey_context (journey_id, event_type, event)
    SELECT e.id, t.type, jsonb_build_object('plan', t.payload -> 'plan') FROM entered e JOIN taken t USING (customer_id)
)
INSERT INTO journeys.journey_transitions
       (journey_id, workflow_id, version, customer_id, visit, to_step, at, at_seq, recorded_at, why, detail)
SELECT id, 'bench', 1, customer_id, 1, 'hello', at, at_seq, %(now)s, 'entered', jsonb_build_object('trigger', 'signup', 'event', at_seq) FROM entered
