-- Workflows in which nobody advances: drafts and paused ones (git says so), and those an operator holds.
SELECT w.id FROM journeys.automation_workflows w
 WHERE w.is_current
   AND (w.status IN ('draft', 'paused')
        OR EXISTS (SELECT FROM journeys.operator_holds h
                    WHERE h.released_at IS NULL AND h.what = 'workflow' AND (h.workflow_id IS NULL OR h.workflow_id = w.id)))
