-- What the batch's rounds hold, so that only statements with candidates run.
SELECT round, type, count(*) AS events, count(profile) AS profiles FROM batch_events GROUP BY round, type ORDER BY round, type
