-- The steps of every version, in the order of the file.
SELECT s.workflow_id, s.version, s.step_key, s.position
  FROM journeys.workflow_steps AS s
 ORDER BY s.workflow_id COLLATE "C", s.version, s.position, s.step_key COLLATE "C"
