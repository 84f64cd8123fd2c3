"""`journeys enter` and `journeys exit`: customers chosen by an operator, written as events that the next batch takes like any others.

So a request is subject to everything an event is: `entry.when`, the re-entry policy, limits, holds. The same request written twice enters
nobody twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from journey_pipelines.engine.operator import OperationRefused, deployed_workflow
from journey_pipelines.engine.policies import deployed_policies
from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.expressions import Scope, analyse, compile_condition
from journey_pipelines.store.tables import TIMESTAMPTZ, customer_profiles, deployment
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import ManualTrigger
from journey_pipelines.workflows.problems import nearest
from journey_pipelines.workflows.triggers import enter_event, exit_event

#: customers a transaction
BATCH = 5_000
_SHOWN = 10
#: intake refuses larger payloads, and customer ids and event keys have lengths of their own
MAX_FIELDS = 60_000
MAX_CUSTOMER = 128


@dataclass(frozen=True)
class Chosen:
    """A customer, with the fields that are theirs alone."""

    customer_id: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Request:
    """What is asked of the engine: `type` events with `payload` (and each one's own fields) for those chosen."""

    workflow_id: str
    type: str
    payload: Mapping[str, Any]
    entering: bool


@dataclass
class Preview:
    """Of those `chosen`, `known` are customers, and `inside` of these are in the workflow; `unknown` (the first in `examples`) and
    `repeated` are left out.
    """

    chosen: int = 0
    known: int = 0
    inside: int = 0
    repeated: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)


def entering(conn: sa.Connection, workflow_id: str, fields: Mapping[str, Any]) -> Request:
    """A request to enter. Raises OperationRefused where the workflow is not active, has no manual trigger, or does not know a field."""
    row = deployed_workflow(conn, workflow_id)
    workflow = Definition.model_validate(row.definition).workflow
    trigger = next((t for t in workflow.triggers if isinstance(t, ManualTrigger) and t.active), None)
    if trigger is None:
        raise OperationRefused(f"workflow {workflow_id} (version {row.version}) has no manual trigger: write `- manual: true` and deploy")
    if row.status != "active":
        raise OperationRefused(f"workflow {workflow_id} is {row.status}: nobody enters it")
    check_fields(trigger, fields)
    return Request(workflow_id, enter_event(workflow_id), {**fields, "trigger": trigger.id}, entering=True)


def leaving(conn: sa.Connection, workflow_id: str) -> Request:
    """A request to leave; the journeys end with exit_reason manual. Raises OperationRefused for a workflow that is not deployed."""
    deployed_workflow(conn, workflow_id)
    return Request(workflow_id, exit_event(workflow_id), {"by": "manual"}, entering=False)


def known_fields(conn: sa.Connection, workflow_id: str) -> tuple[str, ...]:
    """The fields that the manual trigger of the current version takes."""
    workflow = Definition.model_validate(deployed_workflow(conn, workflow_id).definition).workflow
    return next((t.fields for t in workflow.triggers if isinstance(t, ManualTrigger) and t.active), ())


def check_fields(trigger: ManualTrigger, fields: Mapping[str, Any]) -> None:
    """Raises OperationRefused for a field that the trigger does not declare."""
    for name in fields:
        if name not in trigger.fields:
            allowed = f"it takes: {', '.join(trigger.fields)}" if trigger.fields else "it takes none (fields: [...] in the workflow)"
            raise OperationRefused(f"the manual trigger has no field {name!r}; {allowed}.{nearest(name, trigger.fields)}")
    if len(json.dumps(dict(fields))) > MAX_FIELDS:
        raise OperationRefused("the fields are larger than 60 kB together")


def choose(conn: sa.Connection, where: str, now: datetime) -> Iterator[Chosen]:
    """Customers with a profile for whom an expression is true, by id. Raises OperationRefused where it is wrong, with its place.

    Read in pages, each in the caller's transaction as it stands then.
    """
    condition = _condition(conn, where)
    last = ""
    p = customer_profiles
    while True:
        page = sa.select(p.c.customer_id).where(p.c.customer_id > last, condition).order_by(p.c.customer_id).limit(BATCH)
        ids = conn.scalars(page, {"now": now}).all()
        yield from map(Chosen, ids)
        if len(ids) < BATCH:
            return
        last = ids[-1]


def _condition(conn: sa.Connection, where: str) -> sa.ColumnElement[bool]:
    row = conn.execute(sa.select(deployment.c.catalogue)).one()
    types: Mapping[str, str] = (row.catalogue or {}).get("attributes") or {}
    analysis = analyse(where, types)
    foreign = sorted(analysis.names - {"customer", "now", "brand"})
    if analysis.errors:
        raise OperationRefused("--where: " + "; ".join(f"column {error.col}: {error.message}" for error in analysis.errors))
    if foreign:
        raise OperationRefused(f"--where: there is no {foreign[0]} here, only customer, now, brand and the functions of history")
    policies = deployed_policies(conn)
    zone, brand = (policies.zone, policies.brand) if policies else ("UTC", {})
    p, at = customer_profiles, sa.bindparam("now", type_=TIMESTAMPTZ)
    scope = Scope(
        customer=p,
        customer_id=p.c.customer_id,
        at=at,
        at_seq=sa.literal_column("9223372036854775807", sa.BigInteger),
        zone=sa.func.coalesce(p.c.zone, sa.literal(zone, sa.Text)),
        event=None,
        arrived=None,
        journey={},
        brand=brand,
        catalogue=types,
        now=at,
    )
    return compile_condition(where, scope).sql


def preview(conn: sa.Connection, request: Request, chosen: Iterable[Chosen]) -> Preview:
    """Count those chosen; writes nothing."""
    found = Preview()
    for _ in _known(conn, request, chosen, found):
        pass
    return found


def write(engine: sa.Engine, request: Request, chosen: Iterable[Chosen], request_id: str, now: datetime) -> Preview:
    """Write an event for each known customer, at most 5,000 a transaction. `request_id` (at most 64 characters) makes a second call with it
    harmless: its events are known already. Returns what was written, as `preview` counts it.
    """
    found = Preview()
    with engine.connect() as reading:
        for page in _pages(_known(reading, request, chosen, found)):
            documents = [json.dumps({**request.payload, **one.fields, **_kept(request)}, ensure_ascii=False) for one in page]
            given = {
                "request": request_id[:64], "type": request.type, "now": now,
                "customers": [one.customer_id for one in page], "payloads": documents,
            }  # fmt: skip
            with engine.begin() as conn:
                run_fixed(conn, "operations/enter_by_hand", given)
    return found


def _kept(request: Request) -> Mapping[str, Any]:
    """What no field of a customer may replace."""
    return {name: request.payload[name] for name in ("trigger", "by") if name in request.payload}


def _known(conn: sa.Connection, request: Request, chosen: Iterable[Chosen], found: Preview) -> Iterator[Chosen]:
    """Those that are customers (to leave: that are in it), each once, counted on the way."""
    seen: set[str] = set()
    for page in _pages(chosen):
        fresh: dict[str, Chosen] = {}
        for one in page:
            found.chosen += 1
            if one.customer_id in seen:
                found.repeated += 1
            else:
                seen.add(one.customer_id)
                fresh[one.customer_id] = one
        askable = [name for name in fresh if len(name) <= MAX_CUSTOMER and "\x00" not in name]
        known = {
            row.id: row.inside
            for row in run_fixed(conn, "operations/known_customers", {"workflow": request.workflow_id, "customers": askable})
        }
        for name, one in fresh.items():
            if name not in known:
                found.unknown += 1
                if len(found.examples) < _SHOWN:
                    found.examples.append(name)
                continue
            found.known += 1
            found.inside += known[name]
            if request.entering or known[name]:
                yield one


def _pages(items: Iterable[Chosen]) -> Iterator[list[Chosen]]:
    rest = iter(items)
    while page := list(islice(rest, BATCH)):
        yield page
