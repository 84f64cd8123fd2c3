-- Report tables: one row a workflow version (and step) and day. The partition of a day is written whole, in one transaction.

CREATE TABLE journeys.report_days (
    as_of    date PRIMARY KEY,
    zone     text NOT NULL,
    from_at  timestamptz NOT NULL,
    to_at    timestamptz NOT NULL,
    is_final boolean NOT NULL,
    CHECK (from_at < to_at)
);
COMMENT ON TABLE journeys.report_days IS 'the days that have been reported; a day that is not final is reported again every night';
COMMENT ON COLUMN journeys.report_days.zone IS 'the zone whose local day this is; from_at (included) and to_at (excluded) are its instants';
COMMENT ON COLUMN journeys.report_days.is_final IS 'true when no figure of the day''s page can change any more: its own day and the 27 before it';

CREATE TABLE journeys.workflow_metrics (
    as_of                   date NOT NULL,
    workflow_id             text NOT NULL,
    version                 integer NOT NULL,
    is_final                boolean NOT NULL,
    entered                 integer NOT NULL,
    active                  integer NOT NULL,
    ended                   integer NOT NULL,
    completed               integer NOT NULL,
    goal_reached            integer NOT NULL,
    errors                  integer NOT NULL,
    held_out                integer NOT NULL,
    entries_by_trigger      jsonb NOT NULL,
    exits_by_reason         jsonb NOT NULL,
    completion_numerator    integer NOT NULL,
    completion_denominator  integer NOT NULL,
    completion_rate         numeric(5, 4),
    mean_completion_hours   numeric(14, 3),
    median_completion_hours numeric(14, 3),
    p90_completion_hours    numeric(14, 3),
    messages_planned        integer NOT NULL,
    messages                jsonb NOT NULL,
    converted_exposed       integer NOT NULL,
    converted_unexposed     integer NOT NULL,
    conversions             integer NOT NULL,
    conversion_value        numeric NOT NULL,
    ended_that_day          integer NOT NULL,
    accepted_that_day       integer NOT NULL,
    conversions_that_day    integer NOT NULL,
    under_way_at_close      integer NOT NULL,
    PRIMARY KEY (as_of, workflow_id, version),
    CONSTRAINT everybody_is_somewhere CHECK (entered = active + ended),
    CONSTRAINT completion_adds_up CHECK (completion_numerator = completed + goal_reached AND completion_denominator = ended
                                         AND completion_numerator <= completion_denominator)
);
COMMENT ON TABLE journeys.workflow_metrics IS
    'a day of a workflow version: the journeys that entered on the day and what became of them (restated until is_final), the messages planned on it, and what happened on it';
COMMENT ON COLUMN journeys.workflow_metrics.as_of IS 'the partition: the day of entry, of planning, or on which it happened';
COMMENT ON COLUMN journeys.workflow_metrics.is_final IS 'true when everybody has ended, goal windows are over, messages are settled and late events are no longer awaited';
COMMENT ON COLUMN journeys.workflow_metrics.entered IS 'journeys that entered on the day';
COMMENT ON COLUMN journeys.workflow_metrics.active IS 'of those, still under way when the report was made';
COMMENT ON COLUMN journeys.workflow_metrics.ended IS 'of those, ended for any reason';
COMMENT ON COLUMN journeys.workflow_metrics.completed IS 'ended at the end of the last step';
COMMENT ON COLUMN journeys.workflow_metrics.goal_reached IS 'ended because the goal was reached';
COMMENT ON COLUMN journeys.workflow_metrics.errors IS 'ended by an error';
COMMENT ON COLUMN journeys.workflow_metrics.held_out IS 'of entered, in the control group: they walk the path and nothing is sent';
COMMENT ON COLUMN journeys.workflow_metrics.entries_by_trigger IS 'trigger id -> journeys; sums to entered';
COMMENT ON COLUMN journeys.workflow_metrics.exits_by_reason IS 'exit reason -> journeys; sums to ended';
COMMENT ON COLUMN journeys.workflow_metrics.completion_numerator IS 'completed + goal_reached';
COMMENT ON COLUMN journeys.workflow_metrics.completion_denominator IS 'ended';
COMMENT ON COLUMN journeys.workflow_metrics.completion_rate IS
    'numerator / denominator; null below 30 and while more than one in twenty of the entered are under way (a young cohort shows who left early)';
COMMENT ON COLUMN journeys.workflow_metrics.mean_completion_hours IS 'hours from entry to the end, of completed and goal_reached; null = nobody; median and p90 alike';
COMMENT ON COLUMN journeys.workflow_metrics.messages_planned IS 'messages planned on the day (logical time), whoever they are for';
COMMENT ON COLUMN journeys.workflow_metrics.messages IS 'what became of them: a list of {channel, state, reason, n}; n sums to messages_planned';
COMMENT ON COLUMN journeys.workflow_metrics.converted_exposed IS 'of entered, reached the goal event, a message having been accepted before it';
COMMENT ON COLUMN journeys.workflow_metrics.converted_unexposed IS 'of entered, reached the goal event without a message accepted before it';
COMMENT ON COLUMN journeys.workflow_metrics.conversions IS 'goal events of the journeys that entered: one journey may have several';
COMMENT ON COLUMN journeys.workflow_metrics.conversion_value IS 'sum of their values';
COMMENT ON COLUMN journeys.workflow_metrics.ended_that_day IS 'journeys that ended on the day, whenever they entered';
COMMENT ON COLUMN journeys.workflow_metrics.accepted_that_day IS 'messages a provider accepted on the day';
COMMENT ON COLUMN journeys.workflow_metrics.conversions_that_day IS 'goal events that happened on the day';
COMMENT ON COLUMN journeys.workflow_metrics.under_way_at_close IS 'journeys under way when the day ended';

CREATE TABLE journeys.step_funnel (
    as_of           date NOT NULL,
    workflow_id     text NOT NULL,
    version         integer NOT NULL,
    step_key        text NOT NULL,
    position        integer NOT NULL,
    is_final        boolean NOT NULL,
    reached         integer NOT NULL,
    journeys        integer NOT NULL,
    passed          integer NOT NULL,
    waiting         integer NOT NULL,
    exited          integer NOT NULL,
    branches        jsonb NOT NULL,
    exits_by_reason jsonb NOT NULL,
    median_seconds  numeric(16, 3),
    p90_seconds     numeric(16, 3),
    PRIMARY KEY (as_of, workflow_id, version, step_key),
    CONSTRAINT nobody_is_lost CHECK (reached = passed + waiting + exited)
);
COMMENT ON TABLE journeys.step_funnel IS 'the way of the journeys that entered on a day through the steps of their version; restated until is_final';
COMMENT ON COLUMN journeys.step_funnel.as_of IS 'the partition: the day of entry';
COMMENT ON COLUMN journeys.step_funnel.position IS 'place of the step in the file';
COMMENT ON COLUMN journeys.step_funnel.is_final IS 'as in workflow_metrics';
COMMENT ON COLUMN journeys.step_funnel.reached IS 'arrivals at the step; in a loop one journey arrives several times';
COMMENT ON COLUMN journeys.step_funnel.journeys IS 'journeys that arrived at least once';
COMMENT ON COLUMN journeys.step_funnel.passed IS 'went on to another step or to the end';
COMMENT ON COLUMN journeys.step_funnel.waiting IS 'at the step when the report was made';
COMMENT ON COLUMN journeys.step_funnel.exited IS 'left the workflow from here (goal, exit rule, error ...)';
COMMENT ON COLUMN journeys.step_funnel.branches IS 'next step (or "end") -> arrivals that went there; sums to passed';
COMMENT ON COLUMN journeys.step_funnel.exits_by_reason IS 'exit reason -> journeys that left from here; sums to exited';
COMMENT ON COLUMN journeys.step_funnel.median_seconds IS 'time at the step of those that passed or exited, in seconds; null = nobody yet; p90 alike';

-- Reports ask by day. BRIN: a few kB, and hardly felt by the INSERT of the hot path.
CREATE INDEX messages_planned ON journeys.messages USING brin (planned_at);
CREATE INDEX messages_accepted ON journeys.messages USING brin (accepted_at);
