"""Doorbells: they ring when there is work and nobody on the way to do it, on a real database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from journey_pipelines.settings import settings

DRAIN = "drain_journeys"
SENSORS = {
    "inbox_doorbell": DRAIN,
    "segment_changes_doorbell": DRAIN,
    "moments_doorbell": DRAIN,
    "due_journeys_doorbell": DRAIN,
    "outbox_doorbell": "dispatch_messages",
}
BACKLOGS = {
    "inbox_doorbell": "INSERT INTO journeys.event_inbox (customer_id, type) VALUES ('ann', 'user_registered')",
    "segment_changes_doorbell": "INSERT INTO journeys.segment_changes (segment_id, customer_id, change) VALUES ('vip', 'ann', 'enter')",
    "moments_doorbell": """
        INSERT INTO journeys.customer_changes (customer_id, at, received_at, keys)
        SELECT 'ann', t, t, '{country}' FROM (SELECT journeys.clock_now() AS t) x""",
    "due_journeys_doorbell": """
        INSERT INTO journeys.customer_journeys
               (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq,
                entered_at, entered_seq)
        SELECT 'hello', 1, 'ann', 0, 'registered', 'later', 1, t, 1, t, 1, t, 1
          FROM (SELECT journeys.clock_now() - interval '1 second' AS t) x""",
    "outbox_doorbell": """
        INSERT INTO journeys.messages
               (message_key, journey_id, step_key, action_id, visit, slot, workflow_id, workflow_version, customer_id, shard, channel,
                category, planned_at, created_at, send_after, expires_at, state, updated_at)
        SELECT 'k', 1, 'hello', 'send_email', 1, '', 'hello', 1, 'ann', 0, 'email', 'marketing', t, t, t, t + interval '1 day', 'planned', t
          FROM (SELECT journeys.clock_now() - interval '1 second' AS t) x""",
}
LATER = {
    "inbox_doorbell": """
        UPDATE journeys.event_inbox SET occurred_at = occurred_at + interval '1 day', received_at = received_at + interval '1 day'""",
    "segment_changes_doorbell": "UPDATE journeys.segment_changes SET occurred_at = occurred_at + interval '1 day'",
    "moments_doorbell": "UPDATE journeys.customer_changes SET at = at + interval '1 day'",
    "due_journeys_doorbell": "UPDATE journeys.customer_journeys SET due_at = due_at + interval '1 day'",
    "outbox_doorbell": "UPDATE journeys.messages SET send_after = send_after + interval '1 day'",
}


@pytest.fixture(autouse=True)
def _mail_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNEYS_SMTP_URL", "smtp://127.0.0.1:2525")
    settings.cache_clear()  # importing the code location may just have read them


def tick(definitions: dg.Definitions, instance: DagsterInstance, name: str) -> dg.RunRequest | dg.SkipReason:
    """What one tick of the sensor answers."""
    sensor = definitions.resolve_sensor_def(name)
    with dg.build_sensor_context(instance=instance, definitions=definitions, resources=dict(definitions.resources or {})) as context:
        data = sensor.evaluate_tick(context)
    assert data.dynamic_partitions_requests in (None, [])
    if data.run_requests:
        (request,) = data.run_requests
        return request
    return dg.SkipReason(data.skip_message)


def start_run(definitions: dg.Definitions, instance: DagsterInstance, job: str, status: DagsterRunStatus, seconds_ago: float = 0.0) -> str:
    """A run of the job as a killed or living process leaves it in the instance."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="journey_pipelines.definitions"), "journeys")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)
    run = instance.create_run_for_job(definitions.resolve_job_def(job), status=DagsterRunStatus.NOT_STARTED, remote_job_origin=origin)
    steps = {
        DagsterRunStatus.QUEUED: [DagsterEventType.RUN_ENQUEUED],
        DagsterRunStatus.STARTING: [DagsterEventType.RUN_STARTING],
        DagsterRunStatus.STARTED: [DagsterEventType.RUN_STARTING, DagsterEventType.RUN_START],
    }[status]
    for event_type in steps:
        event = DagsterEvent(event_type_value=event_type.value, job_name=job)
        instance.report_dagster_event(event, run.run_id, timestamp=time.time() - seconds_ago)
    assert instance.get_run_by_id(run.run_id).status == status
    return run.run_id


@pytest.mark.parametrize("name", SENSORS)
def test_it_rings_for_work_that_is_there(name: str, definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine) -> None:
    assert isinstance(tick(definitions, instance, name), dg.SkipReason)
    with db.begin() as conn:
        conn.execute(sa.text(BACKLOGS[name]))
    request = tick(definitions, instance, name)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key is None
    assert sum(len(k) + len(v) for k, v in request.tags.items()) < 1000
    assert "ann" not in str(request)


@pytest.mark.parametrize("name", SENSORS)
def test_it_does_not_ring_for_what_is_not_due_yet(name: str, definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(BACKLOGS[name]))
        conn.execute(sa.text(LATER[name]))
    answer = tick(definitions, instance, name)
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message.startswith("no ")


@pytest.mark.parametrize("name", SENSORS)
@pytest.mark.parametrize("status", [DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED])
def test_a_run_that_is_there_is_enough(
    name: str, status: DagsterRunStatus, definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine
) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(BACKLOGS[name]))
    run_id = start_run(definitions, instance, SENSORS[name], status)
    answer = tick(definitions, instance, name)
    assert isinstance(answer, dg.SkipReason)
    assert run_id[:8] in answer.skip_message


@pytest.mark.parametrize("name", SENSORS)
def test_a_dead_run_that_still_says_started_does_not_block_the_next(
    name: str, definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine
) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(BACKLOGS[name]))
    start_run(definitions, instance, SENSORS[name], DagsterRunStatus.STARTED, seconds_ago=91)
    assert isinstance(tick(definitions, instance, name), dg.RunRequest)


@pytest.mark.parametrize("name", SENSORS)
def test_busy_backlogs_hand_over_before_a_run_ends_and_the_others_wait(
    name: str, definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine
) -> None:
    start_run(definitions, instance, SENSORS[name], DagsterRunStatus.STARTED, seconds_ago=40)
    expected = dg.RunRequest if name in ("inbox_doorbell", "outbox_doorbell") else dg.SkipReason
    assert isinstance(tick(definitions, instance, name), expected)
    start_run(definitions, instance, SENSORS[name], DagsterRunStatus.STARTING)
    assert isinstance(tick(definitions, instance, name), dg.SkipReason)


def test_a_run_of_another_job_is_no_answer(definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(BACKLOGS["inbox_doorbell"]))
    start_run(definitions, instance, "dispatch_messages", DagsterRunStatus.STARTED)
    assert isinstance(tick(definitions, instance, "inbox_doorbell"), dg.RunRequest)


def test_it_rings_again_at_the_next_tick_when_a_run_failed(definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(BACKLOGS["inbox_doorbell"]))
    run_id = start_run(definitions, instance, DRAIN, DagsterRunStatus.STARTED)
    instance.report_run_failed(instance.get_run_by_id(run_id))
    assert isinstance(tick(definitions, instance, "inbox_doorbell"), dg.RunRequest)


def test_a_send_nobody_came_back_from_rings_the_outbox(definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(BACKLOGS["outbox_doorbell"]))
        conn.execute(
            sa.text("UPDATE journeys.messages SET state = 'sending', lease_until = :until"),
            {"until": datetime.now(UTC) + timedelta(hours=1)},
        )
    assert isinstance(tick(definitions, instance, "outbox_doorbell"), dg.SkipReason)
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE journeys.messages SET lease_until = :until"), {"until": datetime.now(UTC) - timedelta(seconds=1)})
    assert isinstance(tick(definitions, instance, "outbox_doorbell"), dg.RunRequest)


MOMENTS = {
    "a condition or a date": """
        INSERT INTO journeys.customer_moments (customer_id, kind, ref, shard, at, known_at) VALUES ('ann', 'watch', '7', 0, {at}, {at})""",
    "a schedule": "UPDATE journeys.deployment SET next_tick_at = {at}",
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_moment_rings_from_its_time_on(moment: str, definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine) -> None:
    for at, expected in (("journeys.clock_now() + interval '1 hour'", dg.SkipReason), ("journeys.clock_now()", dg.RunRequest)):
        with db.begin() as conn:
            conn.exec_driver_sql("TRUNCATE journeys.customer_moments")
            conn.exec_driver_sql(moment.format(at=at))
        assert isinstance(tick(definitions, instance, "moments_doorbell"), expected)


@pytest.mark.parametrize(
    "left",
    [
        "INSERT INTO journeys.engine_builds (kind, ref, shard, asked_at) VALUES ('segment', 'vip', 0, journeys.clock_now())",
        """INSERT INTO journeys.resumptions (workflow_id, from_at, until_at, policy)
           SELECT 'hello', t, t + interval '1 hour', 'reschedule' FROM (SELECT journeys.clock_now() AS t) x""",
    ],
    ids=["a segment to compute", "a released workflow"],
)
def test_what_a_deploy_or_a_release_left_rings(left: str, definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine) -> None:
    with db.begin() as conn:
        conn.exec_driver_sql(left)
    assert isinstance(tick(definitions, instance, "moments_doorbell"), dg.RunRequest)


@pytest.mark.parametrize(
    "put_off",
    [
        "UPDATE journeys.messages SET channel = 'sms'",
        """INSERT INTO journeys.automation_workflows
                  (id, version, is_current, name, status, category, definition, content_hash, deployed_at)
           VALUES ('hello', 1, true, 'Hello', 'paused', 'marketing', '{}', 'x', now())""",
        """INSERT INTO journeys.customer_journeys OVERRIDING SYSTEM VALUE
           SELECT (jsonb_populate_record(NULL::journeys.customer_journeys, jsonb_build_object(
               'id', 1, 'workflow_id', 'hello', 'version', 1, 'customer_id', 'ann', 'shard', 0, 'entry_key', '', 'trigger_id', 't',
               'status', 'active',
               'step_key', 'hello', 'step_uid', 1, 'visit', 1, 'at', now(), 'at_seq', 1, 'due_at', now(), 'due_seq', 1, 'entered_at', now(),
               'entered_seq', 1, 'held_at', now(), 'held_out', false, 'depth', 0, 'skip', false))).*""",
        """WITH held AS (INSERT INTO journeys.operator_holds (workflow_id, what, why, held_by, held_at)
                         VALUES ('hello', 'dispatch', 'odd', 'breaker', now()))
           INSERT INTO journeys.automation_workflows
                  (id, version, is_current, name, status, category, definition, content_hash, deployed_at)
           VALUES ('hello', 1, true, 'Hello', 'active', 'marketing', '{}', 'x', now())""",
    ],
    ids=["channel not configured", "workflow paused", "journey held", "sends held"],
)
def test_what_no_dispatch_would_move_does_not_ring(
    put_off: str, definitions: dg.Definitions, instance: DagsterInstance, db: sa.Engine
) -> None:
    with db.begin() as conn:
        conn.execute(sa.text(BACKLOGS["outbox_doorbell"]))
        conn.exec_driver_sql(put_off)
    assert isinstance(tick(definitions, instance, "outbox_doorbell"), dg.SkipReason)


@pytest.mark.parametrize(
    ("name", "index", "number"),
    [
        ("inbox_doorbell", "event_inbox_order", 0),
        ("moments_doorbell", "customer_moments_order", 1),
        ("due_journeys_doorbell", "customer_journeys_due", 0),
        ("outbox_doorbell", "messages_outbox", 1),
    ],
)
def test_the_question_reads_an_index(name: str, index: str, number: int, db: sa.Engine) -> None:
    from journey_pipelines.engine import doorbells

    ask: Callable[[sa.Connection, datetime], bool] = {
        "inbox_doorbell": doorbells.inbox_waiting,
        "moments_doorbell": doorbells.moments_waiting,
        "due_journeys_doorbell": doorbells.journeys_due,
        "outbox_doorbell": partial(doorbells.messages_waiting, channels=["email"]),
    }[name]
    asked: list[tuple[str, object]] = []
    with db.begin() as conn:
        sa.event.listen(
            conn, "before_cursor_execute", lambda c, cursor, statement, values, context, many: asked.append((statement, values))
        )
        ask(conn, datetime.now(UTC))
        statement, values = asked[number]
        conn.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(row[0] for row in conn.exec_driver_sql(f"EXPLAIN {statement}", values))
    assert f"using {index} " in plan
    assert "Sort" not in plan


def test_an_event_source_rings_while_it_has_rows_that_were_not_read(
    project: Path, db_url: str, instance: DagsterInstance, db: sa.Engine, run_in: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    from journey_pipelines.definitions import build_definitions
    from journey_pipelines.resources import ENGINE, EngineResource

    (project / "sources.yaml").write_text(
        "sources:\n  orders:\n    table: shop.orders\n    id: order_id\n    customer_id: buyer\n    type: user_registered\n"
        "    occurred_at: placed_at\n    cursor: placed_at\n    overlap: 10 minutes\n    payload: [total]\n"
    )
    definitions = build_definitions(project, {ENGINE: EngineResource(database_url=db_url)})
    assert isinstance(tick(definitions, instance, "sources_doorbell"), dg.SkipReason)
    assert run_in(definitions, "deploy_workflows").success
    # declared, and not there: the other backlogs must not suffer
    assert isinstance(tick(definitions, instance, "sources_doorbell"), dg.SkipReason)
    with db.begin() as conn:
        conn.exec_driver_sql("CREATE SCHEMA shop")
        conn.exec_driver_sql("CREATE TABLE shop.orders (order_id bigint PRIMARY KEY, buyer text, placed_at timestamptz, total numeric)")
        conn.exec_driver_sql("INSERT INTO shop.orders SELECT 1, 'ann', journeys.clock_now(), 9.50")
    assert isinstance(tick(definitions, instance, "sources_doorbell"), dg.RunRequest)
    result = run_in(definitions, "drain_journeys")
    figures = {
        event.asset_key.path[-1]: event.materialization.metadata["rows_out"].value for event in result.get_asset_materialization_events()
    }
    assert figures["journey_entries"] == 1
    assert isinstance(tick(definitions, instance, "sources_doorbell"), dg.SkipReason)


def test_a_database_that_does_not_answer_fails_the_tick_in_one_sentence(definitions: dg.Definitions, instance: DagsterInstance) -> None:
    from journey_pipelines.definitions import build_definitions
    from journey_pipelines.resources import ENGINE, EngineResource
    from journey_pipelines.store.connect import DatabaseUnavailable

    nowhere = build_definitions(overrides={ENGINE: EngineResource(database_url="postgresql://nobody:secret@127.0.0.1:1/none")})
    with pytest.raises(DatabaseUnavailable) as failure:
        tick(nowhere, instance, "inbox_doorbell")
    sentence = str(failure.value)
    assert "127.0.0.1:1" in sentence
    assert "secret" not in sentence
    assert "\n" not in sentence


def test_a_question_is_cut_short_and_writes_nothing(db_url: str) -> None:
    from journey_pipelines.resources import EngineResource

    resource = EngineResource(database_url=db_url)
    with pytest.raises(sa.exc.OperationalError, match="statement timeout"), resource.ask(timeout_seconds=1) as (conn, _):
        conn.exec_driver_sql("SELECT pg_sleep(30)")
    with pytest.raises(sa.exc.InternalError, match="read-only"), resource.ask() as (conn, _):
        conn.exec_driver_sql("DELETE FROM journeys.event_inbox")
    resource.engine.dispose()


def test_sensors_wait_for_someone_to_start_them(definitions: dg.Definitions) -> None:
    for name in SENSORS:
        sensor = definitions.resolve_sensor_def(name)
        assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
        assert sensor.minimum_interval_seconds <= 4


def test_the_demo_starts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from journey_pipelines.definitions import build_definitions

    monkeypatch.setenv("JOURNEYS_SENSORS", "running")
    running = build_definitions()
    assert all(running.resolve_sensor_def(name).default_status == dg.DefaultSensorStatus.RUNNING for name in SENSORS)
