-- cart_recovery: goal
WITH counted AS 
(INSERT INTO journeys.conversions (journey_id, event_seq, workflow_id, version, customer_id, event_type, at, value, exposed) SELECT j.id AS id, batch_events.seq AS seq, j.workflow_id AS workflow_id, j.version AS version, j.customer_id AS customer_id, batch_events.type AS type, batch_events.occurred_at AS occurred_at, journeys.num(batch_events.payload -> 'total'::VARCHAR) AS num_1, EXISTS (SELECT * 
FROM journeys.messages 
WHERE journeys.messages.journey_id = j.id AND journeys.messages.accepted_at <= batch_events.occurred_at) AS anon_1 
FROM batch_events JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.customer_id = batch_events.customer_id AND journeys.customer_journeys.workflow_id = 'cart_recovery'::VARCHAR AND journeys.customer_journeys.version = ANY (:versions::INTEGER[]) AND (batch_events.occurred_at, batch_events.seq) > (journeys.customer_journeys.entered_at, journeys.customer_journeys.entered_seq)
 LIMIT ALL OFFSET 0) AS j ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = j.id 
 LIMIT 1) AS c ON true LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('purchase'::VARCHAR) AND batch_events.type = 'purchase'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR) AND journeys.num(batch_events.payload -> 'total'::VARCHAR) > 0 AND batch_events.occurred_at <= j.entered_at + '7 days, 0:00:00' ON CONFLICT DO NOTHING RETURNING journeys.conversions.journey_id)
 SELECT (SELECT count(*) AS count_1 
FROM counted) AS conversions;

-- cart_recovery: exit
WITH hit AS MATERIALIZED 
(SELECT j.id AS id, j.workflow_id AS workflow_id, j.version AS version, j.customer_id AS customer_id, j.entry_key AS entry_key, j.visit AS visit, j.step_key AS from_step, CAST(NULL AS TEXT) AS to_step, greatest(batch_events.occurred_at, j.at) AS at, batch_events.seq AS at_seq, CASE WHEN (batch_events.type = 'purchase'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR) AND journeys.num(batch_events.payload -> 'total'::VARCHAR) > 0 AND batch_events.occurred_at <= j.entered_at + '7 days, 0:00:00') THEN 'goal' WHEN (batch_events.type = 'cart_emptied'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR)) THEN 'exit_rule' WHEN (batch_events.type = 'unsubscribed'::VARCHAR) THEN 'exit_rule' END AS why, jsonb_build_object('rule'::VARCHAR, CASE WHEN (batch_events.type = 'purchase'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR) AND journeys.num(batch_events.payload -> 'total'::VARCHAR) > 0 AND batch_events.occurred_at <= j.entered_at + '7 days, 0:00:00') THEN 'goal: purchase, match cart_id, when arrived.total > 0'::VARCHAR WHEN (batch_events.type = 'cart_emptied'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR)) THEN 'cart_emptied, match cart_id'::VARCHAR WHEN (batch_events.type = 'unsubscribed'::VARCHAR) THEN 'unsubscribed'::VARCHAR END, 'event'::VARCHAR, batch_events.seq, 'values'::VARCHAR, jsonb_build_object('arrived.cart_id'::VARCHAR, journeys.present(batch_events.payload -> 'cart_id'::VARCHAR), 'arrived.total'::VARCHAR, journeys.present(batch_events.payload -> 'total'::VARCHAR))) AS detail 
FROM batch_events JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.customer_id = batch_events.customer_id AND journeys.customer_journeys.workflow_id = 'cart_recovery'::VARCHAR AND journeys.customer_journeys.version = ANY (:versions::INTEGER[]) AND (batch_events.occurred_at, batch_events.seq) > (journeys.customer_journeys.entered_at, journeys.customer_journeys.entered_seq) AND journeys.customer_journeys.status = 'active'
 LIMIT ALL OFFSET 0) AS j ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = j.id 
 LIMIT 1) AS c ON true LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('cart_emptied'::VARCHAR, 'purchase'::VARCHAR, 'unsubscribed'::VARCHAR) AND (batch_events.type = 'purchase'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR) AND journeys.num(batch_events.payload -> 'total'::VARCHAR) > 0 AND batch_events.occurred_at <= j.entered_at + '7 days, 0:00:00' OR batch_events.type = 'cart_emptied'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR) OR batch_events.type = 'unsubscribed'::VARCHAR)), 
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
FROM ended) AS ended;

-- cart_recovery: exit, take back unsent
WITH hit AS MATERIALIZED 
(SELECT unsent.message_id AS message_id, CASE WHEN (batch_events.type = 'purchase'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR) AND journeys.num(batch_events.payload -> 'total'::VARCHAR) > 0 AND batch_events.occurred_at <= j.entered_at + '7 days, 0:00:00') THEN 'goal' WHEN (batch_events.type = 'cart_emptied'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR)) THEN 'exit' WHEN (batch_events.type = 'unsubscribed'::VARCHAR) THEN 'exit' END AS reason 
FROM batch_events JOIN LATERAL (SELECT journeys.messages.id AS message_id, journeys.messages.journey_id AS journey_id 
FROM journeys.messages 
WHERE journeys.messages.customer_id = batch_events.customer_id AND journeys.messages.workflow_id = 'cart_recovery'::VARCHAR AND journeys.messages.state IN ('planned', 'deferred', 'retry')
 LIMIT ALL OFFSET 0) AS unsent ON true JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.id = unsent.journey_id AND journeys.customer_journeys.version = ANY (:versions::INTEGER[]) AND (batch_events.occurred_at, batch_events.seq) > (journeys.customer_journeys.entered_at, journeys.customer_journeys.entered_seq) 
 LIMIT 1) AS j ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = j.id 
 LIMIT 1) AS c ON true LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('cart_emptied'::VARCHAR, 'purchase'::VARCHAR, 'unsubscribed'::VARCHAR) AND (batch_events.type = 'purchase'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR) AND journeys.num(batch_events.payload -> 'total'::VARCHAR) > 0 AND batch_events.occurred_at <= j.entered_at + '7 days, 0:00:00' OR batch_events.type = 'cart_emptied'::VARCHAR AND journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR) OR batch_events.type = 'unsubscribed'::VARCHAR)), 
done AS 
(UPDATE journeys.messages SET state='suppressed', reason=hit.reason, updated_at=:now::TIMESTAMP WITH TIME ZONE FROM hit WHERE journeys.messages.id = hit.message_id AND journeys.messages.state IN ('planned', 'deferred', 'retry') RETURNING journeys.messages.id)
 SELECT (SELECT count(*) AS count_1 
FROM done) AS taken_back;

-- cart_recovery/remind: advance
WITH due AS MATERIALIZED 
(SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.step_uid = 415121897066345586 AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.held_at IS NULL AND journeys.customer_journeys.due_at <= :now::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.shard = ANY (:shards::SMALLINT[]) ORDER BY journeys.customer_journeys.due_at 
 LIMIT :row_limit::INTEGER), 
facts AS MATERIALIZED 
(SELECT due.id AS id, due.customer_id AS customer_id, due.shard AS shard, due.workflow_id AS workflow_id, due.version AS version, due.entry_key AS entry_key, due.visit AS visit, due.held_out AS held_out, due.due_at AS at, due.due_seq AS at_seq, CAST(NULL AS BIGINT) AS arrived_event, 'timer' AS why, 'settle'::VARCHAR AS target, CAST(NULL AS JSONB) AS detail, true AS do_0_send_email 
FROM due), 
moves AS MATERIALIZED 
(SELECT facts.id AS id, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.entry_key AS entry_key, facts.visit AS visit, 'remind'::VARCHAR AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, facts.at AS at, facts.at_seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) THEN coalesce(back.due, timezone('UTC', timezone('UTC', facts.at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN facts.at + target.wait_elapsed ELSE facts.at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE facts.at_seq END AS due_seq, CASE WHEN (facts.target = 'end') THEN 'completed' ELSE facts.why END AS why, facts.detail AS detail 
FROM facts LEFT OUTER JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = facts.workflow_id AND journeys.workflow_steps.version = facts.version AND journeys.workflow_steps.step_key = facts.target 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = facts.customer_id AND target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', facts.at) + z_from.utc_offset + make_interval(0, target.wait_months, 0, target.wait_days) AS local 
FROM journeys.zone_offsets AS z_from 
WHERE target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0) AND z_from.zone = person.zone AND z_from.utc_to > facts.at ORDER BY z_from.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(z_to.utc_from, timezone('UTC', wall.local - z_to.utc_offset)) AS due 
FROM journeys.zone_offsets AS z_to 
WHERE z_to.zone = person.zone AND z_to.local_to > wall.local ORDER BY z_to.local_to 
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
(INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, entry_key, channel, category, topic, priority, arrived_seq, planned_at, created_at, send_after, expires_at, state, updated_at) SELECT journeys.message_key(:salt::VARCHAR, to_send.id, 'remind'::VARCHAR, to_send.action_id, to_send.visit, to_send.channel) AS message_key, to_send.id AS journey_id, 'remind'::VARCHAR AS step_key, to_send.action_id AS action_id, to_send.visit AS visit, to_send.channel AS slot, to_send.workflow_id AS workflow_id, to_send.version AS workflow_version, to_send.customer_id AS customer_id, to_send.shard AS shard, to_send.entry_key AS entry_key, to_send.channel AS channel, 'marketing' AS category, 'offers'::VARCHAR AS topic, 20::INTEGER AS priority, to_send.arrived_event AS arrived_seq, to_send.at AS planned_at, :now::TIMESTAMP WITH TIME ZONE AS created_at, to_send.at AS send_after, to_send.expires_at AS expires_at, CASE WHEN to_send.held_out THEN 'held_out' ELSE 'planned' END AS state, :now::TIMESTAMP WITH TIME ZONE AS updated_at 
FROM to_send ON CONFLICT DO NOTHING RETURNING journeys.messages.id), 
moved AS 
(UPDATE journeys.customer_journeys SET status=CASE WHEN (moves.to_step IS NULL) THEN 'ended' ELSE 'active' END, step_key=coalesce(moves.to_step, journeys.customer_journeys.step_key), step_uid=coalesce(moves.entry_uid, journeys.customer_journeys.step_uid), at=moves.at, at_seq=moves.at_seq, due_at=coalesce(moves.due_at, moves.at), due_seq=coalesce(moves.due_seq, moves.at_seq), arrived_seq=NULL, ended_at=CASE WHEN (moves.to_step IS NULL) THEN moves.at END, exit_reason=CASE WHEN (moves.to_step IS NULL) THEN 'completed' END FROM moves WHERE journeys.customer_journeys.id = moves.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM due) AS due, (SELECT count(*) AS count_2 
FROM moved) AS moved, (SELECT count(*) AS count_3 
FROM moves 
WHERE moves.to_step IS NULL) AS ended, (SELECT count(*) AS count_4 
FROM sent) AS planned, (SELECT count(*) AS count_5 
FROM to_send) - (SELECT count(*) AS count_6 
FROM sent) AS conflicts;

-- cart_recovery/settle: wake
WITH hit AS MATERIALIZED 
(SELECT j.id AS id, batch_events.seq AS seq, CASE WHEN ((j.at, j.at_seq) > (batch_events.occurred_at, batch_events.seq)) THEN j.at ELSE batch_events.occurred_at END AS due_at, CASE WHEN ((j.at, j.at_seq) > (batch_events.occurred_at, batch_events.seq)) THEN j.at_seq ELSE batch_events.seq END AS due_seq 
FROM batch_events JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.customer_id = batch_events.customer_id AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.step_uid = 1758035785966672982 AND journeys.customer_journeys.arrived_seq IS NULL
 LIMIT ALL OFFSET 0) AS j ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = j.id 
 LIMIT 1) AS c ON true LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('message.clicked'::VARCHAR, 'cart_updated'::VARCHAR) AND (batch_events.occurred_at, batch_events.seq) > (j.at, j.at_seq) AND (batch_events.occurred_at, batch_events.seq) <= (j.due_at, j.due_seq) AND ((batch_events.type NOT IN ('message.clicked'::VARCHAR)) OR batch_events.journey_id = j.id) AND (batch_events.type = 'message.clicked'::VARCHAR OR journeys.present(batch_events.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR))), 
woken AS 
(UPDATE journeys.customer_journeys SET due_at=hit.due_at, due_seq=hit.due_seq, arrived_seq=hit.seq FROM hit WHERE journeys.customer_journeys.id = hit.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM woken) AS woken;

-- cart_recovery/settle: advance
WITH due AS MATERIALIZED 
(SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.step_uid = 1758035785966672982 AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.held_at IS NULL AND journeys.customer_journeys.due_at <= :now::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.shard = ANY (:shards::SMALLINT[]) ORDER BY journeys.customer_journeys.due_at 
 LIMIT :row_limit::INTEGER), 
facts AS MATERIALIZED 
(SELECT due.id AS id, due.customer_id AS customer_id, due.shard AS shard, due.workflow_id AS workflow_id, due.version AS version, due.entry_key AS entry_key, due.visit AS visit, due.held_out AS held_out, coalesce(belt.occurred_at, due.due_at) AS at, coalesce(belt.seq, due.due_seq) AS at_seq, coalesce(due.arrived_seq, belt.seq) AS arrived_event, CASE WHEN (coalesce(due.arrived_seq, belt.seq) IS NOT NULL) THEN 'event' ELSE 'timeout' END AS why, CASE WHEN (coalesce(arr.type, belt.type) = 'message.clicked'::VARCHAR OR p.lifetime_value > 500) THEN 'offer'::VARCHAR ELSE 'last_call'::VARCHAR END AS target, jsonb_build_object('arrived', coalesce(arr.type, belt.type), 'event', coalesce(due.arrived_seq, belt.seq), 'rule', CASE WHEN (coalesce(arr.type, belt.type) = 'message.clicked'::VARCHAR OR p.lifetime_value > 500) THEN 'arrived.type == ''message.clicked'' or customer.lifetime_value > 500'::VARCHAR ELSE 'else' END, 'to', CASE WHEN (coalesce(arr.type, belt.type) = 'message.clicked'::VARCHAR OR p.lifetime_value > 500) THEN 'offer'::VARCHAR ELSE 'last_call'::VARCHAR END, 'values', jsonb_build_object('arrived.type'::VARCHAR, to_jsonb(coalesce(arr.type, belt.type)), 'customer.lifetime_value'::VARCHAR, to_jsonb(trim_scale(p.lifetime_value)))) AS detail 
FROM due LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = due.customer_id 
 LIMIT 1) AS p ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = due.id 
 LIMIT 1) AS c ON true LEFT OUTER JOIN LATERAL (SELECT journeys.customer_events.seq AS seq, journeys.customer_events.type AS type, journeys.customer_events.occurred_at AS occurred_at, journeys.customer_events.payload AS payload 
FROM journeys.customer_events 
WHERE journeys.customer_events.seq = due.arrived_seq 
 LIMIT 1) AS arr ON true LEFT OUTER JOIN LATERAL (SELECT e.seq AS seq, e.type AS type, e.occurred_at AS occurred_at, e.payload AS payload 
FROM journeys.customer_events AS e 
WHERE due.arrived_seq IS NULL AND e.customer_id = due.customer_id AND e.type IN ('message.clicked'::VARCHAR, 'cart_updated'::VARCHAR) AND (e.occurred_at, e.seq) > (due.at, due.at_seq) AND (e.occurred_at, e.seq) <= (due.due_at, due.due_seq) AND ((e.type NOT IN ('message.clicked'::VARCHAR)) OR e.journey_id = due.id) AND (e.type = 'message.clicked'::VARCHAR OR journeys.present(e.payload -> 'cart_id'::VARCHAR) = journeys.present(c.event -> 'cart_id'::VARCHAR)) ORDER BY e.occurred_at, e.seq 
 LIMIT 1) AS belt ON true), 
moves AS MATERIALIZED 
(SELECT facts.id AS id, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.entry_key AS entry_key, facts.visit AS visit, 'settle'::VARCHAR AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, facts.at AS at, facts.at_seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) THEN coalesce(back.due, timezone('UTC', timezone('UTC', facts.at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN facts.at + target.wait_elapsed ELSE facts.at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE facts.at_seq END AS due_seq, CASE WHEN (facts.target = 'end') THEN 'completed' ELSE facts.why END AS why, facts.detail AS detail 
FROM facts LEFT OUTER JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = facts.workflow_id AND journeys.workflow_steps.version = facts.version AND journeys.workflow_steps.step_key = facts.target 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = facts.customer_id AND target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', facts.at) + z_from.utc_offset + make_interval(0, target.wait_months, 0, target.wait_days) AS local 
FROM journeys.zone_offsets AS z_from 
WHERE target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0) AND z_from.zone = person.zone AND z_from.utc_to > facts.at ORDER BY z_from.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(z_to.utc_from, timezone('UTC', wall.local - z_to.utc_offset)) AS due 
FROM journeys.zone_offsets AS z_to 
WHERE z_to.zone = person.zone AND z_to.local_to > wall.local ORDER BY z_to.local_to 
 LIMIT 1) AS back ON true 
WHERE target.step_key IS NOT NULL OR facts.target = 'end'), 
logged AS 
(INSERT INTO journeys.journey_transitions (journey_id, recorded_at, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, why, detail) SELECT moves.id AS id, :now::TIMESTAMP WITH TIME ZONE AS anon_1, moves.workflow_id AS workflow_id, moves.version AS version, moves.customer_id AS customer_id, moves.visit AS visit, moves.from_step AS from_step, moves.to_step AS to_step, moves.at AS at, moves.at_seq AS at_seq, moves.why AS why, moves.detail AS detail 
FROM moves RETURNING journeys.journey_transitions.journey_id), 
moved AS 
(UPDATE journeys.customer_journeys SET status=CASE WHEN (moves.to_step IS NULL) THEN 'ended' ELSE 'active' END, step_key=coalesce(moves.to_step, journeys.customer_journeys.step_key), step_uid=coalesce(moves.entry_uid, journeys.customer_journeys.step_uid), at=moves.at, at_seq=moves.at_seq, due_at=coalesce(moves.due_at, moves.at), due_seq=coalesce(moves.due_seq, moves.at_seq), arrived_seq=NULL, ended_at=CASE WHEN (moves.to_step IS NULL) THEN moves.at END, exit_reason=CASE WHEN (moves.to_step IS NULL) THEN 'completed' END FROM moves WHERE journeys.customer_journeys.id = moves.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM due) AS due, (SELECT count(*) AS count_2 
FROM moved) AS moved, (SELECT count(*) AS count_3 
FROM moves 
WHERE moves.to_step IS NULL) AS ended, 0 AS planned, 0 AS conflicts;

-- cart_recovery/offer: advance
WITH due AS MATERIALIZED 
(SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.step_uid = 3613096804075603441 AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.held_at IS NULL AND journeys.customer_journeys.due_at <= :now::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.shard = ANY (:shards::SMALLINT[]) ORDER BY journeys.customer_journeys.due_at 
 LIMIT :row_limit::INTEGER), 
facts AS MATERIALIZED 
(SELECT due.id AS id, due.customer_id AS customer_id, due.shard AS shard, due.workflow_id AS workflow_id, due.version AS version, due.entry_key AS entry_key, due.visit AS visit, due.held_out AS held_out, due.due_at AS at, due.due_seq AS at_seq, CAST(NULL AS BIGINT) AS arrived_event, 'timer' AS why, 'end'::VARCHAR AS target, jsonb_build_object('values', jsonb_build_object('event.total'::VARCHAR, journeys.present(c.event -> 'total'::VARCHAR))) AS detail, true AS do_0_send_sms, coalesce(journeys.num(c.event -> 'total'::VARCHAR) > 200, false) AS do_1_create_task, (('Call '::VARCHAR || coalesce(p.first_name, 'the customer'::VARCHAR)) || ' about cart '::VARCHAR) || journeys.text_of(c.event -> 'cart_id'::VARCHAR) AS title_1_create_task, CAST(NULL AS TEXT) AS body_1_create_task, 'sales'::VARCHAR AS assignee_1_create_task 
FROM due LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = due.customer_id 
 LIMIT 1) AS p ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = due.id 
 LIMIT 1) AS c ON true), 
moves AS MATERIALIZED 
(SELECT facts.id AS id, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.entry_key AS entry_key, facts.visit AS visit, 'offer'::VARCHAR AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, facts.at AS at, facts.at_seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) THEN coalesce(back.due, timezone('UTC', timezone('UTC', facts.at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN facts.at + target.wait_elapsed ELSE facts.at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE facts.at_seq END AS due_seq, CASE WHEN (facts.target = 'end') THEN 'completed' ELSE facts.why END AS why, facts.detail AS detail 
FROM facts LEFT OUTER JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = facts.workflow_id AND journeys.workflow_steps.version = facts.version AND journeys.workflow_steps.step_key = facts.target 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = facts.customer_id AND target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', facts.at) + z_from.utc_offset + make_interval(0, target.wait_months, 0, target.wait_days) AS local 
FROM journeys.zone_offsets AS z_from 
WHERE target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0) AND z_from.zone = person.zone AND z_from.utc_to > facts.at ORDER BY z_from.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(z_to.utc_from, timezone('UTC', wall.local - z_to.utc_offset)) AS due 
FROM journeys.zone_offsets AS z_to 
WHERE z_to.zone = person.zone AND z_to.local_to > wall.local ORDER BY z_to.local_to 
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
(INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, entry_key, channel, category, topic, priority, arrived_seq, planned_at, created_at, send_after, expires_at, state, updated_at) SELECT journeys.message_key(:salt::VARCHAR, to_send.id, 'offer'::VARCHAR, to_send.action_id, to_send.visit, to_send.channel) AS message_key, to_send.id AS journey_id, 'offer'::VARCHAR AS step_key, to_send.action_id AS action_id, to_send.visit AS visit, to_send.channel AS slot, to_send.workflow_id AS workflow_id, to_send.version AS workflow_version, to_send.customer_id AS customer_id, to_send.shard AS shard, to_send.entry_key AS entry_key, to_send.channel AS channel, 'marketing' AS category, 'offers'::VARCHAR AS topic, 20::INTEGER AS priority, to_send.arrived_event AS arrived_seq, to_send.at AS planned_at, :now::TIMESTAMP WITH TIME ZONE AS created_at, to_send.at AS send_after, to_send.expires_at AS expires_at, CASE WHEN to_send.held_out THEN 'held_out' ELSE 'planned' END AS state, :now::TIMESTAMP WITH TIME ZONE AS updated_at 
FROM to_send ON CONFLICT DO NOTHING RETURNING journeys.messages.id), 
made_tasks AS 
(INSERT INTO journeys.tasks (journey_id, step_key, action_id, visit, workflow_id, customer_id, title, body, assignee, due_at, created_at) SELECT facts.id AS id, 'offer'::VARCHAR AS anon_2, 'create_task'::VARCHAR AS anon_3, facts.visit AS visit, facts.workflow_id AS workflow_id, facts.customer_id AS customer_id, left(facts.title_1_create_task, 500::INTEGER) AS left_1, facts.body_1_create_task AS body_1_create_task, facts.assignee_1_create_task AS assignee_1_create_task, facts.at + '2 days, 0:00:00' AS anon_4, :now::TIMESTAMP WITH TIME ZONE AS anon_1 
FROM facts 
WHERE facts.do_1_create_task AND NOT facts.held_out AND facts.title_1_create_task IS NOT NULL ON CONFLICT DO NOTHING RETURNING journeys.tasks.id), 
action_log AS 
(INSERT INTO journeys.workflow_action_logs (journey_id, step_key, action_id, visit, workflow_id, version, customer_id, kind, state, reason, at, recorded_at, detail) SELECT facts.id AS id, 'offer'::VARCHAR AS anon_5, 'create_task'::VARCHAR AS anon_6, facts.visit AS visit, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, 'create_task', CASE WHEN facts.held_out THEN 'held_out' WHEN (facts.title_1_create_task IS NULL) THEN 'failed' ELSE 'done' END AS anon_7, CASE WHEN (NOT facts.held_out AND facts.title_1_create_task IS NULL) THEN 'the title names something that is missing' END AS anon_8, facts.at AS at, :now::TIMESTAMP WITH TIME ZONE AS anon_1, CAST(NULL AS JSONB) AS anon_9 
FROM facts 
WHERE facts.do_1_create_task ON CONFLICT DO NOTHING RETURNING journeys.workflow_action_logs.journey_id), 
moved AS 
(UPDATE journeys.customer_journeys SET status=CASE WHEN (moves.to_step IS NULL) THEN 'ended' ELSE 'active' END, step_key=coalesce(moves.to_step, journeys.customer_journeys.step_key), step_uid=coalesce(moves.entry_uid, journeys.customer_journeys.step_uid), at=moves.at, at_seq=moves.at_seq, due_at=coalesce(moves.due_at, moves.at), due_seq=coalesce(moves.due_seq, moves.at_seq), arrived_seq=NULL, ended_at=CASE WHEN (moves.to_step IS NULL) THEN moves.at END, exit_reason=CASE WHEN (moves.to_step IS NULL) THEN 'completed' END FROM moves WHERE journeys.customer_journeys.id = moves.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM due) AS due, (SELECT count(*) AS count_2 
FROM moved) AS moved, (SELECT count(*) AS count_3 
FROM moves 
WHERE moves.to_step IS NULL) AS ended, (SELECT count(*) AS count_4 
FROM sent) AS planned, (SELECT count(*) AS count_5 
FROM to_send) - (SELECT count(*) AS count_6 
FROM sent) AS conflicts;

-- cart_recovery/last_call: advance
WITH due AS MATERIALIZED 
(SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.step_uid = 2846245357862586464 AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.held_at IS NULL AND journeys.customer_journeys.due_at <= :now::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.shard = ANY (:shards::SMALLINT[]) ORDER BY journeys.customer_journeys.due_at 
 LIMIT :row_limit::INTEGER), 
facts AS MATERIALIZED 
(SELECT due.id AS id, due.customer_id AS customer_id, due.shard AS shard, due.workflow_id AS workflow_id, due.version AS version, due.entry_key AS entry_key, due.visit AS visit, due.held_out AS held_out, due.due_at AS at, due.due_seq AS at_seq, CAST(NULL AS BIGINT) AS arrived_event, 'at once' AS why, CASE WHEN (logged_arm.arm IN ('gentle'::VARCHAR, 'urgent'::VARCHAR)) THEN logged_arm.arm ELSE CASE WHEN (journeys.bucket_of('split|cart_recovery|last_call|'::VARCHAR || due.customer_id) < 5000::INTEGER) THEN 'gentle'::VARCHAR ELSE 'urgent'::VARCHAR END END AS target, jsonb_build_object('rule', 'split', 'to', CASE WHEN (logged_arm.arm IN ('gentle'::VARCHAR, 'urgent'::VARCHAR)) THEN logged_arm.arm ELSE CASE WHEN (journeys.bucket_of('split|cart_recovery|last_call|'::VARCHAR || due.customer_id) < 5000::INTEGER) THEN 'gentle'::VARCHAR ELSE 'urgent'::VARCHAR END END) AS detail 
FROM due LEFT OUTER JOIN LATERAL (SELECT journeys.split_assignments.arm AS arm 
FROM journeys.split_assignments 
WHERE journeys.split_assignments.workflow_id = 'cart_recovery'::VARCHAR AND journeys.split_assignments.step_key = 'last_call'::VARCHAR AND journeys.split_assignments.customer_id = due.customer_id 
 LIMIT 1) AS logged_arm ON true), 
moves AS MATERIALIZED 
(SELECT facts.id AS id, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.entry_key AS entry_key, facts.visit AS visit, 'last_call'::VARCHAR AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, facts.at AS at, facts.at_seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) THEN coalesce(back.due, timezone('UTC', timezone('UTC', facts.at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN facts.at + target.wait_elapsed ELSE facts.at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE facts.at_seq END AS due_seq, CASE WHEN (facts.target = 'end') THEN 'completed' ELSE facts.why END AS why, facts.detail AS detail 
FROM facts LEFT OUTER JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = facts.workflow_id AND journeys.workflow_steps.version = facts.version AND journeys.workflow_steps.step_key = facts.target 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = facts.customer_id AND target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', facts.at) + z_from.utc_offset + make_interval(0, target.wait_months, 0, target.wait_days) AS local 
FROM journeys.zone_offsets AS z_from 
WHERE target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0) AND z_from.zone = person.zone AND z_from.utc_to > facts.at ORDER BY z_from.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(z_to.utc_from, timezone('UTC', wall.local - z_to.utc_offset)) AS due 
FROM journeys.zone_offsets AS z_to 
WHERE z_to.zone = person.zone AND z_to.local_to > wall.local ORDER BY z_to.local_to 
 LIMIT 1) AS back ON true 
WHERE target.step_key IS NOT NULL OR facts.target = 'end'), 
logged AS 
(INSERT INTO journeys.journey_transitions (journey_id, recorded_at, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, why, detail) SELECT moves.id AS id, :now::TIMESTAMP WITH TIME ZONE AS anon_1, moves.workflow_id AS workflow_id, moves.version AS version, moves.customer_id AS customer_id, moves.visit AS visit, moves.from_step AS from_step, moves.to_step AS to_step, moves.at AS at, moves.at_seq AS at_seq, moves.why AS why, moves.detail AS detail 
FROM moves RETURNING journeys.journey_transitions.journey_id), 
assigned AS 
(INSERT INTO journeys.split_assignments (workflow_id, step_key, customer_id, arm, version, assigned_at) SELECT DISTINCT ON (facts.customer_id) 'cart_recovery'::VARCHAR AS anon_2, 'last_call'::VARCHAR AS anon_3, facts.customer_id AS customer_id, facts.target AS target, facts.version AS version, facts.at AS at 
FROM facts ORDER BY facts.customer_id, facts.at, facts.id ON CONFLICT (workflow_id, step_key, customer_id) DO UPDATE SET arm = excluded.arm, version = excluded.version, assigned_at = excluded.assigned_at WHERE journeys.split_assignments.arm != excluded.arm RETURNING journeys.split_assignments.customer_id), 
moved AS 
(UPDATE journeys.customer_journeys SET status=CASE WHEN (moves.to_step IS NULL) THEN 'ended' ELSE 'active' END, step_key=coalesce(moves.to_step, journeys.customer_journeys.step_key), step_uid=coalesce(moves.entry_uid, journeys.customer_journeys.step_uid), at=moves.at, at_seq=moves.at_seq, due_at=coalesce(moves.due_at, moves.at), due_seq=coalesce(moves.due_seq, moves.at_seq), arrived_seq=NULL, ended_at=CASE WHEN (moves.to_step IS NULL) THEN moves.at END, exit_reason=CASE WHEN (moves.to_step IS NULL) THEN 'completed' END FROM moves WHERE journeys.customer_journeys.id = moves.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM due) AS due, (SELECT count(*) AS count_2 
FROM moved) AS moved, (SELECT count(*) AS count_3 
FROM moves 
WHERE moves.to_step IS NULL) AS ended, 0 AS planned, 0 AS conflicts;

-- cart_recovery/gentle: advance
WITH due AS MATERIALIZED 
(SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.step_uid = 3021442932984587026 AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.held_at IS NULL AND journeys.customer_journeys.due_at <= :now::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.shard = ANY (:shards::SMALLINT[]) ORDER BY journeys.customer_journeys.due_at 
 LIMIT :row_limit::INTEGER), 
facts AS MATERIALIZED 
(SELECT due.id AS id, due.customer_id AS customer_id, due.shard AS shard, due.workflow_id AS workflow_id, due.version AS version, due.entry_key AS entry_key, due.visit AS visit, due.held_out AS held_out, due.due_at AS at, due.due_seq AS at_seq, CAST(NULL AS BIGINT) AS arrived_event, 'at once' AS why, 'end'::VARCHAR AS target, CAST(NULL AS JSONB) AS detail, true AS do_0_send_email 
FROM due), 
moves AS MATERIALIZED 
(SELECT facts.id AS id, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.entry_key AS entry_key, facts.visit AS visit, 'gentle'::VARCHAR AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, facts.at AS at, facts.at_seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) THEN coalesce(back.due, timezone('UTC', timezone('UTC', facts.at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN facts.at + target.wait_elapsed ELSE facts.at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE facts.at_seq END AS due_seq, CASE WHEN (facts.target = 'end') THEN 'completed' ELSE facts.why END AS why, facts.detail AS detail 
FROM facts LEFT OUTER JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = facts.workflow_id AND journeys.workflow_steps.version = facts.version AND journeys.workflow_steps.step_key = facts.target 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = facts.customer_id AND target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', facts.at) + z_from.utc_offset + make_interval(0, target.wait_months, 0, target.wait_days) AS local 
FROM journeys.zone_offsets AS z_from 
WHERE target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0) AND z_from.zone = person.zone AND z_from.utc_to > facts.at ORDER BY z_from.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(z_to.utc_from, timezone('UTC', wall.local - z_to.utc_offset)) AS due 
FROM journeys.zone_offsets AS z_to 
WHERE z_to.zone = person.zone AND z_to.local_to > wall.local ORDER BY z_to.local_to 
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
(SELECT facts.id AS id, 'send_email'::VARCHAR AS action_id, 'email'::VARCHAR AS channel, facts.at + '5 days, 0:00:00' AS expires_at, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.shard AS shard, facts.entry_key AS entry_key, facts.visit AS visit, facts.at AS at, facts.held_out AS held_out, facts.arrived_event AS arrived_event 
FROM facts 
WHERE facts.do_0_send_email), 
sent AS 
(INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, entry_key, channel, category, topic, priority, arrived_seq, planned_at, created_at, send_after, expires_at, state, updated_at) SELECT journeys.message_key(:salt::VARCHAR, to_send.id, 'gentle'::VARCHAR, to_send.action_id, to_send.visit, to_send.channel) AS message_key, to_send.id AS journey_id, 'gentle'::VARCHAR AS step_key, to_send.action_id AS action_id, to_send.visit AS visit, to_send.channel AS slot, to_send.workflow_id AS workflow_id, to_send.version AS workflow_version, to_send.customer_id AS customer_id, to_send.shard AS shard, to_send.entry_key AS entry_key, to_send.channel AS channel, 'marketing' AS category, 'offers'::VARCHAR AS topic, 20::INTEGER AS priority, to_send.arrived_event AS arrived_seq, to_send.at AS planned_at, :now::TIMESTAMP WITH TIME ZONE AS created_at, to_send.at AS send_after, to_send.expires_at AS expires_at, CASE WHEN to_send.held_out THEN 'held_out' ELSE 'planned' END AS state, :now::TIMESTAMP WITH TIME ZONE AS updated_at 
FROM to_send ON CONFLICT DO NOTHING RETURNING journeys.messages.id), 
moved AS 
(UPDATE journeys.customer_journeys SET status=CASE WHEN (moves.to_step IS NULL) THEN 'ended' ELSE 'active' END, step_key=coalesce(moves.to_step, journeys.customer_journeys.step_key), step_uid=coalesce(moves.entry_uid, journeys.customer_journeys.step_uid), at=moves.at, at_seq=moves.at_seq, due_at=coalesce(moves.due_at, moves.at), due_seq=coalesce(moves.due_seq, moves.at_seq), arrived_seq=NULL, ended_at=CASE WHEN (moves.to_step IS NULL) THEN moves.at END, exit_reason=CASE WHEN (moves.to_step IS NULL) THEN 'completed' END FROM moves WHERE journeys.customer_journeys.id = moves.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM due) AS due, (SELECT count(*) AS count_2 
FROM moved) AS moved, (SELECT count(*) AS count_3 
FROM moves 
WHERE moves.to_step IS NULL) AS ended, (SELECT count(*) AS count_4 
FROM sent) AS planned, (SELECT count(*) AS count_5 
FROM to_send) - (SELECT count(*) AS count_6 
FROM sent) AS conflicts;

-- cart_recovery/urgent: advance
WITH due AS MATERIALIZED 
(SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.held_out AS held_out, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.step_uid = 4567696925578161938 AND journeys.customer_journeys.status = 'active' AND journeys.customer_journeys.held_at IS NULL AND journeys.customer_journeys.due_at <= :now::TIMESTAMP WITH TIME ZONE AND journeys.customer_journeys.shard = ANY (:shards::SMALLINT[]) ORDER BY journeys.customer_journeys.due_at 
 LIMIT :row_limit::INTEGER), 
facts AS MATERIALIZED 
(SELECT due.id AS id, due.customer_id AS customer_id, due.shard AS shard, due.workflow_id AS workflow_id, due.version AS version, due.entry_key AS entry_key, due.visit AS visit, due.held_out AS held_out, due.due_at AS at, due.due_seq AS at_seq, CAST(NULL AS BIGINT) AS arrived_event, 'at once' AS why, 'end'::VARCHAR AS target, jsonb_build_object('values', jsonb_build_object('event.total'::VARCHAR, journeys.present(c.event -> 'total'::VARCHAR))) AS detail, true AS do_0_send_email, coalesce(journeys.num(c.event -> 'total'::VARCHAR) > 50, false) AS do_1_send_push 
FROM due LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = due.customer_id 
 LIMIT 1) AS p ON true LEFT OUTER JOIN LATERAL (SELECT journeys.journey_context.journey_id AS journey_id, journeys.journey_context.event_type AS event_type, journeys.journey_context.event AS event 
FROM journeys.journey_context 
WHERE journeys.journey_context.journey_id = due.id 
 LIMIT 1) AS c ON true), 
moves AS MATERIALIZED 
(SELECT facts.id AS id, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.entry_key AS entry_key, facts.visit AS visit, 'urgent'::VARCHAR AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, facts.at AS at, facts.at_seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) THEN coalesce(back.due, timezone('UTC', timezone('UTC', facts.at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN facts.at + target.wait_elapsed ELSE facts.at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE facts.at_seq END AS due_seq, CASE WHEN (facts.target = 'end') THEN 'completed' ELSE facts.why END AS why, facts.detail AS detail 
FROM facts LEFT OUTER JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = facts.workflow_id AND journeys.workflow_steps.version = facts.version AND journeys.workflow_steps.step_key = facts.target 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = facts.customer_id AND target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', facts.at) + z_from.utc_offset + make_interval(0, target.wait_months, 0, target.wait_days) AS local 
FROM journeys.zone_offsets AS z_from 
WHERE target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0) AND z_from.zone = person.zone AND z_from.utc_to > facts.at ORDER BY z_from.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(z_to.utc_from, timezone('UTC', wall.local - z_to.utc_offset)) AS due 
FROM journeys.zone_offsets AS z_to 
WHERE z_to.zone = person.zone AND z_to.local_to > wall.local ORDER BY z_to.local_to 
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
(SELECT facts.id AS id, 'send_email'::VARCHAR AS action_id, 'email'::VARCHAR AS channel, facts.at + '5 days, 0:00:00' AS expires_at, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.shard AS shard, facts.entry_key AS entry_key, facts.visit AS visit, facts.at AS at, facts.held_out AS held_out, facts.arrived_event AS arrived_event 
FROM facts 
WHERE facts.do_0_send_email UNION ALL SELECT facts.id AS id, 'send_push'::VARCHAR AS action_id, 'push'::VARCHAR AS channel, facts.at + '5 days, 0:00:00' AS expires_at, facts.workflow_id AS workflow_id, facts.version AS version, facts.customer_id AS customer_id, facts.shard AS shard, facts.entry_key AS entry_key, facts.visit AS visit, facts.at AS at, facts.held_out AS held_out, facts.arrived_event AS arrived_event 
FROM facts 
WHERE facts.do_1_send_push), 
sent AS 
(INSERT INTO journeys.messages (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, entry_key, channel, category, topic, priority, arrived_seq, planned_at, created_at, send_after, expires_at, state, updated_at) SELECT journeys.message_key(:salt::VARCHAR, to_send.id, 'urgent'::VARCHAR, to_send.action_id, to_send.visit, to_send.channel) AS message_key, to_send.id AS journey_id, 'urgent'::VARCHAR AS step_key, to_send.action_id AS action_id, to_send.visit AS visit, to_send.channel AS slot, to_send.workflow_id AS workflow_id, to_send.version AS workflow_version, to_send.customer_id AS customer_id, to_send.shard AS shard, to_send.entry_key AS entry_key, to_send.channel AS channel, 'marketing' AS category, 'offers'::VARCHAR AS topic, 20::INTEGER AS priority, to_send.arrived_event AS arrived_seq, to_send.at AS planned_at, :now::TIMESTAMP WITH TIME ZONE AS created_at, to_send.at AS send_after, to_send.expires_at AS expires_at, CASE WHEN to_send.held_out THEN 'held_out' ELSE 'planned' END AS state, :now::TIMESTAMP WITH TIME ZONE AS updated_at 
FROM to_send ON CONFLICT DO NOTHING RETURNING journeys.messages.id), 
moved AS 
(UPDATE journeys.customer_journeys SET status=CASE WHEN (moves.to_step IS NULL) THEN 'ended' ELSE 'active' END, step_key=coalesce(moves.to_step, journeys.customer_journeys.step_key), step_uid=coalesce(moves.entry_uid, journeys.customer_journeys.step_uid), at=moves.at, at_seq=moves.at_seq, due_at=coalesce(moves.due_at, moves.at), due_seq=coalesce(moves.due_seq, moves.at_seq), arrived_seq=NULL, ended_at=CASE WHEN (moves.to_step IS NULL) THEN moves.at END, exit_reason=CASE WHEN (moves.to_step IS NULL) THEN 'completed' END FROM moves WHERE journeys.customer_journeys.id = moves.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM due) AS due, (SELECT count(*) AS count_2 
FROM moved) AS moved, (SELECT count(*) AS count_3 
FROM moves 
WHERE moves.to_step IS NULL) AS ended, (SELECT count(*) AS count_4 
FROM sent) AS planned, (SELECT count(*) AS count_5 
FROM to_send) - (SELECT count(*) AS count_6 
FROM sent) AS conflicts;

-- cart_recovery v1: refresh
WITH candidates AS MATERIALIZED 
(SELECT batch_events.seq AS seq, batch_events.customer_id AS customer_id, batch_events.shard AS shard, batch_events.occurred_at AS occurred_at, batch_events.type AS type, batch_events.payload AS payload, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'left_cart'::VARCHAR END AS trigger_id, CASE WHEN (length(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR)) > 200::INTEGER) THEN left(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR), 150::INTEGER) || '~' || md5(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR)) ELSE journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR) END AS entry_key, jsonb_build_object('trigger'::VARCHAR, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'left_cart'::VARCHAR END, 'event'::VARCHAR, batch_events.seq, 'rule'::VARCHAR, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'event.item_count > 0 and customer.subscription_status == ''active'''::VARCHAR END, 'values'::VARCHAR, jsonb_build_object('event.item_count'::VARCHAR, journeys.present(batch_events.payload -> 'item_count'::VARCHAR), 'customer.subscription_status'::VARCHAR, to_jsonb(p.subscription_status))) AS detail 
FROM batch_events JOIN journeys.automation_workflows ON journeys.automation_workflows.id = 'cart_recovery'::VARCHAR AND journeys.automation_workflows.version = 1::INTEGER AND journeys.automation_workflows.is_current AND journeys.automation_workflows.status = 'active' LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('cart_updated'::VARCHAR) AND batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR AND batch_events.received_at - batch_events.occurred_at <= '1 day, 0:00:00'), 
found AS 
(SELECT j.id AS id, candidates.type AS type, CASE WHEN (j.version = 1) THEN jsonb_strip_nulls(jsonb_build_object('cart_id'::VARCHAR, candidates.payload -> 'cart_id'::VARCHAR, 'cart_url'::VARCHAR, candidates.payload -> 'cart_url'::VARCHAR, 'item_count'::VARCHAR, candidates.payload -> 'item_count'::VARCHAR, 'total'::VARCHAR, candidates.payload -> 'total'::VARCHAR)) ELSE candidates.payload END AS event 
FROM candidates JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.customer_id = candidates.customer_id AND journeys.customer_journeys.workflow_id = 'cart_recovery'::VARCHAR AND journeys.customer_journeys.entry_key = candidates.entry_key AND journeys.customer_journeys.status = 'active' AND (candidates.occurred_at, candidates.seq) > (journeys.customer_journeys.entered_at, journeys.customer_journeys.entered_seq)
 LIMIT ALL OFFSET 0) AS j ON true), 
done AS 
(UPDATE journeys.journey_context SET event_type=found.type, event=found.event FROM found WHERE journeys.journey_context.journey_id = found.id RETURNING journeys.journey_context.journey_id)
 SELECT (SELECT count(*) AS count_1 
FROM done) AS refreshed;

-- cart_recovery v1: restart
WITH candidates AS MATERIALIZED 
(SELECT batch_events.seq AS seq, batch_events.customer_id AS customer_id, batch_events.shard AS shard, batch_events.occurred_at AS occurred_at, batch_events.type AS type, batch_events.payload AS payload, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'left_cart'::VARCHAR END AS trigger_id, CASE WHEN (length(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR)) > 200::INTEGER) THEN left(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR), 150::INTEGER) || '~' || md5(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR)) ELSE journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR) END AS entry_key, jsonb_build_object('trigger'::VARCHAR, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'left_cart'::VARCHAR END, 'event'::VARCHAR, batch_events.seq, 'rule'::VARCHAR, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'event.item_count > 0 and customer.subscription_status == ''active'''::VARCHAR END, 'values'::VARCHAR, jsonb_build_object('event.item_count'::VARCHAR, journeys.present(batch_events.payload -> 'item_count'::VARCHAR), 'customer.subscription_status'::VARCHAR, to_jsonb(p.subscription_status))) AS detail 
FROM batch_events JOIN journeys.automation_workflows ON journeys.automation_workflows.id = 'cart_recovery'::VARCHAR AND journeys.automation_workflows.version = 1::INTEGER AND journeys.automation_workflows.is_current AND journeys.automation_workflows.status = 'active' LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('cart_updated'::VARCHAR) AND batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR AND batch_events.received_at - batch_events.occurred_at <= '1 day, 0:00:00'), 
found AS MATERIALIZED 
(SELECT j.id AS id, j.workflow_id AS workflow_id, j.version AS version, j.customer_id AS customer_id, j.visit + 1 AS visit, j.step_key AS from_step, target.step_key AS to_step, target.entry_uid AS entry_uid, candidates.occurred_at AS at, candidates.seq AS at_seq, 'restarted' AS why, CASE WHEN (target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) THEN coalesce(back.due, timezone('UTC', timezone('UTC', candidates.occurred_at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN candidates.occurred_at + target.wait_elapsed ELSE candidates.occurred_at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE candidates.seq END AS due_seq, candidates.detail AS detail 
FROM candidates JOIN LATERAL (SELECT journeys.customer_journeys.id AS id, journeys.customer_journeys.workflow_id AS workflow_id, journeys.customer_journeys.version AS version, journeys.customer_journeys.customer_id AS customer_id, journeys.customer_journeys.shard AS shard, journeys.customer_journeys.entry_key AS entry_key, journeys.customer_journeys.trigger_id AS trigger_id, journeys.customer_journeys.status AS status, journeys.customer_journeys.step_key AS step_key, journeys.customer_journeys.step_uid AS step_uid, journeys.customer_journeys.visit AS visit, journeys.customer_journeys.at AS at, journeys.customer_journeys.at_seq AS at_seq, journeys.customer_journeys.due_at AS due_at, journeys.customer_journeys.due_seq AS due_seq, journeys.customer_journeys.arrived_seq AS arrived_seq, journeys.customer_journeys.entered_at AS entered_at, journeys.customer_journeys.entered_seq AS entered_seq, journeys.customer_journeys.ended_at AS ended_at, journeys.customer_journeys.exit_reason AS exit_reason, journeys.customer_journeys.held_at AS held_at, journeys.customer_journeys.held_out AS held_out 
FROM journeys.customer_journeys 
WHERE journeys.customer_journeys.customer_id = candidates.customer_id AND journeys.customer_journeys.workflow_id = 'cart_recovery'::VARCHAR AND journeys.customer_journeys.entry_key = candidates.entry_key AND journeys.customer_journeys.status = 'active' AND (candidates.occurred_at, candidates.seq) > (journeys.customer_journeys.entered_at, journeys.customer_journeys.entered_seq)
 LIMIT ALL OFFSET 0) AS j ON true JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = j.workflow_id AND journeys.workflow_steps.version = j.version AND journeys.workflow_steps.position = 0 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = candidates.customer_id AND target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', candidates.occurred_at) + z_from.utc_offset + make_interval(0, target.wait_months, 0, target.wait_days) AS local 
FROM journeys.zone_offsets AS z_from 
WHERE target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0) AND z_from.zone = person.zone AND z_from.utc_to > candidates.occurred_at ORDER BY z_from.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(z_to.utc_from, timezone('UTC', wall.local - z_to.utc_offset)) AS due 
FROM journeys.zone_offsets AS z_to 
WHERE z_to.zone = person.zone AND z_to.local_to > wall.local ORDER BY z_to.local_to 
 LIMIT 1) AS back ON true 
WHERE NOT (EXISTS (SELECT * 
FROM journeys.messages 
WHERE journeys.messages.journey_id = j.id)) AND (candidates.occurred_at, candidates.seq) > (j.at, j.at_seq)), 
logged AS 
(INSERT INTO journeys.journey_transitions (journey_id, recorded_at, workflow_id, version, customer_id, visit, from_step, to_step, at, at_seq, why, detail) SELECT found.id AS id, :now::TIMESTAMP WITH TIME ZONE AS anon_1, found.workflow_id AS workflow_id, found.version AS version, found.customer_id AS customer_id, found.visit AS visit, found.from_step AS from_step, found.to_step AS to_step, found.at AS at, found.at_seq AS at_seq, found.why AS why, found.detail AS detail 
FROM found RETURNING journeys.journey_transitions.journey_id), 
moved AS 
(UPDATE journeys.customer_journeys SET step_key=found.to_step, step_uid=found.entry_uid, visit=found.visit, at=found.at, at_seq=found.at_seq, due_at=found.due_at, due_seq=found.due_seq, arrived_seq=NULL FROM found WHERE journeys.customer_journeys.id = found.id RETURNING journeys.customer_journeys.id)
 SELECT (SELECT count(*) AS count_1 
FROM moved) AS restarted;

-- cart_recovery v1: enter
WITH candidates AS MATERIALIZED 
(SELECT batch_events.seq AS seq, batch_events.customer_id AS customer_id, batch_events.shard AS shard, batch_events.occurred_at AS occurred_at, batch_events.type AS type, batch_events.payload AS payload, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'left_cart'::VARCHAR END AS trigger_id, CASE WHEN (length(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR)) > 200::INTEGER) THEN left(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR), 150::INTEGER) || '~' || md5(journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR)) ELSE journeys.text_of(batch_events.payload -> 'cart_id'::VARCHAR) END AS entry_key, jsonb_build_object('trigger'::VARCHAR, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'left_cart'::VARCHAR END, 'event'::VARCHAR, batch_events.seq, 'rule'::VARCHAR, CASE WHEN (batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR) THEN 'event.item_count > 0 and customer.subscription_status == ''active'''::VARCHAR END, 'values'::VARCHAR, jsonb_build_object('event.item_count'::VARCHAR, journeys.present(batch_events.payload -> 'item_count'::VARCHAR), 'customer.subscription_status'::VARCHAR, to_jsonb(p.subscription_status))) AS detail 
FROM batch_events JOIN journeys.automation_workflows ON journeys.automation_workflows.id = 'cart_recovery'::VARCHAR AND journeys.automation_workflows.version = 1::INTEGER AND journeys.automation_workflows.is_current AND journeys.automation_workflows.status = 'active' LEFT OUTER JOIN LATERAL (SELECT journeys.customer_profiles.customer_id AS customer_id, journeys.customer_profiles.shard AS shard, journeys.customer_profiles.email_address AS email_address, journeys.customer_profiles.phone_number AS phone_number, journeys.customer_profiles.push_token AS push_token, journeys.customer_profiles.first_name AS first_name, journeys.customer_profiles.last_name AS last_name, journeys.customer_profiles.language AS language, journeys.customer_profiles.country AS country, journeys.customer_profiles.timezone AS timezone, journeys.customer_profiles.zone AS zone, journeys.customer_profiles.zone_source AS zone_source, journeys.customer_profiles.subscription_status AS subscription_status, journeys.customer_profiles.lifetime_value AS lifetime_value, journeys.customer_profiles.created_at AS created_at, journeys.customer_profiles.attributes AS attributes, journeys.customer_profiles.updated_at AS updated_at 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = batch_events.customer_id 
 LIMIT 1) AS p ON true 
WHERE batch_events.round = :round::INTEGER AND batch_events.seq BETWEEN :low::BIGINT AND :high::BIGINT AND batch_events.type IN ('cart_updated'::VARCHAR) AND batch_events.type = 'cart_updated'::VARCHAR AND journeys.num(batch_events.payload -> 'item_count'::VARCHAR) > 0 AND p.subscription_status = 'active'::VARCHAR AND batch_events.received_at - batch_events.occurred_at <= '1 day, 0:00:00'), 
admitted AS 
(INSERT INTO journeys.journey_admissions (workflow_id, customer_id, entry_key, entries, active, last_entered_at) SELECT 'cart_recovery'::VARCHAR AS anon_1, candidates.customer_id AS customer_id, candidates.entry_key AS entry_key, 1, 1, candidates.occurred_at AS occurred_at 
FROM candidates 
WHERE candidates.entry_key IS NOT NULL ON CONFLICT (workflow_id, customer_id, entry_key) DO UPDATE SET entries = (journeys.journey_admissions.entries + 1), active = (journeys.journey_admissions.active + 1), last_entered_at = greatest(journeys.journey_admissions.last_entered_at, excluded.last_entered_at) WHERE journeys.journey_admissions.active = 0 AND excluded.last_entered_at >= coalesce(journeys.journey_admissions.last_ended_at, excluded.last_entered_at) RETURNING journeys.journey_admissions.customer_id, journeys.journey_admissions.entry_key), 
entered AS 
(INSERT INTO journeys.customer_journeys (workflow_id, version, customer_id, shard, entry_key, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at, entered_seq, held_out) SELECT 'cart_recovery'::VARCHAR AS workflow_id, 1 AS version, candidates.customer_id AS customer_id, candidates.shard AS shard, candidates.entry_key AS entry_key, candidates.trigger_id AS trigger_id, target.step_key AS step_key, target.entry_uid AS step_uid, candidates.occurred_at AS at, candidates.seq AS at_seq, CASE WHEN (target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) THEN coalesce(back.due, timezone('UTC', timezone('UTC', candidates.occurred_at) + make_interval(0, target.wait_months, 0, target.wait_days))) + target.wait_elapsed WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN candidates.occurred_at + target.wait_elapsed ELSE candidates.occurred_at END AS due_at, CASE WHEN (target.wait_kind IN ('elapsed', 'calendar')) THEN 9223372036854775807 ELSE candidates.seq END AS due_seq, candidates.occurred_at AS entered_at, candidates.seq AS entered_seq, journeys.bucket_of('hold-out|cart_recovery|'::VARCHAR || candidates.customer_id) < 1000::INTEGER AS held_out 
FROM candidates FULL OUTER JOIN admitted ON admitted.customer_id = candidates.customer_id JOIN LATERAL (SELECT journeys.workflow_steps.workflow_id AS workflow_id, journeys.workflow_steps.version AS version, journeys.workflow_steps.step_key AS step_key, journeys.workflow_steps.position AS position, journeys.workflow_steps.step_uid AS step_uid, journeys.workflow_steps.entry_uid AS entry_uid, journeys.workflow_steps.wait_kind AS wait_kind, journeys.workflow_steps.wait_months AS wait_months, journeys.workflow_steps.wait_days AS wait_days, journeys.workflow_steps.wait_elapsed AS wait_elapsed 
FROM journeys.workflow_steps 
WHERE journeys.workflow_steps.workflow_id = 'cart_recovery'::VARCHAR AND journeys.workflow_steps.version = 1 AND journeys.workflow_steps.step_key = 'remind'::VARCHAR 
 LIMIT 1) AS target ON true LEFT OUTER JOIN LATERAL (SELECT coalesce(max(journeys.customer_profiles.zone), :default_zone::VARCHAR) AS zone 
FROM journeys.customer_profiles 
WHERE journeys.customer_profiles.customer_id = candidates.customer_id AND target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0)) AS person ON true LEFT OUTER JOIN LATERAL (SELECT timezone('UTC', candidates.occurred_at) + z_from.utc_offset + make_interval(0, target.wait_months, 0, target.wait_days) AS local 
FROM journeys.zone_offsets AS z_from 
WHERE target.wait_kind = 'calendar' AND (target.wait_months > 0 OR target.wait_days > 0) AND z_from.zone = person.zone AND z_from.utc_to > candidates.occurred_at ORDER BY z_from.utc_to 
 LIMIT 1) AS wall ON true LEFT OUTER JOIN LATERAL (SELECT greatest(z_to.utc_from, timezone('UTC', wall.local - z_to.utc_offset)) AS due 
FROM journeys.zone_offsets AS z_to 
WHERE z_to.zone = person.zone AND z_to.local_to > wall.local ORDER BY z_to.local_to 
 LIMIT 1) AS back ON true 
WHERE coalesce(admitted.customer_id, '') != '' RETURNING journeys.customer_journeys.id, journeys.customer_journeys.customer_id, journeys.customer_journeys.step_key), 
logged AS 
(INSERT INTO journeys.journey_transitions (journey_id, workflow_id, version, customer_id, visit, to_step, at, at_seq, recorded_at, why, detail) SELECT entered.id AS id, 'cart_recovery'::VARCHAR AS anon_1, 1, entered.customer_id AS customer_id, 1, entered.step_key AS step_key, candidates.occurred_at AS occurred_at, candidates.seq AS seq, :now::TIMESTAMP WITH TIME ZONE AS anon_2, 'entered', candidates.detail AS detail 
FROM candidates FULL OUTER JOIN entered ON entered.customer_id = candidates.customer_id 
WHERE coalesce(entered.customer_id, '') != '' RETURNING journeys.journey_transitions.journey_id), 
context AS 
(INSERT INTO journeys.journey_context (journey_id, event_type, event) SELECT entered.id AS id, candidates.type AS type, jsonb_strip_nulls(jsonb_build_object('cart_id'::VARCHAR, candidates.payload -> 'cart_id'::VARCHAR, 'cart_url'::VARCHAR, candidates.payload -> 'cart_url'::VARCHAR, 'item_count'::VARCHAR, candidates.payload -> 'item_count'::VARCHAR, 'total'::VARCHAR, candidates.payload -> 'total'::VARCHAR)) AS jsonb_strip_nulls_1 
FROM candidates FULL OUTER JOIN entered ON entered.customer_id = candidates.customer_id 
WHERE coalesce(entered.customer_id, '') != '' RETURNING journeys.journey_context.journey_id)
 SELECT (SELECT count(*) AS count_1 
FROM candidates) AS candidates, (SELECT count(*) AS count_2 
FROM candidates 
WHERE candidates.entry_key IS NULL) AS keyless, (SELECT count(*) AS count_3 
FROM entered) AS entered;
