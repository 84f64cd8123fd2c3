-- What was absorbed takes its place among the rounds that are still to come: those of its customers are counted again from :round.
UPDATE batch_events b SET round = n.round
  FROM (SELECT x.ctid AS tid, %(round)s::integer - 1 + row_number() OVER (PARTITION BY x.customer_id ORDER BY x.occurred_at, x.seq) AS round
          FROM batch_events x
         WHERE (x.round IS NULL OR x.round >= %(round)s::integer)
           AND x.customer_id = ANY (ARRAY(SELECT y.customer_id FROM batch_events y WHERE y.round IS NULL))) AS n
 WHERE b.ctid = n.tid AND b.round IS DISTINCT FROM n.round
