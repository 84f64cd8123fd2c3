-- Where the engine's own ids stand: what this batch writes lies above.
SELECT (SELECT last_value - (NOT is_called)::integer FROM journeys.event_inbox_id_seq) AS inbox_mark,
       (SELECT last_value - (NOT is_called)::integer FROM journeys.customer_changes_id_seq) AS change_mark,
       (SELECT last_value - (NOT is_called)::integer FROM journeys.moment_ids) AS moment_mark
