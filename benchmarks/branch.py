"""One n-way branch on profile, history and segment for a million customers who are due at once; hand-written SQL beside it."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from benchmarks.database import copied, execute, fresh, settle, timed
from benchmarks.figures import Figure, Wanted
from benchmarks.people import START, deploy_files, fill_people
from journey_pipelines.engine.tick import Worker

BATCH = 10_000
#: the two take turns of so many batches, so that a machine that slows down slows both
TURN = 10
NOW = START + timedelta(hours=2)

PROJECT = {
    "sorting/workflow.yaml": """
workflow: sorting
triggers:
  - event: signup
steps:
  - id: sort
    wait: 1 hour
    next:
      - when: customer.lifetime_value >= 1000 and customer.country == 'DE'
        to: gold
      - when: event_count('order', within='30 days') >= 2
        to: regular
      - when: in_segment('lapsed')
        to: lapsed
      - else: others
  - {id: gold, wait: 24 hours, next: end}
  - {id: regular, wait: 48 hours, next: end}
  - {id: lapsed, wait: 72 hours, next: end}
  - {id: others, wait: 96 hours, next: end}
""",
    "segments/lapsed.yaml": """
segment: lapsed
when: has_event('order') and not has_event('order', within='60 days')
""",
}
_ENTER = """
INSERT INTO journeys.customer_journeys
       (workflow_id, version, customer_id, shard, trigger_id, step_key, step_uid, at, at_seq, due_at, due_seq, entered_at, entered_seq)
SELECT 'sorting', 1, p.customer_id, p.shard, 'signup', 'sort', s.entry_uid, %(at)s, 0, %(at)s::timestamptz + interval '1 hour',
       9223372036854775807, %(at)s, 0
  FROM journeys.customer_profiles p, journeys.workflow_steps s WHERE s.workflow_id = 'sorting' AND s.step_key = 'sort'
"""
_TAKEN = """
SELECT to_step, count(*) AS n, sum(hashtextextended(concat_ws(' ', customer_id, visit, at, at_seq, why, detail), 0)) AS said
  FROM journeys.journey_transitions WHERE from_step = 'sort' GROUP BY to_step ORDER BY to_step
"""
_PLACES = """
SELECT count(*) AS n,
       sum(hashtextextended(concat_ws(' ', customer_id, step_key, step_uid, visit, at, at_seq, due_at, due_seq, status), 0)) AS places
  FROM journeys.customer_journeys
"""


def measure(server_url: str, customers: int) -> list[Figure]:
    """Customers a second through the branch, the engine's and by hand."""
    with tempfile.TemporaryDirectory() as folder, fresh(server_url, "bench_branch") as ours:
        fill_people(ours, customers, days=90)
        deploy_files(ours, Path(folder), PROJECT)
        # the segment's members
        Worker(ours, batch_size=BATCH).tick(START)
        execute(ours, _ENTER, at=START)
        settle(ours)
        with copied(server_url, ours, "bench_branch_hand") as theirs:
            our_seconds, their_seconds = _race(ours, theirs, customers)
            _compare(ours, theirs, customers)
            ways = _ways(ours)
    rate, by_hand = round(customers / our_seconds), round(customers / their_seconds)
    return [
        Figure("branch: customers", customers, "customers", None),
        Figure("branch: ways taken", len(ways), "ways", Wanted(least=4)),
        Figure("branch: rate", rate, "customers/s", None, by_hand, "by hand", Wanted(least=0.6)),
    ]


def _race(ours: sa.Engine, theirs: sa.Engine, customers: int) -> tuple[float, float]:
    """Seconds of both, in turns. The engine's last turn finds that nothing is left; compiling the statement is in its first."""
    text = Path(__file__).with_name("branch.sql").read_text()
    with theirs.connect() as conn:
        step = "SELECT entry_uid FROM journeys.workflow_steps WHERE workflow_id = 'sorting' AND step_key = 'sort'"
        values = {"sort": conn.exec_driver_sql(step).scalar_one(), "now": NOW, "size": BATCH}
    worker = Worker(ours, batch_size=BATCH)
    batches = -(-customers // BATCH)
    our_seconds = their_seconds = 0.0
    while batches > 0:
        for _ in range(TURN):
            their_seconds += timed(partial(execute, theirs, text, **values))
        for _ in range(TURN):
            our_seconds += timed(partial(worker.batch, NOW))
        batches -= TURN
    return our_seconds + timed(partial(worker.tick, NOW)), their_seconds


def _compare(ours: sa.Engine, theirs: sa.Engine, customers: int) -> None:
    """Both wrote the same: every journey's place, and every transition with the rule and the values that it saw."""
    for query in (_TAKEN, _PLACES):
        with ours.connect() as one, theirs.connect() as other:
            a, b = (list(conn.exec_driver_sql(query).tuples()) for conn in (one, other))
        if a != b or sum(row[-2] for row in a) != customers:
            raise SystemExit(f"the two did not write the same: the engine {a}, by hand {b}")


def _ways(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as conn:
        return {row.to_step: row.n for row in conn.exec_driver_sql(_TAKEN)}
