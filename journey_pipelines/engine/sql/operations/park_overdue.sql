-- Everybody of the workflows being released who is due by now and was not parked, because no drain ran meanwhile: they go with the others.
-- Not those who have only arrived at a wait: working that out moves nobody.
UPDATE journeys.customer_journeys j SET held_at = %(now)s::timestamptz
 WHERE j.status = 'active' AND j.held_at IS NULL AND j.due_at <= %(now)s::timestamptz
   AND j.step_uid = ANY (ARRAY(SELECT s.step_uid FROM journeys.workflow_steps s WHERE s.workflow_id = ANY (%(workflows)s::text[])))
