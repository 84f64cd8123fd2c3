"""Many active workflows: a tick with nothing due, and one with some due at every step of each."""

from __future__ import annotations

import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import sqlalchemy as sa

from benchmarks.database import fresh, settle, timed
from benchmarks.figures import Figure, Wanted
from benchmarks.people import START, deploy_files, fill_people
from journey_pipelines.engine.tick import Worker

STEPS = 10
#: parked at every step, beside those that are due
_PARKED = 100
_TICKS = 50

_WORKFLOW = """
workflow: flow_{n}
triggers:
  - event: signup_{n}
    when: customer.subscription_status == 'active'
goal: {{event: purchase, within: 7 days}}
exit:
  - goal
steps:
  - id: hello
    wait: 1 hour
    do:
      - send_email: {{template: hello, subject: "Welcome, {{{{ customer.first_name | default('friend') }}}}"}}
  - id: look
    wait: {{for: message.clicked, timeout: 1 day}}
    next:
      - when: arrived
        to: warm
      - else: cold
  - id: warm
    wait: 2 hours
    do:
      - update_profile: {{set: {{interest: "flow {n}"}}}}
    next: mid
  - id: cold
    wait: 2 days
    do:
      - send_email: {{template: hello, subject: "Still there?"}}
    next: mid
  - id: mid
    wait: {{after: 1 day, between: ["09:00", "18:00"], on: weekdays}}
    do:
      - create_task: {{title: "Call {{{{ customer.first_name | default('them') }}}}", assignee: sales, when: customer.lifetime_value > 500}}
  - id: test
    wait: 1 hour
    next: {{split: {{gentle: 50, urgent: 50}}}}
  - id: gentle
    wait: 1 day
    do:
      - send_email: {{template: hello, subject: "For you"}}
    next: last
  - id: urgent
    wait: 1 hour
    do:
      - send_sms: {{text: "Only today, {{{{ customer.first_name | default('friend') }}}}"}}
    next: last
  - id: last
    wait: 3 days
    next:
      - when: has_event('order', within='30 days') and customer.country == 'DE'
        to: end
      - else: bye
  - id: bye
    wait: 1 week
    do:
      - send_email: {{template: hello, subject: "Goodbye for now"}}
    next: end
"""
#: each place a step and a number: its customer is in that step's workflow once, so that admissions and journeys agree
_PLACES = """
CREATE TEMPORARY TABLE places ON COMMIT DROP AS
SELECT s.workflow_id, s.step_key, s.step_uid, p.customer_id, p.shard, row_number() OVER () AS n
  FROM journeys.workflow_steps s
 CROSS JOIN generate_series(1, %(each)s) k
  JOIN journeys.customer_profiles p ON p.customer_id = 'c' || (%(first)s + s.position * %(each)s + k)
 ORDER BY k, s.workflow_id, s.position LIMIT %(most)s
"""
_JOURNEYS = """
INSERT INTO journeys.customer_journeys
       (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at, entered_seq)
SELECT workflow_id, 1, customer_id, shard, 'signup', step_key, step_uid, %(at)s, n,
       %(due)s::timestamptz + interval '1 second' * (n %% %(within)s), 9223372036854775807, %(at)s, n
  FROM places
"""
_CONTEXTS = """
INSERT INTO journeys.journey_context (journey_id, event_type, event)
SELECT j.id, 'signup', '{}' FROM journeys.customer_journeys j JOIN places USING (workflow_id, customer_id)
"""
_ADMISSIONS = """
INSERT INTO journeys.journey_admissions (workflow_id, customer_id, entries, active, last_entered_at)
SELECT workflow_id, customer_id, 1, 1, %(at)s FROM places
"""


def measure(server_url: str, workflows: int, due: int) -> list[Figure]:
    """Milliseconds of an idle tick, customers a second with `due` spread over all steps (compiled before, and not), seconds to deploy."""
    files = {f"flow_{n}/workflow.yaml": _WORKFLOW.format(n=n) for n in range(workflows)}
    files |= {f"flow_{n}/hello.html": "<p>Hello {{ customer.first_name | default('you') }}</p>" for n in range(workflows)}
    each = -(-due // (workflows * STEPS))
    sets = (_PARKED, each, each)
    with tempfile.TemporaryDirectory() as folder, fresh(server_url, "bench_many") as engine:
        deploying = timed(lambda: deploy_files(engine, Path(folder), files))
        fill_people(engine, sum(sets) * STEPS, days=90)
        first = _enter(engine, 0, _PARKED, START + timedelta(days=1), timedelta(days=28))
        worker = Worker(engine)
        starting, idle = _idle(engine, worker)
        rates = []
        for hour in (1, 2):
            now = START + timedelta(hours=hour)
            # within the hour before: nobody's next step, an hour later at the earliest, is due with the second set
            first = _enter(engine, first, each, now - timedelta(minutes=30), timedelta(minutes=1), most=due)
            rates.append(_advance(worker, now, due))
    return [
        Figure(f"many: workflows of {STEPS} steps", workflows, "workflows"),
        Figure("many: deploy", round(deploying, 1), "s"),
        Figure("many: first idle tick", starting, "ms"),
        Figure("many: idle tick", idle, "ms", Wanted(most=100)),
        Figure(f"many: {due:,} due, compiling", rates[0], "customers/s"),
        Figure(f"many: {due:,} due, compiled", rates[1], "customers/s"),
    ]


def _enter(engine: sa.Engine, first: int, each: int, due: datetime, within: timedelta, most: int | None = None) -> int:
    """`each` journeys at every step of every workflow, due from `due` on; returns the number of the last customer used."""
    with engine.begin() as conn:
        conn.exec_driver_sql(_PLACES, {"each": each, "first": first, "most": most})
        values = {"at": START - timedelta(hours=1), "due": due, "within": round(within.total_seconds())}
        for text in (_JOURNEYS, _CONTEXTS, _ADMISSIONS):
            conn.exec_driver_sql(text, values)
    settle(engine)
    return first + each * STEPS


def _idle(engine: sa.Engine, worker: Worker) -> tuple[float, float]:
    times = []
    for minute in range(_TICKS + 1):
        started = time.perf_counter()
        report = worker.tick(START + timedelta(seconds=minute))
        times.append((time.perf_counter() - started) * 1000)
        assert not report.progress
    return round(times[0], 1), round(median(times[1:]), 2)


def _advance(worker: Worker, now: datetime, due: int) -> int:
    started = time.perf_counter()
    report = worker.tick(now)
    seconds = time.perf_counter() - started
    # arriving at the step behind counts as an advance of its own
    if report.failed or report.conflicts or report.advanced < due:
        raise SystemExit(f"of {due} due journeys {report.advanced} advanced, {report.failed} failed: {report}")
    return round(due / seconds)
