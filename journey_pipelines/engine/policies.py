"""The deployed policies as the engine and delivery use them."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.engine.deploy_segments import named
from journey_pipelines.expressions import Scope, compile_condition
from journey_pipelines.store.tables import deployment
from journey_pipelines.workflows.load import Project
from journey_pipelines.workflows.project import Policies

ConsentPredicate = Callable[[sa.FromClause, sa.ColumnElement[Any]], sa.ColumnElement[bool]]

#: for a database into which nothing was deployed yet (delivery.md: 1 day marketing, 3 days transactional)
_LIVES = {"marketing": timedelta(days=1), "transactional": timedelta(days=3)}


def stored_policies(document: Mapping[str, Any]) -> Policies | None:
    """What deploy stored; None before the first deploy."""
    return Policies.model_validate(document) if document else None


def message_lives(policies: Policies | None) -> dict[str, timedelta]:
    """How long after its logical time an unsent message may still be sent, by category."""
    if policies is None:
        return dict(_LIVES)
    return {"marketing": policies.expires.marketing.elapsed(), "transactional": policies.expires.transactional.elapsed()}


def surroundings(project: Project) -> Surroundings:
    """What the statements of a project that is not deployed are compiled with."""
    names = named(project, [loaded.definition for loaded in project.workflows])
    return Surroundings(project.policies.brand, message_lives(project.policies), names.events, names.segments, names.keys)


def deployed_policies(conn: sa.Connection) -> Policies | None:
    """The policies of the deployment."""
    return stored_policies(conn.execute(sa.select(deployment.c.policies)).scalar_one())


def consent_predicates(conn: sa.Connection) -> dict[str, ConsentPredicate]:
    """channel -> a function of (profiles, now) giving the policy's condition; a channel without a policy is not in it.

    Explicit rows of `channel_consents` are the gate's own business and win over these.
    """
    row = conn.execute(sa.select(deployment.c.policies, deployment.c.catalogue)).one()
    policies = stored_policies(row.policies)
    if policies is None:
        return {}
    types: Mapping[str, str] = (row.catalogue or {}).get("attributes") or {}

    def predicate(text: str) -> ConsentPredicate:
        def condition(profiles: sa.FromClause, now: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
            scope = Scope(
                customer=profiles,
                customer_id=profiles.c.customer_id,
                at=now,
                at_seq=sa.literal_column("9223372036854775807", sa.BigInteger),
                zone=sa.func.coalesce(profiles.c.zone, sa.literal(policies.zone, sa.Text)),
                event=None,
                arrived=None,
                journey={},
                brand=policies.brand,
                catalogue=types,
                now=now,
            )
            return compile_condition(text, scope).sql

        return condition

    return {channel: predicate(text) for channel, text in policies.consent.items()}
