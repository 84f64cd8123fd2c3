"""`next`: which way a journey takes. Conditions in order, first match wins; or a split, sticky by its logged assignment.

A way back (`max_visits`) is taken as long as the journey was at its target fewer times; each time is another `visit`, which is part of the
ledger's key: what a step does again is done again.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.statement import lit
from journey_pipelines.expressions import Scope, compile_condition
from journey_pipelines.store.tables import journey_transitions, split_assignments
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import END, Branch, Step


@dataclass(frozen=True)
class Route:
    """The target's key, what to say about the way taken, whether it leads back (None: no way does), and the laterals that these read."""

    target: sa.ColumnElement[Any]
    detail: list[Any]
    back: sa.ColumnElement[bool] | None = None
    laterals: tuple[LateralFromClause, ...] = ()

    def joined(self, source: Any) -> Any:
        """`source` with the laterals."""
        for lateral in self.laterals:
            source = source.outerjoin(lateral, sa.true())
        return source


def branch_route(step: Step, scope: Scope, journey: Any, values: dict[str, sa.ColumnElement[Any]]) -> Route:
    """The first branch that holds; `values` gets what the conditions saw."""
    branches = step.next.branches or ()
    last = branches[-1]
    visits = {b.to: _visits_of(journey, b.to, n) for n, b in enumerate(branches) if b.max_visits is not None}
    rules, ways, backs = [], [], []
    for branch in branches[:-1]:
        assert branch.when is not None
        compiled = compile_condition(branch.when, scope)
        values.update(compiled.values)
        rules.append((compiled.sql, sa.literal(branch.when, sa.Text)))
        ways.append((compiled.sql, _way(branch, visits)))
        backs.append((compiled.sql, _leads_back(branch, visits)))
    target = sa.case(*ways, else_=_way(last, visits)) if ways else _way(last, visits)
    detail = [lit("rule"), sa.case(*rules, else_=lit("else")), lit("to"), target] if rules else []
    if not visits:
        return Route(target, detail)
    back = sa.case(*backs, else_=_leads_back(last, visits)) if backs else _leads_back(last, visits)
    seen = [part for to, row in visits.items() for part in (sa.literal(to, sa.Text), row.c.n)]
    detail = [*(detail or [lit("to"), target]), lit("visits"), sa.func.jsonb_build_object(*seen)]
    return Route(target, detail, back, tuple(visits.values()))


def _way(branch: Branch, visits: dict[str, LateralFromClause]) -> sa.ColumnElement[Any]:
    to = sa.literal(branch.to, sa.Text)
    return to if branch.max_visits is None else sa.case((_leads_back(branch, visits), to), else_=sa.literal(branch.then or END, sa.Text))


def _leads_back(branch: Branch, visits: dict[str, LateralFromClause]) -> sa.ColumnElement[bool]:
    return sa.false() if branch.max_visits is None else visits[branch.to].c.n < lit(branch.max_visits)


def _visits_of(journey: Any, step_key: str, number: int) -> LateralFromClause:
    """One row, `n`: how often the journey was at a step since it entered, or since it was restarted."""
    x, r = journey_transitions.alias("was"), journey_transitions.alias("restart")
    restarted = sa.select(sa.func.max(r.c.id)).where(r.c.journey_id == journey.c.id, r.c.why == lit("restarted")).correlate_except(r)
    return (
        sa.select(sa.func.count().label("n"))
        .select_from(x)
        .where(
            x.c.journey_id == journey.c.id,
            x.c.to_step == sa.literal(step_key, sa.Text),
            x.c.id >= sa.func.coalesce(restarted.scalar_subquery(), lit(0)),
        )
        .correlate_except(x)
        .lateral(f"visits_{number}")
    )


def _logged_arm(definition: Definition, step: Step, due: sa.CTE) -> LateralFromClause:
    s = split_assignments
    return (
        sa.select(s.c.arm)
        .where(s.c.workflow_id == definition.workflow.id, s.c.step_key == step.id, s.c.customer_id == due.c.customer_id)
        .limit(lit(1))
        .lateral("logged_arm")
    )


def split_route(definition: Definition, step: Step, due: sa.CTE) -> Route:
    """The assignment logged first, as long as the arm is there; else a hash of workflow, step and customer."""
    assert step.next.split is not None
    logged = _logged_arm(definition, step, due)
    salt = sa.literal(f"split|{definition.workflow.id}|{step.id}|", sa.Text)
    bucket = sa.func.journeys.bucket_of(salt.concat(due.c.customer_id), type_=sa.Integer)
    # by name: jsonb keeps no order, and the same share must fall to an arm before and after it was stored
    arms = sorted(step.next.split.items())
    limits, total = [], 0.0
    for arm, weight in arms[:-1]:
        total += weight
        limits.append((bucket < round(total * 100), sa.literal(arm, sa.Text)))
    hashed = sa.case(*limits, else_=sa.literal(arms[-1][0], sa.Text)) if limits else sa.literal(arms[-1][0], sa.Text)
    target = sa.case((logged.c.arm.in_([arm for arm, _ in arms]), logged.c.arm), else_=hashed)
    return Route(target, [lit("rule"), lit("split"), lit("to"), target], laterals=(logged,))


def assignments(definition: Definition, step: Step, facts: sa.CTE) -> sa.CTE:
    """The arms that were taken. Whom something else led elsewhere (`routed` of the facts is false) is not assigned."""
    s, f = split_assignments, facts.c
    new = pg_insert(s).from_select(
        ["workflow_id", "step_key", "customer_id", "arm", "version", "assigned_at"],
        sa.select(sa.literal(definition.workflow.id), sa.literal(step.id, sa.Text), f.customer_id, f.target, f.version, f.at)
        .where(*([f.routed] if "routed" in f else []))
        .distinct(f.customer_id)
        .order_by(f.customer_id, f.at, f.id),
    )
    return (
        new.on_conflict_do_update(
            index_elements=[s.c.workflow_id, s.c.step_key, s.c.customer_id],
            set_={"arm": new.excluded.arm, "version": new.excluded.version, "assigned_at": new.excluded.assigned_at},
            where=s.c.arm != new.excluded.arm,
        )
        .returning(s.c.customer_id)
        .cte("assigned")
    )
