-- Every version of every workflow, with what a report needs of its definition.
SELECT w.id AS workflow_id, w.version, w.is_current, w.name, w.status, w.category, w.definition -> 'workflow' AS definition
  FROM journeys.automation_workflows AS w
 ORDER BY w.id COLLATE "C", w.version
