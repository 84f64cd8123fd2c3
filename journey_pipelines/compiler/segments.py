"""Dynamic segments: who is in, asked again only of customers for whom something that the condition reads has changed (engine.md, 17).

A segment's transition has the instant of what caused it. Where time alone may change the answer, the next such instant is written to
`customer_moments`; where a late event is looked at in its place, the customer is asked once more at the newest place that is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.moments import planned_moments
from journey_pipelines.compiler.people import customer_scope, round_people, shard_people
from journey_pipelines.compiler.relevance import Relevance, recheck_word, relevance_of
from journey_pipelines.compiler.scopes import profile_of
from journey_pipelines.compiler.statement import DEFAULT_ZONE, NOW, SHARDS, TS, Statement, compile_statement, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.expressions import compile_condition, compile_recheck
from journey_pipelines.store.moment_tables import customer_changes
from journey_pipelines.store.tables import segment_memberships


def segment_words(uid: int, when: str, types: Mapping[str, str]) -> set[str]:
    """What makes a segment's condition worth asking."""
    return relevance_of([when], types).words() | {recheck_word(uid)}


@kept
def round_statement(segment_id: str, uid: int, when: str, types: Mapping[str, str], around: Surroundings) -> Statement:
    """The transitions of a round's customers; `emitted` counts them."""
    relevance = relevance_of([when], types)
    people = round_people(relevance.rows(recheck_word(uid)))
    return compile_statement(f"segment {segment_id}", _evaluate(segment_id, uid, when, types, around, relevance, people, build=False))


@kept
def build_statement(segment_id: str, uid: int, when: str, types: Mapping[str, str], around: Surroundings) -> Statement:
    """The members among everybody of some shards. After a deploy: being found in is no transition, and is told to nobody."""
    relevance = relevance_of([when], types)
    people = shard_people(with_events=bool(relevance.event_types))
    return compile_statement(f"segment {segment_id}: build", _evaluate(segment_id, uid, when, types, around, relevance, people, build=True))


def _evaluate(
    segment_id: str,
    uid: int,
    when: str,
    types: Mapping[str, str],
    around: Surroundings,
    relevance: Relevance,
    people: sa.CTE,
    *,
    build: bool,
) -> sa.Select[Any]:
    p, m = people.c, segment_memberships
    profile = profile_of(p.customer_id)
    member = (
        sa.select(m.c.entered_at)
        .where(m.c.customer_id == p.customer_id, m.c.segment_id == segment_id, m.c.left_at.is_(None))
        .limit(lit(1))
        .lateral("member")
    )
    scope = customer_scope(people, profile, sa.func.coalesce(profile.c.zone, DEFAULT_ZONE), around.brand, types)
    recheck = compile_recheck(when, scope) if relevance.timed else None
    columns: list[Any] = [
        *(p[name] for name in ("customer_id", "shard", "at", "received_at", "depth")),
        sa.func.coalesce(compile_condition(when, scope).sql, sa.false(), type_=sa.Boolean).label("inside"),
        member.c.entered_at.is_not(None).label("member"),
    ]
    # what came late is looked at in its place, where the answer may be out of date for now: it moves nobody, and is asked once more at
    # the newest place that is known
    newest = sa.func.greatest(p.newest_at, member.c.entered_at, type_=TS)
    late = sa.and_(newest.is_not(None), newest > p.at)
    if not build:
        again = sa.case((late, newest))
        recheck = again if recheck is None else sa.case((late, newest), else_=recheck)
    columns.append((sa.func.coalesce(late, sa.false(), type_=sa.Boolean) if not build else sa.false()).label("late"))
    if recheck is not None:
        columns.append(recheck.label("recheck"))
    source: Any = people.outerjoin(profile, sa.true()).outerjoin(member, sa.true())
    asked = sa.select(*columns).select_from(source)
    if build and relevance.keys:
        asked = asked.where(p.customer_id.not_in(_changed_since(relevance)))
    found = asked.cte("found").prefix_with("MATERIALIZED", dialect="postgresql")
    f = found.c
    change = sa.case((f.inside, lit("enter")), else_=lit("leave"))
    # a customer is asked at one place a round, so arrays need no order
    moved = (
        sa.select(
            sa.func.journeys.apply_segments(
                sa.func.array_agg(sa.literal(segment_id, sa.Text)),
                sa.func.array_agg(f.customer_id),
                sa.func.array_agg(change),
                sa.func.array_agg(f.at),
                lit("built" if build else "condition"),
                sa.func.array_agg(f.received_at),
                sa.func.array_agg(sa.cast(f.depth + lit(1), sa.SmallInteger)),
                sa.true() if build else sa.false(),
                type_=sa.BigInteger,
            )
        )
        .where(f.inside != f.member, ~f.late)
        .having(sa.func.count() > lit(0))
        .scalar_subquery()
    )
    counts = sa.select(
        sa.select(sa.func.count()).select_from(found).scalar_subquery().label("looked_at"),
        sa.func.coalesce(moved, lit(0)).label("members_moved" if build else "emitted"),
    )
    return counts.add_cte(_moments(uid, found)) if recheck is not None else counts


def _changed_since(relevance: Relevance) -> sa.Select[Any]:
    """Whose profile changed between deploy and build: what it was at the deploy is not known, and the change is looked at right after."""
    c = customer_changes.c
    keys = sa.literal(sorted(relevance.keys), ARRAY(sa.Text))
    theirs = c["keys"].op("&&", is_comparison=True)(keys)
    return sa.select(c.customer_id).where(c.shard == sa.any_(SHARDS), c.received_at > NOW, theirs)


def _moments(uid: int, found: Any) -> sa.CTE:
    """When to ask again."""
    f = found.c
    kind, ref = lit("watch"), sa.literal(str(uid), sa.Text)
    rows = sa.select(f.customer_id, kind, ref, f.shard, f.recheck, f.received_at).where(f.recheck.is_not(None))
    return planned_moments(rows, "later", known_late=True)
