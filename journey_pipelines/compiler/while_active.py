"""What a trigger's event does to journeys of its customer and key that are under way: `while_active` refresh and restart."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.candidates import candidates_of, kept_payload
from journey_pipelines.compiler.journeys import transitions
from journey_pipelines.compiler.scopes import later
from journey_pipelines.compiler.statement import TS, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.waits import cap_of, due_of, first_step_of
from journey_pipelines.store.tables import customer_journeys, journey_context, messages
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import Trigger


def _active(definition: Definition, candidates: sa.CTE) -> LateralFromClause:
    """The journeys in progress of a candidate's customer and key."""
    j = customer_journeys
    return (
        sa.select(j)
        .where(
            j.c.customer_id == candidates.c.customer_id,
            j.c.workflow_id == definition.workflow.id,
            j.c.entry_key == candidates.c.entry_key,
            j.c.status == lit("active"),
            # a late event must not take a journey back behind its own entry
            later((candidates.c.occurred_at, candidates.c.seq), (j.c.entered_at, j.c.entered_seq)),
        )
        .offset(lit(0))
        .lateral("j")
    )


def refresh(definition: Definition, version: int, around: Surroundings, triggers: Sequence[Trigger]) -> sa.Select[Any]:
    """The entry event's payload of those in progress becomes that of the event now looked at."""
    candidates = candidates_of(definition, version, around, triggers)
    j = _active(definition, candidates)
    # what an older version reads of the payload is not known here: its journeys keep all of it
    kept = sa.case((j.c.version == lit(version), kept_payload(definition, candidates.c.payload)), else_=candidates.c.payload)
    found = sa.select(j.c.id, candidates.c.type, kept.label("event")).select_from(candidates.join(j, sa.true())).cte("found")
    x = journey_context
    done = (
        sa.update(x)
        .where(x.c.journey_id == found.c.id)
        .values(event_type=found.c.type, event=found.c.event)
        .returning(x.c.journey_id)
        .cte("done")
    )
    return sa.select(sa.select(sa.func.count()).select_from(done).scalar_subquery().label("refreshed"))


def restart(definition: Definition, version: int, around: Surroundings, triggers: Sequence[Trigger]) -> sa.Select[Any]:
    """The same journey back to its first wait, one visit more, as long as it has no row in the ledger."""
    candidates = candidates_of(definition, version, around, triggers)
    j = _active(definition, candidates)
    c = candidates.c
    start = first_step_of(j.c.workflow_id, j.c.version)
    cap = cap_of(definition.workflow, j.c.entered_at)
    if cap is not None:
        # another version may have another max_age: its journeys are seen to have expired when their first wait is over
        cap = sa.case((j.c.version == lit(version), cap), else_=sa.cast(lit("infinity"), TS))
    due = due_of(start, c.customer_id, c.occurred_at, c.seq, cap)
    sent = sa.exists().where(messages.c.journey_id == j.c.id)
    found = (
        sa.select(
            j.c.id,
            j.c.workflow_id,
            j.c.version,
            j.c.customer_id,
            (j.c.visit + lit(1)).label("visit"),
            j.c.step_key.label("from_step"),
            start.c.step_key.label("to_step"),
            start.c.entry_uid,
            c.occurred_at.label("at"),
            c.seq.label("at_seq"),
            lit("restarted").label("why"),
            c.depth,
            due.at.label("due_at"),
            due.seq.label("due_seq"),
            c.detail,
        )
        .select_from(due.joined(candidates.join(j, sa.true()).join(start, sa.true())))
        # a journey's clock never goes back: an event from before its place only refreshes
        .where(~sent, later((c.occurred_at, c.seq), (j.c.at, j.c.at_seq)))
        .cte("found")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    t, f = customer_journeys, found.c
    moved = (
        sa.update(t)
        .where(t.c.id == f.id)
        .values(
            visit=f.visit,
            depth=f.depth,
            step_key=f.to_step,
            step_uid=f.entry_uid,
            at=f.at,
            at_seq=f.at_seq,
            due_at=f.due_at,
            due_seq=f.due_seq,
            due_was=sa.null(),
            skip=sa.false(),
            arrived_seq=sa.null(),
        )
        .returning(t.c.id)
        .cte("moved")
    )
    return sa.select(sa.select(sa.func.count()).select_from(moved).scalar_subquery().label("restarted")).add_cte(transitions(found))
