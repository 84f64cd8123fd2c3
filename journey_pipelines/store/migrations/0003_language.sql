-- The whole workflow language: segments, schedules, dates, moments of a customer, holds, tasks.

-- ---------------------------------------------------------------------------------------------------------------
-- What is deployed

ALTER TABLE journeys.deployment
    ADD COLUMN segments jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN watched_keys text[] NOT NULL DEFAULT '{}',
    ADD COLUMN named_events text[] NOT NULL DEFAULT '{}',
    ADD COLUMN named_segments text[] NOT NULL DEFAULT '{}',
    ADD COLUMN next_tick_at timestamptz;
COMMENT ON COLUMN journeys.deployment.next_tick_at IS 'for the doorbell: when a schedule may tick next; null where there is none';
COMMENT ON COLUMN journeys.deployment.named_events IS 'built-in event types that something deployed names: the others are not written';
COMMENT ON COLUMN journeys.deployment.named_segments IS 'segments whose transitions something deployed names; * = all';
COMMENT ON COLUMN journeys.deployment.watched_keys IS 'profile keys that some condition or date reads: a change of another key asks nothing again';

ALTER TABLE journeys.automation_workflows ADD COLUMN active_since timestamptz;
COMMENT ON COLUMN journeys.automation_workflows.active_since IS 'when the workflow became active: ticks of its schedules before that are none';

CREATE TABLE journeys.segments (
    id          text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('dynamic', 'static', 'table')),
    definition  jsonb NOT NULL,
    uid         bigint NOT NULL,
    status      text NOT NULL CHECK (status IN ('active', 'archived')),
    deployed_at timestamptz NOT NULL,
    refreshed_at timestamptz,
    last_error  text
);
COMMENT ON TABLE journeys.segments IS 'deployed segments, unnamed ones of condition triggers too (workflow.trigger); uid: hash of the condition and the types it reads';
COMMENT ON COLUMN journeys.segments.refreshed_at IS 'kind table: when its table was last compared with the members';

ALTER TABLE journeys.interests DROP CONSTRAINT interests_kind_check;
ALTER TABLE journeys.interests ADD CONSTRAINT interests_kind_check CHECK (kind IN ('entry', 'goal', 'exit', 'wake', 'segment', 'date', 'follow', 'watch'));
COMMENT ON COLUMN journeys.interests.kind IS 'segment: a condition''s members (workflow_id is the segment); date: plans of a date trigger; follow: waits for a date that may move; watch: when time alone may bring about a goal or an exit (the uid is that of the exits)';
COMMENT ON COLUMN journeys.interests.event_type IS 'an event type, or key:<profile key> that changed, or recheck:<uid> for a condition whose time has come';

CREATE TABLE journeys.engine_builds (
    kind  text NOT NULL CHECK (kind IN ('segment', 'date', 'existing')),
    ref   text NOT NULL,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    asked_at timestamptz NOT NULL,
    PRIMARY KEY (kind, ref, shard)
);
COMMENT ON TABLE journeys.engine_builds IS 'what a deploy left to be computed for everybody, a row per shard until done: members of a segment, plans of a date trigger, members that enter at activation';

-- Segments, and audiences that ask for events, are computed for everybody of some shards. No index on it: some shards are some rows of
-- every page. Made anew, because at the table's end the column would take eight bytes instead of two.
ALTER TABLE journeys.customer_event_stats RENAME TO stats_before;
ALTER TABLE journeys.stats_before DROP CONSTRAINT customer_event_stats_pkey;
CREATE TABLE journeys.customer_event_stats (
    customer_id text NOT NULL,
    type        text NOT NULL,
    shard       smallint NOT NULL,
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    last_seq    bigint NOT NULL,
    n           bigint NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
INSERT INTO journeys.customer_event_stats
SELECT customer_id, type, journeys.shard_of(customer_id), first_at, last_at, last_seq, n FROM journeys.stats_before ORDER BY customer_id, type;
ALTER TABLE journeys.customer_event_stats ADD PRIMARY KEY (customer_id, type);
DROP TABLE journeys.stats_before;

-- ---------------------------------------------------------------------------------------------------------------
-- Moments: points in a customer's time at which something has to be looked at, beside the events

ALTER TABLE journeys.event_inbox ADD COLUMN journey_id bigint;
COMMENT ON COLUMN journeys.event_inbox.journey_id IS 'set by the engine: the journey an event belongs to';
CREATE INDEX event_inbox_engine ON journeys.event_inbox (shard, id) WHERE source = 'engine';
COMMENT ON INDEX journeys.event_inbox_engine IS 'what the engine itself wrote is taken within the batch that wrote it';

-- ids of moments lie above all ids of events, so that at one instant the order is events, schedules, dates, changes and segments
CREATE SEQUENCE journeys.moment_ids AS bigint;

CREATE FUNCTION journeys.moment_id(band integer) RETURNS bigint
LANGUAGE sql VOLATILE
RETURN (band::bigint << 60) + nextval('journeys.moment_ids');
COMMENT ON FUNCTION journeys.moment_id(integer) IS 'band 1 schedules, 2 dates, 3 changes of profiles, 4 segment moves by apps, 5 segment transitions, 6 rechecks; a timer''s place (2^63 - 1) is after them all';

CREATE INDEX segment_changes_order ON journeys.segment_changes (shard, occurred_at, id);

CREATE TABLE journeys.customer_changes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL CHECK (length(customer_id) BETWEEN 1 AND 128),
    at          timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    keys        text[] NOT NULL,
    depth       smallint NOT NULL DEFAULT 0,
    shard       smallint GENERATED ALWAYS AS
                (((('x' || substr(md5(customer_id), 1, 15))::bit(60)::bigint % 64)::smallint)) STORED
);
CREATE INDEX customer_changes_order ON journeys.customer_changes (shard, at, id);
COMMENT ON TABLE journeys.customer_changes IS 'a queue: profile keys that changed outside of an event, to be looked at in the customer''s order';

CREATE TABLE journeys.customer_moments (
    customer_id text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('watch', 'date')),
    ref         text NOT NULL,
    shard       smallint NOT NULL,
    at          timestamptz NOT NULL,
    known_at    timestamptz NOT NULL,
    PRIMARY KEY (customer_id, kind, ref)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX customer_moments_order ON journeys.customer_moments (shard, at);
COMMENT ON COLUMN journeys.customer_moments.known_at IS 'when what it was worked out from was received: a date that had gone by then came too late';
COMMENT ON TABLE journeys.customer_moments IS 'watch: when a condition of this customer may change by time alone (ref: the uid of the segment, or of a workflow''s exits); date: when a date trigger fires (ref: workflow.trigger)';

-- Keys of patches that something watches become changes, updated_at with each of them; a patch that says it is from the future is from now.
CREATE FUNCTION journeys.note_changes(ids text[], patches jsonb[], ats timestamptz[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    noted bigint;
BEGIN
    INSERT INTO journeys.customer_changes (customer_id, at, received_at, keys)
    SELECT u.id, least(u.at, c.now), c.now, k.keys
      FROM journeys.deployment d
     CROSS JOIN (SELECT journeys.clock_now() AS now) c
     CROSS JOIN unnest(ids, patches, ats) AS u (id, patch, at)
     CROSS JOIN LATERAL (
        SELECT array_agg(o.key) AS keys
          FROM (SELECT jsonb_object_keys(CASE WHEN jsonb_typeof(u.patch) = 'object' THEN u.patch ELSE '{}' END) UNION SELECT 'updated_at') AS o (key)
         WHERE o.key = ANY (d.watched_keys)) AS k
     WHERE d.watched_keys <> '{}' AND k.keys IS NOT NULL;
    GET DIAGNOSTICS noted = ROW_COUNT;
    RETURN noted;
END
$$;
REVOKE ALL ON FUNCTION journeys.note_changes(text[], jsonb[], timestamptz[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION journeys.upsert_profile(customer_id text, profile jsonb, updated_at timestamptz DEFAULT journeys.clock_now()) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF customer_id IS NULL OR length(customer_id) NOT BETWEEN 1 AND 128 THEN
        RAISE EXCEPTION 'upsert_profile: customer_id must have 1 to 128 characters, got %', coalesce(length(customer_id)::text, 'null')
            USING ERRCODE = '22023';
    END IF;
    IF profile IS NULL OR jsonb_typeof(profile) <> 'object' THEN
        RAISE EXCEPTION 'upsert_profile: profile must be a JSON object, got %', coalesce(jsonb_typeof(profile), 'null') USING ERRCODE = '22023';
    END IF;
    IF octet_length(profile::text) > 65536 THEN
        RAISE EXCEPTION 'upsert_profile: profile must not be larger than 64 kB, got % bytes', octet_length(profile::text) USING ERRCODE = '22023';
    END IF;
    IF jsonb_path_exists(profile, 'strict $.**{100}') THEN
        RAISE EXCEPTION 'upsert_profile: profile must not be nested deeper than 100 levels' USING ERRCODE = '22023';
    END IF;
    IF updated_at IS NULL OR NOT isfinite(updated_at) THEN
        RAISE EXCEPTION 'upsert_profile: updated_at must be a point in time' USING ERRCODE = '22023';
    END IF;
    PERFORM journeys.apply_profiles(ARRAY[customer_id], ARRAY[profile], ARRAY[updated_at]);
    PERFORM journeys.note_changes(ARRAY[customer_id], ARRAY[profile], ARRAY[updated_at]);
END
$$;

-- Moves into and out of segments, in the order given: those that change something are written, and told as events where something names them.
-- ats: when; receiveds: when it was known (lateness); depths: effects in a row at one instant; quiet: told to nobody (a build).
DROP FUNCTION journeys.apply_segments(text[], text[], text[], timestamptz[], text);
CREATE FUNCTION journeys.apply_segments(segments text[], customers text[], changes text[], ats timestamptz[], source text,
                                        receiveds timestamptz[] DEFAULT NULL, depths smallint[] DEFAULT NULL, quiet boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    entered bigint;
    gone bigint;
BEGIN
    WITH last AS MATERIALIZED (
        SELECT DISTINCT ON (u.segment, u.customer) u.*
          FROM unnest(segments, customers, changes, ats, coalesce(receiveds, ats), depths) WITH ORDINALITY AS u (segment, customer, change, at, received, depth, n)
         ORDER BY u.segment, u.customer, u.n DESC
    ), ended AS (
        UPDATE journeys.segment_memberships m SET left_at = greatest(m.entered_at, l.at) FROM last l
         WHERE l.change = 'leave' AND m.segment_id = l.segment AND m.customer_id = l.customer AND m.left_at IS NULL
        RETURNING l.segment, l.customer, l.at, l.received, l.depth
    ), told AS (
        INSERT INTO journeys.event_inbox (id, source, customer_id, type, occurred_at, received_at, payload, depth) OVERRIDING SYSTEM VALUE
        SELECT journeys.moment_id(5), 'engine', e.customer, 'segment.left', e.at, greatest(e.received, e.at), jsonb_build_object('segment', e.segment), coalesce(e.depth, 0)
          FROM ended e JOIN journeys.deployment d ON NOT quiet AND (e.segment = ANY (d.named_segments) OR '*' = ANY (d.named_segments)) ORDER BY e.segment, e.customer
        RETURNING 1
    )
    SELECT count(*) INTO gone FROM ended;
    WITH last AS MATERIALIZED (
        SELECT DISTINCT ON (u.segment, u.customer) u.*
          FROM unnest(segments, customers, changes, ats, coalesce(receiveds, ats), depths) WITH ORDINALITY AS u (segment, customer, change, at, received, depth, n)
         ORDER BY u.segment, u.customer, u.n DESC
    ), begun AS (
        INSERT INTO journeys.segment_memberships (segment_id, customer_id, entered_at, source)
        SELECT l.segment, l.customer, l.at, apply_segments.source FROM last l WHERE l.change = 'enter' ORDER BY l.segment, l.customer
        ON CONFLICT (customer_id, segment_id) WHERE left_at IS NULL DO NOTHING
        RETURNING segment_id, customer_id
    ), told AS (
        INSERT INTO journeys.event_inbox (id, source, customer_id, type, occurred_at, received_at, payload, depth) OVERRIDING SYSTEM VALUE
        SELECT journeys.moment_id(5), 'engine', l.customer, 'segment.entered', l.at, greatest(l.received, l.at), jsonb_build_object('segment', l.segment), coalesce(l.depth, 0)
          FROM begun b JOIN last l ON l.segment = b.segment_id AND l.customer = b.customer_id
          JOIN journeys.deployment d ON NOT quiet AND (l.segment = ANY (d.named_segments) OR '*' = ANY (d.named_segments)) ORDER BY l.segment, l.customer
        RETURNING 1
    )
    SELECT count(*) INTO entered FROM begun;
    RETURN entered + gone;
END
$$;

-- schedules are planned for a whole shard at once: audiences scan its people
CREATE INDEX customer_profiles_shard ON journeys.customer_profiles (shard);

ALTER TABLE journeys.engine_shards ADD COLUMN planned_until timestamptz;
COMMENT ON COLUMN journeys.engine_shards.planned_until IS 'every tick of a schedule up to here was planned for the shard''s customers';

CREATE SEQUENCE journeys.engine_turns AS bigint;
COMMENT ON SEQUENCE journeys.engine_turns IS 'a number for each transaction that held shards: a worker sees whether another was there since';

CREATE TABLE journeys.schedule_ticks (
    workflow_id text NOT NULL,
    trigger_id  text NOT NULL,
    tick_at     timestamptz NOT NULL,
    shard       smallint NOT NULL,
    audience    bigint NOT NULL,
    planned_at  timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, trigger_id, tick_at, shard)
);
COMMENT ON TABLE journeys.schedule_ticks IS 'a tick is planned once for a shard, whatever is retried; audience: the customers asked to enter';

-- ---------------------------------------------------------------------------------------------------------------
-- Journeys

ALTER TABLE journeys.customer_journeys
    ADD COLUMN depth smallint NOT NULL DEFAULT 0,
    ADD COLUMN skip boolean NOT NULL DEFAULT false,
    ADD COLUMN due_was timestamptz;
-- the second column is the order in which the parked are let go again
CREATE INDEX customer_journeys_held ON journeys.customer_journeys
    (workflow_id, journeys.bucket_of(workflow_id || '|' || customer_id || '|' || entry_key)) WHERE held_at IS NOT NULL AND status = 'active';
CREATE INDEX customer_journeys_errors ON journeys.customer_journeys (workflow_id, id) WHERE exit_reason = 'error';
COMMENT ON COLUMN journeys.customer_journeys.depth IS 'how many journeys in a row started one another at one instant';
COMMENT ON COLUMN journeys.customer_journeys.held_at IS 'set when it came due while its workflow was held or paused; it is not due until released';
COMMENT ON COLUMN journeys.customer_journeys.skip IS 'released with on_resume: skip: this step''s actions are not done';
COMMENT ON COLUMN journeys.customer_journeys.due_was IS 'released: the due time before it was moved to the release; an event after it came too late for the wait';

CREATE TABLE journeys.operator_holds (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id text,
    what        text NOT NULL DEFAULT 'workflow' CHECK (what IN ('workflow', 'dispatch')),
    why         text NOT NULL,
    held_by     text NOT NULL,
    held_at     timestamptz NOT NULL,
    released_at timestamptz,
    released_by text,
    CHECK ((released_at IS NULL) = (released_by IS NULL))
);
CREATE UNIQUE INDEX operator_holds_open ON journeys.operator_holds (coalesce(workflow_id, ''), what) WHERE released_at IS NULL;
COMMENT ON TABLE journeys.operator_holds IS 'an operator''s (or the breaker''s) facts, which no deploy clears; workflow_id null = all. dispatch: journeys go on, nothing is sent';

CREATE TABLE journeys.resumptions (
    workflow_id text PRIMARY KEY,
    from_at     timestamptz NOT NULL,
    until_at    timestamptz NOT NULL,
    policy      text NOT NULL CHECK (policy IN ('reschedule', 'skip')),
    CHECK (until_at >= from_at)
);
COMMENT ON TABLE journeys.resumptions IS 'a released workflow lets its parked journeys go evenly between from_at and until_at, never at once';

CREATE TABLE journeys.workflow_entries (
    workflow_id text NOT NULL,
    minute      timestamptz NOT NULL,
    slot        smallint NOT NULL,
    entries     bigint NOT NULL,
    PRIMARY KEY (workflow_id, minute, slot)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE journeys.workflow_entries IS 'journeys entered by minute of the engine''s clock: for limits and the breaker. slot keeps workers apart';

CREATE TABLE journeys.workflow_sends (
    workflow_id text NOT NULL,
    at          timestamptz NOT NULL,
    sends       bigint NOT NULL,
    PRIMARY KEY (workflow_id, at)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE journeys.workflow_sends IS 'messages claimed of workflows with limits.sends, by the engine''s clock; what lies further back than the limit''s window is deleted';

CREATE TABLE journeys.best_time_prior (
    hour   smallint PRIMARY KEY CHECK (hour BETWEEN 0 AND 23),
    weight double precision NOT NULL CHECK (weight >= 0)
);
COMMENT ON TABLE journeys.best_time_prior IS 'how people open and click by local hour, all customers together: what a customer with little history is taken for';

ALTER TABLE journeys.tasks
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN closed_by text,
    ADD COLUMN outcome text,
    ADD COLUMN note text;
COMMENT ON COLUMN journeys.tasks.created_at IS 'when the step was done, in the journey''s own time';
CREATE INDEX tasks_open ON journeys.tasks (due_at) WHERE status = 'open';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA journeys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION journeys.upsert_profile(text, jsonb, timestamptz), journeys.clock_now() TO app_writer;
