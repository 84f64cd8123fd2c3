-- Take a batch out of the inbox: history, keys, stats, quarantine, and the rows that make rounds, in one statement.
-- :now the watermark; :shards those this worker holds; :per_shard rows from each, :per_customer rounds a customer may make.
WITH picked AS MATERIALIZED (
    SELECT i.tid, i.id, i.customer_id, i.effective_at, i.rounds
      FROM unnest(%(shards)s::smallint[]) AS s (shard)
     CROSS JOIN LATERAL (
        SELECT e.ctid AS tid, e.id, e.customer_id, e.effective_at,
               e.profile IS NOT NULL OR EXISTS (SELECT 1 FROM journeys.interests n WHERE n.event_type = e.type) AS rounds
          FROM journeys.event_inbox e
         WHERE e.shard = s.shard AND e.effective_at <= %(now)s::timestamptz
         ORDER BY e.effective_at, e.id
         LIMIT %(per_shard)s::integer) AS i
), prefix AS MATERIALIZED (
    -- a customer's rows up to the n-th that makes a round: the rest stays in the inbox, in order
    SELECT tid FROM (
        SELECT tid, count(*) FILTER (WHERE rounds) OVER (PARTITION BY customer_id ORDER BY effective_at, id) AS nth FROM picked) AS p
     WHERE nth <= %(per_customer)s::integer
), taken AS MATERIALIZED (
    DELETE FROM journeys.event_inbox d WHERE d.ctid = ANY (ARRAY(SELECT tid FROM prefix)) RETURNING d.*
), checked AS MATERIALIZED (
    SELECT t.*, journeys.event_key(t.source, t.source_event_id) AS key,
           CASE WHEN jsonb_typeof(t.payload) <> 'object' THEN 'payload is not a JSON object but ' || jsonb_typeof(t.payload)
                WHEN jsonb_typeof(t.profile) NOT IN ('object', 'null') THEN 'profile is not a JSON object but ' || jsonb_typeof(t.profile)
                WHEN t.large_payload AND octet_length(t.payload::text) > 65536 THEN 'payload is larger than 64 kB'
                WHEN t.large_profile AND octet_length(t.profile::text) > 65536 THEN 'profile is larger than 64 kB'
                -- what reads it in Python stops at about a thousand levels; a level takes eight bytes
                WHEN t.deep_payload AND jsonb_path_exists(t.payload, 'strict $.**{100}') THEN 'payload is nested deeper than 100 levels'
                WHEN t.deep_profile AND jsonb_path_exists(t.profile, 'strict $.**{100}') THEN 'profile is nested deeper than 100 levels'
           END AS refusal
      FROM (
        -- what is stored small and not compressed is small: its text need not be made
        SELECT d.*, pg_column_size(d.payload) > 1900 OR pg_column_compression(d.payload) IS NOT NULL AS large_payload,
               pg_column_size(d.profile) > 1900 OR pg_column_compression(d.profile) IS NOT NULL AS large_profile,
               pg_column_size(d.payload) > 700 OR pg_column_compression(d.payload) IS NOT NULL AS deep_payload,
               pg_column_size(d.profile) > 700 OR pg_column_compression(d.profile) IS NOT NULL AS deep_profile
          FROM taken d) AS t
), refused AS (
    INSERT INTO journeys.event_quarantine
           (inbox_id, source, source_event_id, customer_id, type, occurred_at, received_at, payload, raw, reason, quarantined_at)
    SELECT id, source, source_event_id, customer_id, type, occurred_at, received_at,
           CASE WHEN refusal NOT LIKE '%%nested%%' THEN payload END, CASE WHEN refusal LIKE '%%nested%%' THEN payload::text END,
           refusal, %(now)s::timestamptz
      FROM checked WHERE refusal IS NOT NULL
    RETURNING 1
), keyed AS (
    INSERT INTO journeys.event_keys (key, seq)
    SELECT key, id FROM checked WHERE refusal IS NULL AND key IS NOT NULL ORDER BY effective_at, id
    ON CONFLICT DO NOTHING
    RETURNING seq
), fresh AS MATERIALIZED (
    SELECT c.id AS seq, c.customer_id, c.shard, c.type, c.effective_at AS occurred_at,
           nullif(c.occurred_at, c.effective_at) AS original_occurred_at, c.received_at, c.source, c.source_event_id,
           CASE WHEN m.id IS NULL THEN c.payload
                ELSE c.payload || jsonb_build_object('step', m.step_key, 'action', m.action_id, 'channel', m.channel, 'workflow', m.workflow_id)
           END AS payload,
           nullif(c.profile, 'null') AS profile, m.message_key, m.journey_id, m.state = 'in_doubt' AS proves, c.causation_id, c.depth
      FROM checked c
      LEFT JOIN LATERAL (
        SELECT x.* FROM journeys.messages x
         WHERE c.type LIKE 'message.%%' AND x.message_key = journeys.txt(c.payload -> 'message_key') AND x.customer_id = c.customer_id
         LIMIT 1) AS m ON true
     WHERE c.refusal IS NULL AND (c.key IS NULL OR c.id IN (SELECT seq FROM keyed))
), history AS (
    INSERT INTO journeys.customer_events
           (seq, customer_id, shard, type, occurred_at, original_occurred_at, received_at, source, source_event_id, payload, message_key,
            journey_id, causation_id, depth)
    SELECT seq, customer_id, shard, type, occurred_at, original_occurred_at, received_at, source, source_event_id, payload, message_key,
           journey_id, causation_id, depth
      FROM fresh
    RETURNING 1
), stats AS (
    -- the whole batch at once: a condition whose place lies before last_at counts the history up to its place instead
    INSERT INTO journeys.customer_event_stats AS s (customer_id, type, first_at, last_at, last_seq, n)
    SELECT customer_id, type, min(occurred_at), max(occurred_at), max(seq), count(*) FROM fresh GROUP BY customer_id, type
    ON CONFLICT (customer_id, type) DO UPDATE SET
        first_at = least(s.first_at, excluded.first_at),
        last_at = greatest(s.last_at, excluded.last_at),
        last_seq = greatest(s.last_seq, excluded.last_seq),
        n = s.n + excluded.n
    RETURNING 1
), rounds AS (
    INSERT INTO batch_events (seq, customer_id, shard, type, occurred_at, received_at, payload, profile, journey_id, round)
    SELECT f.seq, f.customer_id, f.shard, f.type, f.occurred_at, f.received_at, f.payload, f.profile, f.journey_id,
           row_number() OVER (PARTITION BY f.customer_id ORDER BY f.occurred_at, f.seq)
      FROM fresh f
     WHERE f.profile IS NOT NULL OR f.proves OR EXISTS (SELECT 1 FROM journeys.interests n WHERE n.event_type = f.type)
    RETURNING 1
)
SELECT (SELECT count(*) FROM taken) AS taken,
       (SELECT count(*) FROM refused) AS quarantined,
       (SELECT count(*) FROM history) AS routed,
       (SELECT count(*) FROM rounds) AS in_rounds,
       (SELECT count(*) FROM stats) AS stats,
       (SELECT extract(epoch FROM %(now)s::timestamptz - min(effective_at)) FROM taken)::double precision AS lag_seconds
