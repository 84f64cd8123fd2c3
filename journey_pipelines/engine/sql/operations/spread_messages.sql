-- Overdue messages of a released workflow leave over the same time as its journeys, each with its own journey. The gate ends those that
-- have expired by then.
UPDATE journeys.messages m
   SET send_after = %(from_at)s::timestamptz + interval '1 microsecond'
                    * (%(span)s::bigint * journeys.bucket_of(m.workflow_id || '|' || m.customer_id || '|' || m.entry_key) / 10000)
 WHERE m.workflow_id = %(workflow)s::text AND m.state IN ('planned', 'deferred', 'retry') AND m.send_after <= %(from_at)s::timestamptz
