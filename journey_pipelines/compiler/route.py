"""`next`: which way a journey takes. Conditions in order, first match wins; or a split, sticky by its logged assignment."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.statement import lit
from journey_pipelines.expressions import Scope, compile_condition
from journey_pipelines.store.tables import split_assignments
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import Step


def branch_target(step: Step, scope: Scope, values: dict[str, sa.ColumnElement[Any]]) -> tuple[sa.ColumnElement[Any], list[Any]]:
    """The target's key, and what to say about the way taken."""
    branches = step.next.branches or ()
    last = branches[-1]
    if len(branches) == 1:
        return sa.literal(last.to, sa.Text), []
    ways, rules = [], []
    for branch in branches[:-1]:
        assert branch.when is not None
        compiled = compile_condition(branch.when, scope)
        values.update(compiled.values)
        ways.append((compiled.sql, sa.literal(branch.to, sa.Text)))
        rules.append((compiled.sql, sa.literal(branch.when, sa.Text)))
    target = sa.case(*ways, else_=sa.literal(last.to, sa.Text))
    return target, [lit("rule"), sa.case(*rules, else_=lit("else")), lit("to"), target]


def logged_arm(definition: Definition, step: Step, due: sa.CTE) -> LateralFromClause:
    s = split_assignments
    return (
        sa.select(s.c.arm)
        .where(s.c.workflow_id == definition.workflow.id, s.c.step_key == step.id, s.c.customer_id == due.c.customer_id)
        .limit(lit(1))
        .lateral("logged_arm")
    )


def split_target(definition: Definition, step: Step, due: sa.CTE, logged: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The assignment logged first, as long as the arm is there; else a hash of workflow, step and customer."""
    assert step.next.split is not None
    salt = sa.literal(f"split|{definition.workflow.id}|{step.id}|", sa.Text)
    bucket = sa.func.journeys.bucket_of(salt.concat(due.c.customer_id), type_=sa.Integer)
    arms = list(step.next.split.items())
    limits, total = [], 0.0
    for arm, weight in arms[:-1]:
        total += weight
        limits.append((bucket < round(total * 100), sa.literal(arm, sa.Text)))
    hashed = sa.case(*limits, else_=sa.literal(arms[-1][0], sa.Text)) if limits else sa.literal(arms[-1][0], sa.Text)
    return sa.case((logged.in_([arm for arm, _ in arms]), logged), else_=hashed)


def assignments(definition: Definition, step: Step, facts: sa.CTE) -> sa.CTE:
    s, f = split_assignments, facts.c
    new = pg_insert(s).from_select(
        ["workflow_id", "step_key", "customer_id", "arm", "version", "assigned_at"],
        sa.select(sa.literal(definition.workflow.id), sa.literal(step.id, sa.Text), f.customer_id, f.target, f.version, f.at)
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
