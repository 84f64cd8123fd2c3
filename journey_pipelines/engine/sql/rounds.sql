-- What the batch's rounds from :round on hold, so that only statements with candidates run; keys: watched profile keys that changed,
-- updated_at with any of them.
SELECT b.round, b.type, count(*) AS events, count(b.profile) AS profiles, array_agg(DISTINCT k.key) FILTER (WHERE k.key IS NOT NULL) AS keys
  FROM batch_events b
  LEFT JOIN LATERAL (
    SELECT w.key FROM unnest(%(watched)s::text[]) AS w (key) WHERE w.key = ANY (b.keys) OR b.profile ? w.key
       OR w.key = 'updated_at' AND b.profile IS NOT NULL) AS k ON true
 WHERE b.round >= %(round)s::integer
 GROUP BY b.round, b.type
 ORDER BY b.round, b.type
