-- Resumptions whose time is over and which have nobody left. A row that another worker is looking at is left to it.
DELETE FROM journeys.resumptions d WHERE d.workflow_id IN (
    SELECT r.workflow_id FROM journeys.resumptions r
     WHERE r.until_at <= %(now)s::timestamptz
       AND NOT EXISTS (SELECT FROM journeys.customer_journeys j
                        WHERE j.workflow_id = r.workflow_id AND j.held_at IS NOT NULL AND j.status = 'active')
       FOR UPDATE SKIP LOCKED)
