"""Exits on conditions as the gate asks them: at the claim of a message, whatever changed since the engine last looked (language page)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.rule_uids import exit_uid, is_condition
from journey_pipelines.compiler.scopes import journey_scope
from journey_pipelines.compiler.statement import LAST_SEQ
from journey_pipelines.engine.policies import stored_policies
from journey_pipelines.expressions import compile_condition
from journey_pipelines.store.tables import automation_workflows, deployment, journey_context
from journey_pipelines.workflows.definition import Definition

LeavingPredicate = Callable[[sa.FromClause, sa.FromClause, sa.FromClause, sa.ColumnElement[Any]], sa.ColumnElement[bool]]


def exit_predicates(conn: sa.Connection) -> list[LeavingPredicate]:
    """One for each set of condition exits that versions share: (message, journey, profile, now) -> whether the journey leaves.

    `message` needs workflow_id and workflow_version, `journey` and `profile` are aliases of their tables.
    """
    w = automation_workflows.c
    policies = stored_policies(conn.execute(sa.select(deployment.c.policies)).scalar_one())
    shared: dict[int, tuple[Definition, list[int]]] = {}
    for row in conn.execute(sa.select(w.version, w.definition).order_by(w.id, w.version)):
        if any("when" in rule and not rule.get("event") and not rule.get("segment") for rule in row.definition["workflow"]["exit"]):
            definition = Definition.model_validate(row.definition)
            shared.setdefault(exit_uid(definition), (definition, []))[1].append(row.version)
    brand = policies.brand if policies else {}
    zone = policies.zone if policies else "UTC"
    return [_predicate(definition, versions, brand, zone) for definition, versions in shared.values() if _conditions(definition)]


def _conditions(definition: Definition) -> list[str]:
    return [rule.when for rule in definition.workflow.exit if not rule.goal and is_condition(rule) and rule.when]


def _predicate(definition: Definition, versions: list[int], brand: Mapping[str, Any], default_zone: str) -> LeavingPredicate:
    def leaves(
        message: sa.FromClause, journey: sa.FromClause, profile: sa.FromClause, now: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[bool]:
        x = journey_context.c
        # the gate is one expression and has no place for a lateral: the entry event as scalar sub-queries
        read = {column.name: sa.select(column).where(x.journey_id == journey.c.id).scalar_subquery() for column in (x.event, x.event_type)}
        at = (now, sa.literal_column(str(LAST_SEQ), sa.BigInteger))
        scope = journey_scope(journey, profile, SimpleNamespace(c=SimpleNamespace(**read)), None, at, brand, definition.catalogue)
        scope = replace(scope, zone=sa.func.coalesce(profile.c.zone, sa.literal(default_zone, sa.Text)))
        return sa.and_(
            message.c.workflow_id == definition.workflow.id,
            message.c.workflow_version.in_(versions),
            sa.or_(*(compile_condition(when, scope).sql for when in _conditions(definition))),
        )

    return leaves
