-- Journeys of a held or paused workflow that have come due: not due any more until they are released.
UPDATE journeys.customer_journeys j SET held_at = %(now)s::timestamptz
 WHERE j.id = ANY (%(ids)s::bigint[]) AND j.status = 'active' AND j.held_at IS NULL
