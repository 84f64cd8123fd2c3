-- Take a batch out of the queues: history, keys, stats, quarantine, and the rows that make rounds, in one statement.
-- :now the watermark; :shards those this worker holds, :lows and :places their low-water marks (engine/low_water.py): what is before a mark
-- was taken; :per_shard rows from each, :per_customer rounds a customer may make.
-- :only some customers where an absorption is halved. :absorb instead takes what the batch itself wrote for its customers (ids above the marks), up to the first row of theirs left behind;
-- :track writes down where that is. :moments_until is :now, or just before a schedule's tick, which dates, changes and segments of its
-- instant come after.
WITH picked AS MATERIALIZED (
    SELECT q.*, s.shard
      FROM unnest(%(shards)s::smallint[], %(lows)s::timestamptz[], %(places)s::bigint[]) AS s (shard, low, place)
     CROSS JOIN LATERAL (
        SELECT u.* FROM (
            (SELECT 'event' AS queue, e.ctid AS tid, e.id AS place, e.customer_id, e.effective_at AS at,
                    e.profile IS NOT NULL OR EXISTS (SELECT 1 FROM journeys.interests n WHERE n.event_type = e.type) AS rounds
               FROM journeys.event_inbox e
              WHERE e.shard = s.shard AND e.effective_at <= %(now)s::timestamptz AND (e.effective_at, e.id) >= (s.low, s.place)
              ORDER BY e.effective_at, e.id LIMIT %(per_shard)s::integer)
            UNION ALL
            (SELECT 'date', m.ctid, 2::bigint << 60, m.customer_id, m.at, true
               FROM journeys.customer_moments m
              WHERE m.shard = s.shard AND m.at <= %(moments_until)s::timestamptz AND m.at >= s.low AND m.kind = 'date'
              ORDER BY m.at LIMIT %(per_shard)s::integer)
            UNION ALL
            (SELECT 'change', c.ctid, (3::bigint << 60) + c.id, c.customer_id, c.at, true
               FROM journeys.customer_changes c
              WHERE c.shard = s.shard AND c.at <= %(moments_until)s::timestamptz AND (c.at, c.id) >= (s.low, s.place - (3::bigint << 60))
              ORDER BY c.at, c.id LIMIT %(per_shard)s::integer)
            UNION ALL
            (SELECT 'move', c.ctid, (4::bigint << 60) + c.id, c.customer_id, c.occurred_at, true
               FROM journeys.segment_changes c
              WHERE c.shard = s.shard AND c.occurred_at <= %(moments_until)s::timestamptz
                AND (c.occurred_at, c.id) >= (s.low, s.place - (4::bigint << 60))
              ORDER BY c.occurred_at, c.id LIMIT %(per_shard)s::integer)
            UNION ALL
            (SELECT 'watch', m.ctid, 6::bigint << 60, m.customer_id, m.at, true
               FROM journeys.customer_moments m
              WHERE m.shard = s.shard AND m.at <= %(moments_until)s::timestamptz AND m.at >= s.low AND m.kind = 'watch'
              ORDER BY m.at LIMIT %(per_shard)s::integer)) AS u
         ORDER BY u.at, u.place
         LIMIT %(per_shard)s::integer) AS q
     WHERE NOT %(absorb)s::boolean
), numbered AS MATERIALIZED (
    SELECT p.*, count(*) FILTER (WHERE rounds) OVER (PARTITION BY customer_id ORDER BY at, place) AS nth,
           count(*) OVER (PARTITION BY shard) AS of_shard, max(at) OVER (PARTITION BY shard) AS last_at
      FROM picked p
), ends AS (
    -- of a shard of which not all was taken, the first place that may hold a row yet
    SELECT n.shard, coalesce(min(n.at) FILTER (WHERE n.nth > %(per_customer)s::integer), max(n.last_at)) AS at,
           coalesce(min(n.place) FILTER (WHERE n.nth > %(per_customer)s::integer), max(n.place) FILTER (WHERE n.at = n.last_at)) AS place
      FROM numbered n
     WHERE n.nth > %(per_customer)s::integer OR n.of_shard >= %(per_shard)s::integer
     GROUP BY n.shard
), own AS MATERIALIZED (
    SELECT w.queue, w.tid, w.customer_id, w.at
      FROM (SELECT 'event' AS queue, e.ctid AS tid, e.customer_id, e.effective_at AS at
              FROM journeys.event_inbox e
             WHERE %(absorb)s::boolean AND e.source = 'engine' AND e.effective_at <= %(now)s::timestamptz AND e.shard = ANY (%(shards)s::smallint[])
               AND (e.id > %(inbox_mark)s::bigint AND e.id < 1::bigint << 60
                    OR e.id > (2::bigint << 60) + %(moment_mark)s::bigint AND e.id < 3::bigint << 60
                    OR e.id > (5::bigint << 60) + %(moment_mark)s::bigint)
            UNION ALL
            SELECT 'change', c.ctid, c.customer_id, c.at
              FROM journeys.customer_changes c
             WHERE %(absorb)s::boolean AND c.id > %(change_mark)s::bigint AND c.at <= %(moments_until)s::timestamptz AND c.shard = ANY (%(shards)s::smallint[])
            UNION ALL
            SELECT m.kind, m.ctid, m.customer_id, m.at
              FROM batch_customers k
             CROSS JOIN LATERAL (SELECT x.kind, x.ctid, x.customer_id, x.at FROM journeys.customer_moments x WHERE x.customer_id = k.customer_id OFFSET 0) AS m
             WHERE %(absorb)s::boolean AND m.at <= %(moments_until)s::timestamptz) AS w
     CROSS JOIN LATERAL (SELECT k.horizon FROM batch_customers k WHERE k.customer_id = w.customer_id LIMIT 1) AS k
     WHERE w.at < k.horizon AND (%(only)s::text[] IS NULL OR w.customer_id = ANY (%(only)s::text[]))
), prefix AS MATERIALIZED (
    -- a customer's rows up to the n-th that makes a round: the rest stays in its queue, in order
    SELECT queue, tid FROM numbered WHERE nth <= %(per_customer)s::integer
    UNION ALL
    SELECT queue, tid FROM own
), taken AS MATERIALIZED (
    DELETE FROM journeys.event_inbox d WHERE d.ctid = ANY (ARRAY(SELECT tid FROM prefix WHERE queue = 'event')) RETURNING d.*
), moved AS MATERIALIZED (
    DELETE FROM journeys.segment_changes d WHERE d.ctid = ANY (ARRAY(SELECT tid FROM prefix WHERE queue = 'move')) RETURNING d.*
), altered AS MATERIALIZED (
    DELETE FROM journeys.customer_changes d WHERE d.ctid = ANY (ARRAY(SELECT tid FROM prefix WHERE queue = 'change')) RETURNING d.*
), come AS MATERIALIZED (
    DELETE FROM journeys.customer_moments d WHERE d.ctid = ANY (ARRAY(SELECT tid FROM prefix WHERE queue IN ('date', 'watch'))) RETURNING d.*
), checked AS MATERIALIZED (
    SELECT t.*, journeys.event_key(t.source, t.source_event_id) AS key,
           CASE WHEN jsonb_typeof(t.payload) <> 'object' THEN 'payload is not a JSON object but ' || jsonb_typeof(t.payload)
                WHEN jsonb_typeof(t.profile) NOT IN ('object', 'null') THEN 'profile is not a JSON object but ' || jsonb_typeof(t.profile)
                WHEN t.large_payload AND octet_length(t.payload::text) > 65536 THEN 'payload is larger than 64 kB'
                WHEN t.large_profile AND octet_length(t.profile::text) > 65536 THEN 'profile is larger than 64 kB'
                -- what reads it in Python stops at about a thousand levels; a level takes eight bytes
                WHEN t.deep_payload AND jsonb_path_exists(t.payload, 'strict $.**{100}') THEN 'payload is nested deeper than 100 levels'
                WHEN t.deep_profile AND jsonb_path_exists(t.profile, 'strict $.**{100}') THEN 'profile is nested deeper than 100 levels'
                WHEN t.depth > 16 THEN 'more than 16 effects in a row at one instant: workflows that set one another off without a wait'
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
           nullif(c.profile, 'null') AS profile, m.message_key, coalesce(c.journey_id, m.journey_id) AS journey_id,
           m.state = 'in_doubt' AS proves, c.causation_id, c.depth
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
    INSERT INTO journeys.customer_event_stats AS s (customer_id, type, shard, first_at, last_at, last_seq, n)
    SELECT customer_id, type, min(shard), min(occurred_at), max(occurred_at), max(seq), count(*) FROM fresh GROUP BY customer_id, type
    ON CONFLICT (customer_id, type) DO UPDATE SET
        first_at = least(s.first_at, excluded.first_at),
        last_at = greatest(s.last_at, excluded.last_at),
        last_seq = greatest(s.last_seq, excluded.last_seq),
        n = s.n + excluded.n
    RETURNING 1
), moments AS MATERIALIZED (
    SELECT f.seq, f.customer_id, f.shard, f.type, f.occurred_at, f.received_at, f.payload, f.profile, f.journey_id, NULL::text[] AS keys, f.depth
      FROM fresh f
     WHERE f.profile IS NOT NULL OR f.proves OR EXISTS (SELECT 1 FROM journeys.interests n WHERE n.event_type = f.type)
    UNION ALL
    SELECT (4::bigint << 60) + v.id, v.customer_id, v.shard, 'segment.move', v.occurred_at, v.occurred_at,
           jsonb_build_object('segment', v.segment_id, 'change', v.change), NULL, NULL, NULL, 0::smallint
      FROM moved v
    UNION ALL
    SELECT (3::bigint << 60) + a.id, a.customer_id, a.shard, 'customer.change', a.at, a.received_at, '{}', NULL, NULL, a.keys, a.depth
      FROM altered a
    UNION ALL
    -- a date is no event yet: something before it may still have moved it
    SELECT journeys.moment_id(CASE w.kind WHEN 'date' THEN 2 ELSE 6 END), w.customer_id, w.shard,
           CASE w.kind WHEN 'date' THEN 'date:' ELSE 'recheck:' END || w.ref, w.at, greatest(w.at, w.known_at), '{}', NULL, NULL, NULL, 0::smallint
      FROM come w
), rounds AS (
    INSERT INTO batch_events (seq, customer_id, shard, type, occurred_at, received_at, payload, profile, journey_id, keys, depth, newest_at, round)
    SELECT m.*,
           -- the newest event known before this batch: what lies before it is late
           CASE WHEN NOT %(track)s::boolean THEN NULL
                WHEN %(absorb)s::boolean THEN (SELECT k.newest_at FROM batch_customers k WHERE k.customer_id = m.customer_id LIMIT 1)
                ELSE (SELECT max(s.last_at) FROM journeys.customer_event_stats s WHERE s.customer_id = m.customer_id) END,
           CASE WHEN NOT %(absorb)s::boolean THEN row_number() OVER (PARTITION BY m.customer_id ORDER BY m.occurred_at, m.seq) END
      FROM moments m
    RETURNING 1
), horizons AS (
    INSERT INTO batch_customers (customer_id, shard, newest_at, horizon)
    SELECT n.customer_id, min(n.shard), (SELECT max(s.last_at) FROM journeys.customer_event_stats s WHERE s.customer_id = n.customer_id),
           coalesce(min(n.at) FILTER (WHERE n.nth > %(per_customer)s::integer), min(n.last_at) FILTER (WHERE n.of_shard >= %(per_shard)s::integer), 'infinity')
      FROM numbered n WHERE %(track)s::boolean AND NOT %(absorb)s::boolean GROUP BY n.customer_id
    RETURNING 1
)
SELECT (SELECT count(*) FROM taken) + (SELECT count(*) FROM come) + (SELECT count(*) FROM altered) AS taken,
       (SELECT count(*) FROM moved) AS moved,
       (SELECT count(*) FROM refused) AS quarantined,
       (SELECT count(*) FROM history) AS routed,
       (SELECT count(*) FROM rounds) AS in_rounds,
       (SELECT count(*) FROM stats) + (SELECT count(*) FROM horizons) AS stats,
       (SELECT min(occurred_at) FROM moments) AS came,
       (SELECT array_agg(shard) FROM ends) AS end_shards,
       (SELECT array_agg(at) FROM ends) AS end_ats,
       (SELECT array_agg(place) FROM ends) AS end_places,
       (SELECT extract(epoch FROM %(now)s::timestamptz - min(effective_at)) FROM taken)::double precision AS lag_seconds
