-- Add what a batch let in; :slot keeps workers out of each other's rows. Older than the breaker's week is forgotten.
WITH noted AS (
    INSERT INTO journeys.workflow_entries AS e (workflow_id, minute, slot, entries)
    SELECT u.workflow_id, u.minute, %(slot)s::smallint, u.entries
      FROM unnest(%(workflows)s::text[], %(minutes)s::timestamptz[], %(entries)s::bigint[]) AS u (workflow_id, minute, entries)
     ORDER BY u.workflow_id, u.minute
    ON CONFLICT (workflow_id, minute, slot) DO UPDATE SET entries = e.entries + excluded.entries
    RETURNING e.workflow_id, e.minute
), old AS (
    DELETE FROM journeys.workflow_entries d USING (SELECT n.workflow_id, max(n.minute) AS newest FROM noted n GROUP BY n.workflow_id) AS l
     WHERE d.workflow_id = l.workflow_id AND d.slot = %(slot)s::smallint AND d.minute < l.newest - interval '9 days'
    RETURNING 1
)
SELECT (SELECT count(*) FROM noted) AS noted, (SELECT count(*) FROM old) AS forgotten
