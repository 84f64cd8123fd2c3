-- Journeys under way whose goal or exits hang on time are looked at at :now, which works out when time alone may change them next.
-- :uids those of some rules, :ids some journeys, :customers those of some people, null: all.
WITH looked_at AS (
    INSERT INTO journeys.customer_moments (customer_id, kind, ref, shard, at, known_at)
    SELECT DISTINCT j.customer_id, 'watch', n.statement_uid::text, j.shard, %(now)s::timestamptz, %(now)s::timestamptz
      FROM journeys.interests n
      JOIN journeys.customer_journeys j ON j.workflow_id = n.workflow_id AND j.version = ANY (n.versions) AND j.status = 'active'
     WHERE n.kind = 'watch' AND n.event_type = 'recheck:' || n.statement_uid
       AND (%(uids)s::bigint[] IS NULL OR n.statement_uid = ANY (%(uids)s::bigint[]))
       AND (%(ids)s::bigint[] IS NULL OR j.id = ANY (%(ids)s::bigint[]))
       AND (%(customers)s::text[] IS NULL OR j.customer_id = ANY (%(customers)s::text[]))
    ON CONFLICT (customer_id, kind, ref) DO UPDATE SET at = least(customer_moments.at, excluded.at)
    RETURNING 1
)
SELECT count(*) AS customers FROM looked_at
