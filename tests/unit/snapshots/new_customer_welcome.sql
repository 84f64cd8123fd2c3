-- new_customer_welcome: goal
WITH counted AS 
(INSERT INTO journeys.conversions (journey_id, event_seq, workflow_id, version, customer_id, event_type, at, value, exposed) SELECT j.id AS id, batch_events.seq AS seq, j.workflow_id AS workflow_id, j.version AS version, j.customer_id AS customer_id, batch_events.type AS type, batch_events.occurred_at AS occurred_at, journeys.num(batch_events.payload -> 'total'::VARCHAR) AS num_1, EXISTS (SELECT * 
FROM journeys.messages 
WHERE journeys.messages.journey_id = j.id AND journeys.messages.accepted_at <= batch_events.occurred_at) AS anon_1 
FROM batch_events JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.depth AS depth, journeys.customer_journeys.skip AS skip, journeys.customer_journeys.due_was AS due_was 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.customer_id = batch_events.customer_id AND journeys.customer_journeys.workflow_id = 'new_customer_welcome'::VARCHAR AND journeys.customer_journeys.version = ANY (:versions::INTEGER[]) AND (batch_events.occurred_at, batch_events.seq) > (journeys.customer_journeys.entered_at, journeys.customer_journeys.entered_seq)
 LIMIT ALL OFFSET 0) AS j ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = j.id 
 LIMIT 1) AS c ON true LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('purchase'::VARCHAR) AND batch_events.type = 'purchase'::VARCHAR AND batch_events.occurred_at <= j.entered_at + '14 days, 0:00:00' ON CONFLICT DO NOTHING RETURNING journeys.conversions.journey_id)
 SELECT (SELECT count(*) AS count_1 
FROM counted) AS conversions;

-- new_customer_welcome: exit
WITH hit AS MATERIALIZED 
(SELECT j.id AS id, j.workflow_id AS workflow_id, j.version AS version, j.customer_id AS customer_id, j.entry_key AS entry_key, j.visit AS visit, j.trigger_id AS trigger_id, j.entered_at AS entered_at, j.entered_seq AS entered_seq, j.depth AS depth, j.step_key AS from_step, CAST(NULL AS TEXT) AS to_step, greatest(batch_events.occurred_at, j.at) AS at, batch_events.seq AS at_seq, CASE WHEN (batch_events.type = 'unsubscribed'::VARCHAR) THEN 'exit_rule' WHEN (batch_events.type = 'exit.new_customer_welcome'::VARCHAR AND journeys.txt(batch_events.payload -> 'by'::VARCHAR) = 'manual'::VARCHAR) THEN 'manual' WHEN (batch_events.type = 'exit.new_customer_welcome'::VARCHAR) THEN 'exit_rule' END AS why, coalesce(jsonb_build_object('rule'::VARCHAR, CASE WHEN (batch_events.type = 'unsubscribed'::VARCHAR) THEN 'unsubscribed'::VARCHAR WHEN (batch_events.type = 'exit.new_customer_welcome'::VARCHAR AND journeys.txt(batch_events.payload -> 'by'::VARCHAR) = 'manual'::VARCHAR) THEN 'journeys exit'::VARCHAR WHEN (batch_events.type = 'exit.new_customer_welcome'::VARCHAR) THEN 'exit_workflow'::VARCHAR END, 'event'::VARCHAR, batch_events.seq, 'values'::VARCHAR, jsonb_build_object()), CAST(NULL AS JSONB)) AS detail 
FROM batch_events JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.depth AS depth, journeys.customer_journeys.skip AS skip, journeys.customer_journeys.due_was AS due_was 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.customer_id = batch_events.customer_id AND journeys.customer_journeys.workflow_id = 'new_customer_welcome'::VARCHAR AND journeys.customer_journeys.version = ANY (:versions::INTEGER[]) AND (batch_events.occurred_at, batch_events.seq) > (journeys.customer_journeys.entered_at, journeys.customer_journeys.entered_seq) AND journeys.customer_journeys.status = 'active'
 LIMIT ALL OFFSET 0) AS j ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = j.id 
 LIMIT 1) AS c ON true LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('exit.new_customer_welcome'::VARCHAR, 'unsubscribed'::VARCHAR) AND (batch_events.type = 'unsubscribed'::VARCHAR OR batch_events.type = 'exit.new_customer_welcome'::VARCHAR AND journeys.txt(batch_events.payload -> 'by'::VARCHAR) = 'manual'::VARCHAR OR batch_events.type = 'exit.new_customer_welcome'::VARCHAR)), 
released AS 
(UPDATE journeys.journey_admissions SET active=(journeys.journey_admissions.active - gone.n), last_ended_at=greatest(journeys.journey_admissions.last_ended_at, gone.at) FROM (SELECT hit.workflow_id AS workflow_id, hit.customer_id AS customer_id, hit.entry_key AS entry_key, count(*) AS n, max(hit.at) AS at 
FROM hit 
WHERE hit.to_step IS NULL GROUP BY hit.workflow_id, hit.customer_id, hit.entry_key) AS gone WHERE journeys.journey_admissions.workflow_id = gone.workflow_id AND journeys.journey_admissions.customer_id = gone.customer_id AND journeys.journey_admissions.entry_key = gone.entry_key RETURNING journeys.journey_admissions.customer_id), 
logged AS 
(INSERT INTO journeys.journey_transitions (journey_id, recorded_at, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, why, detail) SELECT hit.id AS id, :now::TIMESTAMP WITH TIME ZONE AS anon_1, hit.workflow_id AS workflow_id, hit.version AS version, hit.customer_id AS customer_id, hit.visit AS visit, hit.from_step AS from_step, hit.to_step AS to_step, hit.at AS at, hit.at_seq AS at_seq, hit.why AS why, hit.detail AS detail 
FROM hit RETURNING journeys.journey_transitions.journey_id), 
ended AS 
(UPDATE journeys.customer_journeys SET status='ended', at=hit.at, at_seq=hit.at_seq, arrived_seq=NULL, ended_at=hit.at, exit_reason=hit.why FROM hit WHERE journeys.customer_journeys.id = hit.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM ended) AS ended, 0 AS emitted;

-- new_customer_welcome: exit, take back unsent
WITH hit AS MATERIALIZED 
(SELECT unsent.message_id AS message_id, CASE WHEN (j.status = 'ended' AND j.at_seq = batch_events.seq AND j.exit_reason = 'goal') THEN 'goal' WHEN (j.status = 'ended' AND j.at_seq = batch_events.seq) THEN 'exit' WHEN (batch_events.type = 'unsubscribed'::VARCHAR) THEN 'exit' WHEN (batch_events.type = 'exit.new_customer_welcome'::VARCHAR AND journeys.txt(batch_events.payload -> 'by'::VARCHAR) = 'manual'::VARCHAR) THEN 'exit' WHEN (batch_events.type = 'exit.new_customer_welcome'::VARCHAR) THEN 'exit' END AS reason 
FROM batch_events JOIN LATERAL (SELECT journeys.messages.id AS message_id, journeys.messages.journey_id AS journey_id 
FROM journeys.messages 
WHERE journeys.messages.customer_id = batch_events.customer_id AND journeys.messages.workflow_id = 'new_customer_welcome'::VARCHAR AND journeys.messages.state IN ('planned', 'deferred', 'retry')
 LIMIT ALL OFFSET 0) AS unsent ON true JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.depth AS depth, journeys.customer_journeys.skip AS skip, journeys.customer_journeys.due_was AS due_was 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.id = unsent.journey_id AND journeys.customer_journeys.version = ANY (:versions::INTEGER[]) AND (batch_events.occurred_at, batch_events.seq) > (journeys.customer_journeys.entered_at, journeys.customer_journeys.entered_seq) 
 LIMIT 1) AS j ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = j.id 
 LIMIT 1) AS c ON true LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('exit.new_customer_welcome'::VARCHAR, 'unsubscribed'::VARCHAR) AND (j.status = 'ended' AND j.at_seq = batch_events.seq AND j.exit_reason = 'goal' OR j.status = 'ended' AND j.at_seq = batch_events.seq OR batch_events.type = 'unsubscribed'::VARCHAR OR batch_events.type = 'exit.new_customer_welcome'::VARCHAR AND journeys.txt(batch_events.payload -> 'by'::VARCHAR) = 'manual'::VARCHAR OR batch_events.type = 'exit.new_customer_welcome'::VARCHAR)), 
done AS 
(UPDATE journeys.messages SET state='suppressed', reason=hit.reason, updated_at=:now::TIMESTAMP WITH TIME ZONE FROM hit WHERE journeys.messages.id = hit.message_id AND journeys.messages.state IN ('planned', 'deferred', 'retry') RETURNING journeys.messages.id)
 SELECT (SELECT count(*) AS count_1 
FROM done) AS taken_back;

-- new_customer_welcome/welcome: advance
WITH due AS MATERIALIZED 
(SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.due_was AS due_was, journeys.customer_journeys.skip AS skip, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.depth AS depth 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.step_uid = 3938388361517380855 AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.held_at IS NULL AND journeys.customer_journeys.due_at <= :now::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.due_at >= :due_from::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.shard = ANY (:shards::SMALLINT[]) ORDER BY journeys.customer_journeys.due_at 
 LIMIT :row_limit::INTEGER), 
facts AS MATERIALIZED 
(SELECT due.id AS id, due.customer_id AS customer_id, due.shard AS shard, due.workflow_id AS workflow_id, due.version AS version, due.entry_key AS entry_key, due.visit AS visit, due.held_out AS held_out, due.trigger_id AS trigger_id, due.entered_at AS entered_at, due.entered_seq AS entered_seq, CASE WHEN (CAST(NULL AS BIGINT) IS NULL AND due.due_at > due.at) THEN 0 ELSE due.depth END AS depth, due.due_at AS at, due.due_seq AS at_seq, CAST(NULL AS BIGINT) AS arrived_event, 'at once' AS why, 'onboarding'::VARCHAR AS target, CAST(NULL AS JSONB) AS detail, NOT due.skip AS do_0_send_email 
FROM due), 
moves AS MATERIALIZED 
(SELECT facts.id AS id, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.entry_key AS entry_key, facts.trigger_id AS trigger_id, facts.entered_at AS entered_at, facts.entered_seq AS entered_seq, facts.depth AS depth, facts.detail AS detail, facts.visit AS visit, 'welcome'::VARCHAR AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, facts.at AS at, facts.at_seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar') THEN coalesce(back.at, timezone('UTC', timezone('UTC', facts.at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN facts.at + target.wait_elapsed ELSE facts.at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE facts.at_seq END AS due_seq, CASE WHEN (facts.target = 'end') THEN 'completed' ELSE facts.why END AS why 
FROM facts LEFT OUTER JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = facts.workflow_id AND journeys.workflow_steps.version = facts.version AND journeys.workflow_steps.step_key = facts.target 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = facts.customer_id AND target.wait_kind = 'calendar') AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', facts.at) + wall_zone.utc_offset AS local 
FROM journeys.zone_offsets AS wall_zone 
WHERE target.wait_kind = 'calendar' AND wall_zone.zone = person.zone AND wall_zone.utc_to > facts.at ORDER BY wall_zone.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(back_zone.utc_from, timezone('UTC', (wall.local + make_interval(0, target.wait_months, 0, target.wait_days)) - back_zone.utc_offset)) AS at 
FROM journeys.zone_offsets AS back_zone 
WHERE back_zone.zone = person.zone AND back_zone.local_to > wall.local + make_interval(0, target.wait_months, 0, target.wait_days) ORDER BY back_zone.local_to 
 LIMIT 1) AS back ON true 
WHERE target.step_key IS NOT NULL OR facts.target = 'end'), 
logged AS 
(INSERT INTO journeys.journey_transitions (journey_id, recorded_at, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, why, detail) SELECT moves.id AS id, :now::TIMESTAMP WITH TIME ZONE AS anon_1, moves.workflow_id AS workflow_id, moves.version AS version, moves.customer_id AS customer_id, moves.visit AS visit, moves.from_step AS from_step, moves.to_step AS to_step, moves.at AS at, moves.at_seq AS at_seq, moves.why AS why, moves.detail AS detail 
FROM moves RETURNING journeys.journey_transitions.journey_id), 
to_send AS MATERIALIZED 
(SELECT facts.id AS id, 'send_email'::VARCHAR AS action_id, 'email'::VARCHAR AS channel, facts.at + '5 days, 0:00:00' AS expires_at, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.shard AS shard, facts.entry_key AS entry_key, facts.visit AS visit, facts.at AS at, facts.held_out AS held_out, facts.arrived_event AS arrived_event 
FROM facts 
WHERE facts.do_0_send_email), 
sent AS 
(INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, entry_key, channel, category, topic, priority, arrived_seq, planned_at, created_at, send_after, expires_at, state, updated_at) SELECT journeys.message_key(:salt::VARCHAR, to_send.id, 'welcome'::VARCHAR, to_send.action_id, to_send.visit, to_send.channel) AS message_key, to_send.id AS journey_id, 'welcome'::VARCHAR AS step_key, to_send.action_id AS action_id, to_send.visit AS visit, to_send.channel AS slot, to_send.workflow_id AS workflow_id, to_send.version AS workflow_version, to_send.customer_id AS customer_id, to_send.shard AS shard, to_send.entry_key AS entry_key, to_send.channel AS channel, 'marketing' AS category, 'getting_started'::VARCHAR AS topic, 10::INTEGER AS priority, to_send.arrived_event AS arrived_seq, to_send.at AS planned_at, :now::TIMESTAMP WITH TIME ZONE AS created_at, to_send.at AS send_after, to_send.expires_at AS expires_at, CASE WHEN to_send.held_out THEN 'held_out' ELSE 'planned' END AS state, :now::TIMESTAMP WITH TIME ZONE AS updated_at 
FROM to_send ON CONFLICT DO NOTHING RETURNING journeys.messages.id), 
moved AS 
(UPDATE journeys.customer_journeys SET status=CASE WHEN (moves.to_step IS NULL) THEN 'ended' ELSE 'active' END, step_key=coalesce(moves.to_step, journeys.customer_journeys.step_key), step_uid=coalesce(moves.entry_uid, journeys.customer_journeys.step_uid), visit=moves.visit, at=moves.at, at_seq=moves.at_seq, due_at=coalesce(moves.due_at, moves.at), due_seq=coalesce(moves.due_seq, moves.at_seq), arrived_seq=NULL, ended_at=CASE WHEN (moves.to_step IS NULL) THEN moves.at END, exit_reason=CASE WHEN (moves.to_step IS NULL) THEN moves.why END, depth=moves.depth, skip=false, due_was=NULL FROM moves WHERE journeys.customer_journeys.id = moves.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM due) AS due, (SELECT count(*) AS count_2 
FROM moved) AS moved, (SELECT count(*) AS count_3 
FROM moves 
WHERE moves.to_step IS NULL) AS ended, (SELECT count(*) AS count_4 
FROM sent) AS planned, (SELECT count(*) AS count_5 
FROM to_send) - (SELECT count(*) AS count_6 
FROM sent) AS conflicts, 0 AS emitted;

-- new_customer_welcome/onboarding: advance
WITH due AS MATERIALIZED 
(SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.due_was AS due_was, journeys.customer_journeys.skip AS skip, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.depth AS depth 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.step_uid = 2935290931579808041 AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.held_at IS NULL AND journeys.customer_journeys.due_at <= :now::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.due_at >= :due_from::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.shard = ANY (:shards::SMALLINT[]) ORDER BY journeys.customer_journeys.due_at 
 LIMIT :row_limit::INTEGER), 
facts AS MATERIALIZED 
(SELECT due.id AS id, due.customer_id AS customer_id, due.shard AS shard, due.workflow_id AS workflow_id, due.version AS version, due.entry_key AS entry_key, due.visit AS visit, due.held_out AS held_out, due.trigger_id AS trigger_id, due.entered_at AS entered_at, due.entered_seq AS entered_seq, CASE WHEN (CAST(NULL AS BIGINT) IS NULL AND due.due_at > due.at) THEN 0 ELSE due.depth END AS depth, due.due_at AS at, due.due_seq AS at_seq, CAST(NULL AS BIGINT) AS arrived_event, 'timer' AS why, 'end'::VARCHAR AS target, CAST(NULL AS JSONB) AS detail, NOT due.skip AS do_0_send_sms 
FROM due), 
moves AS MATERIALIZED 
(SELECT facts.id AS id, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.entry_key AS entry_key, facts.trigger_id AS trigger_id, facts.entered_at AS entered_at, facts.entered_seq AS entered_seq, facts.depth AS depth, facts.detail AS detail, facts.visit AS visit, 'onboarding'::VARCHAR AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, facts.at AS at, facts.at_seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar') THEN coalesce(back.at, timezone('UTC', timezone('UTC', facts.at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN facts.at + target.wait_elapsed ELSE facts.at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE facts.at_seq END AS due_seq, CASE WHEN (facts.target = 'end') THEN 'completed' ELSE facts.why END AS why 
FROM facts LEFT OUTER JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = facts.workflow_id AND journeys.workflow_steps.version = facts.version AND journeys.workflow_steps.step_key = facts.target 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = facts.customer_id AND target.wait_kind = 'calendar') AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', facts.at) + wall_zone.utc_offset AS local 
FROM journeys.zone_offsets AS wall_zone 
WHERE target.wait_kind = 'calendar' AND wall_zone.zone = person.zone AND wall_zone.utc_to > facts.at ORDER BY wall_zone.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(back_zone.utc_from, timezone('UTC', (wall.local + make_interval(0, target.wait_months, 0, target.wait_days)) - back_zone.utc_offset)) AS at 
FROM journeys.zone_offsets AS back_zone 
WHERE back_zone.zone = person.zone AND back_zone.local_to > wall.local + make_interval(0, target.wait_months, 0, target.wait_days) ORDER BY back_zone.local_to 
 LIMIT 1) AS back ON true 
WHERE target.step_key IS NOT NULL OR facts.target = 'end'), 
logged AS 
(INSERT INTO journeys.journey_transitions (journey_id, recorded_at, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, why, detail) SELECT moves.id AS id, :now::TIMESTAMP WITH TIME ZONE AS anon_1, moves.workflow_id AS workflow_id, moves.version AS version, moves.customer_id AS customer_id, moves.visit AS visit, moves.from_step AS from_step, moves.to_step AS to_step, moves.at AS at, moves.at_seq AS at_seq, moves.why AS why, moves.detail AS detail 
FROM moves RETURNING journeys.journey_transitions.journey_id), 
released AS 
(UPDATE journeys.journey_admissions SET active=(journeys.journey_admissions.active - gone.n), last_ended_at=greatest(journeys.journey_admissions.last_ended_at, gone.at) FROM (SELECT moves.workflow_id AS workflow_id, moves.customer_id AS customer_id, moves.entry_key AS entry_key, count(*) AS n, max(moves.at) AS at 
FROM moves 
WHERE moves.to_step IS NULL GROUP BY moves.workflow_id, moves.customer_id, moves.entry_key) AS gone WHERE journeys.journey_admissions.workflow_id = gone.workflow_id AND journeys.journey_admissions.customer_id = gone.customer_id AND journeys.journey_admissions.entry_key = gone.entry_key RETURNING journeys.journey_admissions.customer_id), 
to_send AS MATERIALIZED 
(SELECT facts.id AS id, 'send_sms'::VARCHAR AS action_id, 'sms'::VARCHAR AS channel, facts.at + '5 days, 0:00:00' AS expires_at, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.shard AS shard, facts.entry_key AS entry_key, facts.visit AS visit, facts.at AS at, facts.held_out AS held_out, facts.arrived_event AS arrived_event 
FROM facts 
WHERE facts.do_0_send_sms), 
sent AS 
(INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, entry_key, channel, category, topic, priority, arrived_seq, planned_at, created_at, send_after, expires_at, state, updated_at) SELECT journeys.message_key(:salt::VARCHAR, to_send.id, 'onboarding'::VARCHAR, to_send.action_id, to_send.visit, to_send.channel) AS message_key, to_send.id AS journey_id, 'onboarding'::VARCHAR AS step_key, to_send.action_id AS action_id, to_send.visit AS visit, to_send.channel AS slot, to_send.workflow_id AS workflow_id, to_send.version AS workflow_version, to_send.customer_id AS customer_id, to_send.shard AS shard, to_send.entry_key AS entry_key, to_send.channel AS channel, 'marketing' AS category, 'getting_started'::VARCHAR AS topic, 10::INTEGER AS priority, to_send.arrived_event AS arrived_seq, to_send.at AS planned_at, :now::TIMESTAMP WITH TIME ZONE AS created_at, to_send.at AS send_after, to_send.expires_at AS expires_at, CASE WHEN to_send.held_out THEN 'held_out' ELSE 'planned' END AS state, :now::TIMESTAMP WITH TIME ZONE AS updated_at 
FROM to_send ON CONFLICT DO NOTHING RETURNING journeys.messages.id), 
moved AS 
(UPDATE journeys.customer_journeys SET status=CASE WHEN (moves.to_step IS NULL) THEN 'ended' ELSE 'active' END, step_key=coalesce(moves.to_step, journeys.customer_journeys.step_key), step_uid=coalesce(moves.entry_uid, journeys.customer_journeys.step_uid), visit=moves.visit, at=moves.at, at_seq=moves.at_seq, due_at=coalesce(moves.due_at, moves.at), due_seq=coalesce(moves.due_seq, moves.at_seq), arrived_seq=NULL, ended_at=CASE WHEN (moves.to_step IS NULL) THEN moves.at END, exit_reason=CASE WHEN (moves.to_step IS NULL) THEN moves.why END, depth=moves.depth, skip=false, due_was=NULL FROM moves WHERE journeys.customer_journeys.id = moves.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM due) AS due, (SELECT count(*) AS count_2 
FROM moved) AS moved, (SELECT count(*) AS count_3 
FROM moves 
WHERE moves.to_step IS NULL) AS ended, (SELECT count(*) AS count_4 
FROM sent) AS planned, (SELECT count(*) AS count_5 
FROM to_send) - (SELECT count(*) AS count_6 
FROM sent) AS conflicts, 0 AS emitted;

-- new_customer_welcome v1: enter
WITH candidates AS MATERIALIZED 
(SELECT batch_events.seq AS seq, batch_events.customer_id AS customer_id, batch_events.shard AS shard, batch_events.occurred_at AS occurred_at, batch_events.type AS type, batch_events.payload AS payload, batch_events.depth AS depth, CASE WHEN (batch_events.type = 'user_registered'::VARCHAR) THEN 'registered'::VARCHAR WHEN (batch_events.type = 'enter.new_customer_welcome'::VARCHAR AND journeys.txt(batch_events.payload -> 'trigger'::VARCHAR) = 'start_workflow'::VARCHAR) THEN 'start_workflow'::VARCHAR END AS trigger_id, '' AS entry_key, jsonb_build_object('trigger'::VARCHAR, CASE WHEN (batch_events.type = 'user_registered'::VARCHAR) THEN 'registered'::VARCHAR WHEN (batch_events.type = 'enter.new_customer_welcome'::VARCHAR AND journeys.txt(batch_events.payload -> 'trigger'::VARCHAR) = 'start_workflow'::VARCHAR) THEN 'start_workflow'::VARCHAR END, 'event'::VARCHAR, batch_events.seq, 'eligibility'::VARCHAR, 'customer.subscription_status == ''active'''::VARCHAR, 'values'::VARCHAR, jsonb_build_object('customer.subscription_status'::VARCHAR, to_jsonb(p.subscription_status))) AS detail 
FROM batch_events JOIN journeys.automation_workflows ON journeys.automation_workflows.id = 'new_customer_welcome'::VARCHAR AND journeys.automation_workflows.version = 1::INTEGER AND journeys.automation_workflows.is_current AND journeys.automation_workflows.status = 'active' LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('enter.new_customer_welcome'::VARCHAR, 'user_registered'::VARCHAR) AND (batch_events.type = 'user_registered'::VARCHAR OR batch_events.type = 'enter.new_customer_welcome'::VARCHAR AND journeys.txt(batch_events.payload -> 'trigger'::VARCHAR) = 'start_workflow'::VARCHAR) AND batch_events.received_at - batch_events.occurred_at <= '1 day, 0:00:00' AND p.subscription_status = 'active'::VARCHAR), 
admitted AS 
(INSERT INTO journeys.journey_admissions (workflow_id, customer_id, entry_key, entries, active, last_entered_at) SELECT 'new_customer_welcome'::VARCHAR AS anon_1, candidates.customer_id AS customer_id, candidates.entry_key AS entry_key, 1, 1, candidates.occurred_at AS occurred_at 
FROM candidates 
WHERE candidates.entry_key IS NOT NULL ON CONFLICT (workflow_id, customer_id, entry_key) DO UPDATE SET entries = (journeys.journey_admissions.entries + 1), active = (journeys.journey_admissions.active + 1), last_entered_at = greatest(journeys.journey_admissions.last_entered_at, excluded.last_entered_at) WHERE false RETURNING journeys.journey_admissions.customer_id, journeys.journey_admissions.entry_key), 
entered AS 
(INSERT INTO journeys.customer_journeys (workflow_id, version, customer_id, shard, entry_key, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at, entered_seq, depth, held_out) SELECT 'new_customer_welcome'::VARCHAR AS workflow_id, 1 AS version, candidates.customer_id AS customer_id, candidates.shard AS shard, candidates.entry_key AS entry_key, candidates.trigger_id AS trigger_id, target.step_key AS step_key, target.entry_uid AS step_uid, candidates.occurred_at AS at, candidates.seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar') THEN coalesce(back.at, timezone('UTC', timezone('UTC', candidates.occurred_at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN candidates.occurred_at + target.wait_elapsed ELSE candidates.occurred_at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE candidates.seq END AS due_seq, candidates.occurred_at AS entered_at, candidates.seq AS entered_seq, candidates.depth AS depth, false AS held_out 
FROM candidates FULL OUTER JOIN admitted ON admitted.customer_id = candidates.customer_id JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = 'new_customer_welcome'::VARCHAR AND journeys.workflow_steps.version = 1 AND journeys.workflow_steps.step_key = 'welcome'::VARCHAR 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = candidates.customer_id AND target.wait_kind = 'calendar') AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', candidates.occurred_at) + wall_zone.utc_offset AS local 
FROM journeys.zone_offsets AS wall_zone 
WHERE target.wait_kind = 'calendar' AND wall_zone.zone = person.zone AND wall_zone.utc_to > candidates.occurred_at ORDER BY wall_zone.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(back_zone.utc_from, timezone('UTC', (wall.local + make_interval(0, target.wait_months, 0, target.wait_days)) - back_zone.utc_offset)) AS at 
FROM journeys.zone_offsets AS back_zone 
WHERE back_zone.zone = person.zone AND back_zone.local_to > wall.local + make_interval(0, target.wait_months, 0, target.wait_days) ORDER BY back_zone.local_to 
 LIMIT 1) AS back ON true 
WHERE coalesce(admitted.customer_id, '') != '' RETURNING journeys.customer_journeys.id, journeys.customer_journeys.customer_id, journeys.customer_journeys.step_key, journeys.customer_journeys.entered_at), 
logged AS 
(INSERT INTO journeys.journey_transitions (journey_id, workflow_id, version, customer_id, visit, to_step, at, at_seq, recorded_at, why, detail) SELECT entered.id AS id, 'new_customer_welcome'::VARCHAR AS anon_1, 1, entered.customer_id AS customer_id, 1, entered.step_key AS step_key, candidates.occurred_at AS occurred_at, candidates.seq AS seq, :now::TIMESTAMP WITH TIME ZONE AS anon_2, 'entered', candidates.detail AS detail 
FROM candidates FULL OUTER JOIN entered ON entered.customer_id = candidates.customer_id 
WHERE coalesce(entered.customer_id, '') != '' RETURNING journeys.journey_transitions.journey_id), 
context AS 
(INSERT INTO journeys.journey_context (journey_id, event_type, event) SELECT entered.id AS id, candidates.type AS type, jsonb_strip_nulls(jsonb_build_object('plan'::VARCHAR, candidates.payload -> 'plan'::VARCHAR, 'referrer'::VARCHAR, candidates.payload -> 'referrer'::VARCHAR)) AS jsonb_strip_nulls_1 
FROM candidates FULL OUTER JOIN entered ON entered.customer_id = candidates.customer_id 
WHERE coalesce(entered.customer_id, '') != '' RETURNING journeys.journey_context.journey_id)
 SELECT (SELECT count(*) AS count_1 
FROM candidates) AS candidates, (SELECT count(*) AS count_2 
FROM candidates 
WHERE candidates.entry_key IS NULL) AS keyless, (SELECT count(*) AS count_3 
FROM entered) AS entered, 0 AS emitted, 0 AS limited, (SELECT jsonb_object_agg(each.at, each.n) AS jsonb_object_agg_1 
FROM (SELECT CAST(date_bin('0:01:00', entered.entered_at, '1970-01-01 00:00:00+00:00'::TIMESTAMP WITH TIME ZONE) AS TEXT) AS at, count(*) AS n 
FROM entered GROUP BY date_bin('0:01:00', entered.entered_at, '1970-01-01 00:00:00+00:00'::TIMESTAMP WITH TIME ZONE)) AS each) AS entered_by;
