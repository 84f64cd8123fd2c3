"""When time alone may next make a goal or an exit of a journey true: written to `customer_moments`, and looked at at that very instant.

One row for a customer and the rules of a version (all versions that share them): the earliest instant of all their journeys. It is written
anew whenever something that it was worked out from changes: a journey that enters or starts again, what the conditions read, a recheck
that has come, and, where a condition reads the journey's step, an arrival at one (`arrival_moments`). A row that is too early finds nothing
and plans the next; when the journey has ended it plans none, so that nothing is left of it but, at most, that one row.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert

from journey_pipelines.compiler.batch import batch_events
from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.moments import planned_moments
from journey_pipelines.compiler.relevance import Relevance, recheck_word, relevance_of
from journey_pipelines.compiler.rule_uids import Rule, exit_uid, timed_rules
from journey_pipelines.compiler.scopes import context_of, journey_scope, profile_of
from journey_pipelines.compiler.statement import FOREVER_SEQ, HIGH, LOW, ROUND, TS, VERSIONS, Statement, compile_statement, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.wall import named
from journey_pipelines.expressions import compile_recheck
from journey_pipelines.store.moment_tables import customer_moments
from journey_pipelines.store.tables import conversions, customer_journeys
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import Goal


def watch_words(definition: Definition) -> set[str]:
    """What makes it worth working out again, but the entries; nothing where time alone changes no rule."""
    rules = timed_rules(definition)
    return _relevance(definition, rules).words() | {recheck_word(exit_uid(definition))} if rules else set()


@kept
def watch_statement(definition: Definition, words: Collection[str], around: Surroundings) -> Statement:
    """For the customers of a round's rows that `words` bring; `watched` counts what was written."""
    rules = timed_rules(definition)
    b = batch_events
    j = _journeys(definition, rules)
    context, profile = context_of(j.c.id), profile_of(b.c.customer_id)
    # of a late row the newest place that is known counts: what lies between has been looked at
    place = named("place", at=sa.func.greatest(b.c.occurred_at, b.c.newest_at, j.c.entered_at, type_=TS))
    scope = journey_scope(j, profile, context, None, (place.c.at, FOREVER_SEQ), around.brand, definition.catalogue)
    instants = [sa.case((_open(rule, j), again)) for rule in rules if (again := compile_recheck(rule.when or "", scope)) is not None]
    earliest = sa.func.least(*instants, type_=TS) if len(instants) > 1 else instants[0]
    source = b.join(j, sa.true()).join(place, sa.true()).outerjoin(context, sa.true()).outerjoin(profile, sa.true())
    types = [word for word in words if not word.startswith("key:")]
    found = (
        sa.select(b.c.customer_id, b.c.shard, b.c.received_at, sa.func.min(earliest, type_=TS).label("at"))
        .select_from(source)
        .where(b.c.round == ROUND, b.c.seq.between(LOW, HIGH), _relevance(definition, rules).rows(*types))
        .group_by(b.c.customer_id, b.c.shard, b.c.received_at)
        .cte("found")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    f = found.c
    rows = sa.select(f.customer_id, *_named(definition), f.shard, f.at, f.received_at).where(f.at.is_not(None))
    written = planned_moments(rows, "written")
    return compile_statement(
        f"{definition.workflow.id}: watch", sa.select(sa.select(sa.func.count()).select_from(written).scalar_subquery().label("watched"))
    )


def arrival_moments(definition: Definition, moves: Any) -> sa.CTE:
    """Those of `moves` that reach a step are looked at there, which works out their next instant."""
    t, m = customer_moments, moves.c
    shard = sa.func.journeys.shard_of(m.customer_id, type_=sa.SmallInteger)
    at = sa.func.min(m.at, type_=TS)
    rows = sa.select(m.customer_id, *_named(definition), shard, at, at).where(m.to_step.is_not(None)).group_by(m.customer_id)
    new = pg_insert(t).from_select(["customer_id", "kind", "ref", "shard", "at", "known_at"], rows)
    again = {"at": sa.func.least(t.c.at, new.excluded.at, type_=TS)}
    keys = [t.c.customer_id, t.c.kind, t.c.ref]
    return new.on_conflict_do_update(index_elements=keys, set_=again).returning(t.c.customer_id).cte("looked_at")


def _named(definition: Definition) -> tuple[sa.ColumnElement[str], sa.ColumnElement[str]]:
    return lit("watch"), sa.literal(str(exit_uid(definition)), sa.Text)


def _relevance(definition: Definition, rules: list[Rule]) -> Relevance:
    return relevance_of([rule.when for rule in rules], definition.catalogue)


def _journeys(definition: Definition, rules: list[Rule]) -> Any:
    """Those of a row's customer that are under way, or whose goal still counts."""
    b, j = batch_events.c, customer_journeys.c
    going: list[sa.ColumnElement[bool]] = [j.status == lit("active")]
    for rule in rules:
        if isinstance(rule, Goal) and rule.within:
            going.append(j.entered_at >= b.occurred_at - sa.literal(rule.within.elapsed(), sa.Interval()))
    return (
        sa.select(customer_journeys)
        .where(
            j.customer_id == b.customer_id,
            j.workflow_id == definition.workflow.id,
            j.version == sa.any_(VERSIONS),
            sa.or_(*going),
        )
        .offset(lit(0))
        .lateral("j")
    )


def _open(rule: Rule, j: Any) -> sa.ColumnElement[bool]:
    """Whether the rule can still hold: an exit of who is under way, a goal that has not been counted."""
    if not isinstance(rule, Goal):
        return j.c.status == lit("active")
    counted = sa.exists().where(conversions.c.journey_id == j.c.id)
    return ~counted if rule.within else sa.and_(j.c.status == lit("active"), ~counted)
