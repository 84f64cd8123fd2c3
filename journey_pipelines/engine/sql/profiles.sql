-- Profile patches that came with this round's events.
SELECT journeys.apply_profiles(array_agg(b.customer_id), array_agg(b.profile), array_agg(b.occurred_at)) AS changed
  FROM batch_events b
 WHERE b.round = %(round)s::integer AND b.seq BETWEEN %(low)s::bigint AND %(high)s::bigint AND b.profile IS NOT NULL
HAVING count(*) > 0
