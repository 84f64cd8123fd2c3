-- Which of these are customers: they have a profile, or something happened to them. And which of them are in the workflow now.
SELECT u.id, EXISTS (SELECT FROM journeys.journey_admissions a
                      WHERE a.workflow_id = %(workflow)s::text AND a.customer_id = u.id AND a.active > 0) AS inside
  FROM unnest(%(customers)s::text[]) AS u (id)
 WHERE EXISTS (SELECT FROM journeys.customer_profiles p WHERE p.customer_id = u.id)
    OR EXISTS (SELECT FROM journeys.customer_event_stats s WHERE s.customer_id = u.id)
