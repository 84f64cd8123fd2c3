"""A dynamic segment of a million members of whom one in a hundred changed: following the changes, beside building it again."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from benchmarks.branch import PROJECT
from benchmarks.database import copied, execute, fresh, settle, timed
from benchmarks.figures import Figure, Wanted
from benchmarks.people import START, deploy_files, fill_people
from journey_pipelines.engine.deploy_segments import request_build
from journey_pipelines.engine.tick import Worker

NOW = START + timedelta(hours=2)
SEGMENT = """
segment: lapsed
when: customer.lifetime_value >= 100 and has_event('order', within='90 days')
"""
#: one in a hundred, of whom every other one leaves
_CHANGES = """
SELECT count(journeys.upsert_profile('c' || n, jsonb_build_object('lifetime_value', CASE WHEN n %% 200 = 0 THEN 50 ELSE 150 END), %(at)s))
  FROM generate_series(100, %(n)s, 100) n
"""
_MEMBERS = """
SELECT count(*) AS members, sum(hashtextextended(customer_id, 0)) AS who
  FROM journeys.segment_memberships WHERE segment_id = 'lapsed' AND left_at IS NULL
"""


def measure(server_url: str, customers: int) -> list[Figure]:
    """Seconds from the changes of profiles to the right members, by following them and by a build; and of the first build."""
    with tempfile.TemporaryDirectory() as folder, fresh(server_url, "bench_segment") as ours:
        fill_people(ours, customers, days=80, least=0)
        deploy_files(ours, Path(folder), {**PROJECT, "segments/lapsed.yaml": SEGMENT})
        settle(ours)
        building = timed(lambda: Worker(ours).tick(START))
        _expect(ours, customers)
        changing = timed(lambda: execute(ours, _CHANGES, n=customers, at=START + timedelta(hours=1)))
        settle(ours)
        with copied(server_url, ours, "bench_segment_built") as theirs:
            one, other = Worker(ours), Worker(theirs)
            execute(theirs, "DELETE FROM journeys.customer_changes")
            # both know what is deployed: what is measured is the changes
            for worker in (one, other):
                worker.tick(START)
            with theirs.begin() as conn:
                request_build(conn, "segment", "lapsed", NOW)
            rebuilding = timed(lambda: other.tick(NOW))
            following = timed(lambda: one.tick(NOW))
            for engine in (ours, theirs):
                _expect(engine, customers - customers // 200)
            if _members(ours) != _members(theirs):
                raise SystemExit("following the changes and building again gave different members")
    changed = customers // 100
    return [
        Figure("segment: members", customers, "customers"),
        Figure("segment: first build", round(building, 2), "s"),
        Figure("segment: profiles changed", changed, "customers"),
        Figure("segment: upsert_profile", round(changed / changing), "calls/s"),
        Figure("segment: changes followed", round(following, 3), "s", None, round(rebuilding, 3), "built again", Wanted(most=0.1)),
    ]


def _members(engine: sa.Engine) -> tuple[int, int]:
    with engine.connect() as conn:
        row = conn.exec_driver_sql(_MEMBERS).one()
    return row.members, row.who


def _expect(engine: sa.Engine, members: int) -> None:
    found, _ = _members(engine)
    if found != members:
        raise SystemExit(f"the segment has {found} members, expected {members}")
