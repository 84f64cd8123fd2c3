-- Static segments that apps moved this round's customers in or out of.
SELECT journeys.apply_segments(array_agg(journeys.txt(b.payload -> 'segment') ORDER BY b.seq), array_agg(b.customer_id ORDER BY b.seq),
                               array_agg(journeys.txt(b.payload -> 'change') ORDER BY b.seq), array_agg(b.occurred_at ORDER BY b.seq), 'app') AS emitted
  FROM batch_events b
 WHERE b.round = %(round)s::integer AND b.seq BETWEEN %(low)s::bigint AND %(high)s::bigint AND b.type = 'segment.move'
HAVING count(*) > 0
