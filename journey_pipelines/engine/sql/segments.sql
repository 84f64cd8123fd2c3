-- Static segments that apps moved customers in or out of, in the order written.
WITH taken AS (
    DELETE FROM journeys.segment_changes d WHERE d.id = ANY (ARRAY(
        SELECT c.id FROM journeys.segment_changes c WHERE c.shard = ANY (%(shards)s::smallint[]) AND c.occurred_at <= %(now)s::timestamptz
         ORDER BY c.id LIMIT %(row_limit)s::integer))
    RETURNING d.*)
SELECT count(*) AS taken,
       journeys.apply_segments(array_agg(segment_id ORDER BY id), array_agg(customer_id ORDER BY id), array_agg(change ORDER BY id),
                               array_agg(occurred_at ORDER BY id), 'app') AS changed
  FROM taken
