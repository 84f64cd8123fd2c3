-- What a workflow is used to: the hours of the seven days before the last hour in which anybody entered.
SELECT count(*) AS hours, coalesce(avg(x.entrants), 0)::double precision AS mean FROM (
    SELECT sum(e.entries) AS entrants FROM journeys.workflow_entries e
     WHERE e.workflow_id = %(workflow)s::text
       AND e.minute > %(at)s::timestamptz - interval '7 days 1 hour' AND e.minute <= %(at)s::timestamptz - interval '1 hour'
     GROUP BY floor(extract(epoch FROM %(at)s::timestamptz - e.minute) / 3600)) AS x
