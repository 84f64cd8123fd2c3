"""`best_time`: the hour of the day at which a customer is most likely to open or click, from what they opened and clicked before.

The estimator is the posterior mean of a multinomial over the 24 local hours with a Dirichlet prior (Gelman et al., Bayesian Data Analysis,
3rd ed., section 3.4): (PSEUDO * prior_h + n_h) / (PSEUDO + n), where n_h counts the customer's own opens and clicks at hour h. Who did
nothing yet is taken for the average person, and one open at night does not make a night owl: it takes three. The denominator is the same
for every hour, so only numerators are compared, and of equal ones the earlier hour is taken: the same input gives the same time.

A click counts as CLICK opens: an open is a picture that was fetched, a click is a decision. What a machine did (Apple's proxy, a scanner)
says nothing about the person and counts nothing.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.statement import TS, lit
from journey_pipelines.compiler.wall import LOCAL, Column, Moment, instant_of, interval, named, wall_of
from journey_pipelines.expressions import Scope
from journey_pipelines.store.moment_tables import best_time_prior
from journey_pipelines.store.tables import customer_events

#: how many observations the prior is worth: 2.7 of them at the best hour of the constant one, 0.1 at the worst
PSEUDO = 40
CLICK = 3
WINDOW = timedelta(days=180)
#: of each type at most so many are read, the latest: a customer with a million opens costs no more than one with these
MOST = 200
#: What is assumed before anybody opened anything, by local hour: little at night, most in the morning and after work. It is a plausible
#: shape, not a measurement; `engine.best_time` replaces it by what this project's own people do.
CONSTANT_PRIOR = (2, 1, 1, 1, 1, 3, 8, 14, 20, 24, 24, 22, 21, 19, 18, 18, 18, 20, 22, 24, 24, 20, 12, 5)


def best_time(base: Column, within: timedelta, scope: Scope) -> Moment:
    """The start of the customer's best local hour, among the hours that start in [base, base + within); `base` where none does."""
    first = named("ready", at=base)
    base = first.c.at
    wall, own, prior = wall_of(base, scope.zone, "ready_wall"), _own(scope), _prior()
    # an hour of the wall a row, and two more for a night that is longer
    count = math.ceil(within / timedelta(hours=1)) + 2
    hours = sa.func.generate_series(lit(0), lit(count)).table_valued(sa.column("n", sa.Integer)).render_derived("hours")
    hour_ahead = sa.func.make_interval(lit(0), lit(0), lit(0), lit(0), hours.c.n, type_=sa.Interval())
    local = sa.func.date_trunc(lit("hour"), wall.c.local, type_=LOCAL) + hour_ahead
    starts = instant_of(local, scope.zone, "starts")
    # what the wall shows then: the hour in a gap is the one after it
    hour = sa.cast(sa.extract("hour", (shows := wall_of(starts.c.at, scope.zone, "shows")).c.local), sa.Integer)
    mine = sa.cast(own.c.hours.op("->>")(sa.cast(hour, sa.Text)), sa.Double)
    score = prior.c.weights[hour + lit(1)] + sa.func.coalesce(mine, lit(0))
    found = hours.join(starts, sa.true()).join(shows, sa.true())
    query = sa.select(starts.c.at).select_from(found).where(starts.c.at >= base, starts.c.at < base + interval(within))
    best = query.order_by(score.desc(), starts.c.at).limit(lit(1)).correlate_except(found).lateral("best")
    return Moment(sa.func.coalesce(best.c.at, base, type_=TS), (first, wall, own, prior, best))


def _own(scope: Scope) -> LateralFromClause:
    """One row: `hours`, local hour -> weighted opens and clicks of the customer."""
    seen = sa.union_all(_seen(scope, "message.opened", 1), _seen(scope, "message.clicked", CLICK)).subquery("seen")
    wall = wall_of(seen.c.occurred_at, scope.zone, "seen_wall")
    hour = sa.cast(sa.extract("hour", wall.c.local), sa.Integer)
    human = sa.func.journeys.bool(seen.c.payload.op("->")(lit("machine")), type_=sa.Boolean).is_not(sa.true())
    by_hour = (
        sa.select(hour.label("hour"), sa.func.sum(seen.c.weight).label("n"))
        .select_from(seen.join(wall, sa.true()))
        .where(human)
        .group_by(hour)
        .subquery("by_hour")
    )
    return sa.select(sa.func.jsonb_object_agg(by_hour.c.hour, by_hour.c.n, type_=JSONB).label("hours")).lateral("own")


def _seen(scope: Scope, type_: str, weight: int) -> sa.Select[Any]:
    e = customer_events.alias(type_.split(".")[1])
    return (
        sa.select(e.c.occurred_at, e.c.payload, lit(weight).label("weight"))
        .where(
            e.c.customer_id == scope.customer_id,
            e.c.type == lit(type_),
            sa.tuple_(e.c.occurred_at, e.c.seq) <= sa.tuple_(scope.at, scope.at_seq),
            e.c.occurred_at >= scope.at - interval(WINDOW),
        )
        .order_by(e.c.occurred_at.desc(), e.c.seq.desc())
        .limit(lit(MOST))
        .correlate_except(e)
    )


def _prior() -> sa.CTE:
    """One row: `weights` by hour, together PSEUDO."""
    p = best_time_prior
    constant = sa.func.unnest(sa.literal([float(w) for w in CONSTANT_PRIOR], ARRAY(sa.Double)))
    hours = constant.table_valued(sa.column("weight", sa.Double), with_ordinality="n").render_derived("constant")
    weight = sa.func.coalesce(p.c.weight, hours.c.weight, type_=sa.Double)
    whole = (
        sa.select(hours.c.n, weight.label("weight"), sa.func.sum(weight).over().label("total"))
        .select_from(hours.outerjoin(p, p.c.hour == hours.c.n - lit(1)))
        .subquery("whole")
    )
    share = sa.func.coalesce(whole.c.weight / sa.func.nullif(whole.c.total, lit(0), type_=sa.Double), lit(0)) * lit(PSEUDO)
    weights = sa.func.array_agg(aggregate_order_by(share, whole.c.n), type_=ARRAY(sa.Double))
    return sa.select(weights.label("weights")).cte("prior").prefix_with("MATERIALIZED", dialect="postgresql")
