-- On its own, before the counting: who enters a limited workflow goes one after the other, whatever worker it is. In one order for all.
SELECT pg_advisory_xact_lock(7235002, hashtext(w.id)) FROM (SELECT DISTINCT u.id FROM unnest(%(workflows)s::text[]) AS u (id) ORDER BY 1) AS w
