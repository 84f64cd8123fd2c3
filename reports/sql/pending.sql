-- The earliest thing the engine has still to do: a day that ends after it may yet change. Null = nothing.
SELECT least((SELECT min(j.due_at) FROM journeys.customer_journeys AS j WHERE j.status = 'active' AND j.held_at IS NULL),
             (SELECT min(i.effective_at) FROM journeys.event_inbox AS i)) AS pending_at
