"""One statement per step: claim what is due, evaluate, write the ledger and the log, move."""

from typing import Any

import sqlalchemy as sa

from journey_pipelines.compiler import actions as acts
from journey_pipelines.compiler import emit
from journey_pipelines.compiler.arrive import arrival
from journey_pipelines.compiler.claim import StepStatements, count_of
from journey_pipelines.compiler.facts import facts_of, leaves
from journey_pipelines.compiler.journeys import end_admissions, transitions
from journey_pipelines.compiler.kept import kept
from journey_pipelines.compiler.route import assignments
from journey_pipelines.compiler.rule_uids import stepwise
from journey_pipelines.compiler.rule_watch import arrival_moments
from journey_pipelines.compiler.statement import FOREVER_SEQ, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.waits import cap_of, due_of, step_of
from journey_pipelines.store.tables import customer_journeys
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import END, Step


@kept
def step_statements(definition: Definition, step: Step, uid: int, around: Surroundings) -> StepStatements:
    """The advance of one step for the journeys that carry `uid`."""
    # a second write of a customer's row in one statement would vanish
    one_each = any(action.kind in acts.CUSTOMER_KINDS for action in step.do)
    name = f"{definition.workflow.id}/{step.id}: advance"
    return StepStatements(uid, name, lambda due: _advance(definition, step, uid, due, around), one_each)


@kept
def arrive_statements(definition: Definition, step: Step, uid: int, around: Surroundings) -> StepStatements:
    """What a step does first with the journeys that carry its arrival's `uid` (see `arrive`)."""
    name = f"{definition.workflow.id}/{step.id}: arrive"
    return StepStatements(uid, name, lambda due: arrival(definition, step, due, around))


def _advance(definition: Definition, step: Step, uid: int, due: sa.CTE, around: Surroundings) -> sa.Select[Any]:
    facts = facts_of(definition, step, due, around)
    found = _moves(definition, step, uid, facts)
    # whose date moved to later is parked anew, and nothing else
    moves = found if "stays" not in found.c else _materialized(sa.select(found).where(~found.c.stays), "moves")
    ends = leaves(definition, step)
    extra: list[sa.CTE] = [transitions(moves)]
    if ends:
        extra.append(end_admissions(moves))
    if step.next.split is not None:
        extra.append(assignments(definition, step, facts))
    ledger = acts.ledger(definition.workflow, step.id, step.do, facts, around.expires)
    extra += ledger[1:]
    extra += [cte for cte in (acts.task_rows(step.id, step.do, facts), acts.action_log(step.id, step.do, facts)) if cte is not None]
    emitted = emit.written([*acts.events(step.do, facts), *(emit.ended_events(moves, around.named) if ends else [])])
    changed = acts.changes(step.do, facts, around.watched)
    told = [cte for cte in (emitted, changed) if cte is not None]
    if stepwise(definition):
        told.append(arrival_moments(definition, moves))
    extra += told
    columns = [
        count_of(due).label("due"),
        count_of(_move(found)).label("moved"),
        sa.select(sa.func.count()).select_from(moves).where(moves.c.to_step.is_(None)).scalar_subquery().label("ended"),
        (count_of(ledger[1]) if ledger else lit(0)).label("planned"),
        (count_of(ledger[0]) - count_of(ledger[1]) if ledger else lit(0)).label("conflicts"),
        _sum([count_of(cte) for cte in told]).label("emitted"),
    ]
    writes = [*acts.profile_writes(step.do, facts), *acts.segment_writes(definition.workflow, step.do, facts)]
    columns += [write.label(f"writes_{n}") for n, write in enumerate(writes)]
    return sa.select(*columns).add_cte(*extra)


def _moves(definition: Definition, step: Step, uid: int, facts: sa.CTE) -> sa.CTE:
    """Where each journey goes: to_step is null for those that end, and `why` then is the exit reason."""
    f = facts.c
    target = step_of(f.workflow_id, f.version, f.target)
    due = due_of(target, f.customer_id, f.at, f.at_seq, cap_of(definition.workflow, f.entered_at))
    # a target that the version does not hold cannot be (deploy writes all of them), END is the only name without a row
    completed = f.target == lit(END) if "leaving" not in f else sa.and_(f.target == lit(END), f.leaving.is_(None))
    names = ("id", "workflow_id", "version", "customer_id", "entry_key", "trigger_id", "entered_at", "entered_seq", "depth", "detail")
    columns: dict[str, sa.ColumnElement[Any]] = {
        **{name: f[name] for name in names},
        "visit": f.visit_next if "visit_next" in f else f.visit,
        "from_step": sa.literal(step.id, sa.Text),
        "to_step": target.c.step_key,
        "entry_uid": target.c.entry_uid,
        "at": f.at,
        "at_seq": f.at_seq,
        "due_at": due.at,
        "due_seq": due.seq,
        "why": sa.case((completed, lit("completed")), else_=f.why),
    }
    if "stays_until" in f:
        stays = f.stays_until.is_not(None)
        parked = {
            "entry_uid": sa.literal_column(str(uid), sa.BigInteger),
            "at": f.reached_at,
            "at_seq": f.reached_seq,
            "due_at": f.stays_until,
            "due_seq": FOREVER_SEQ,
        }
        columns |= {name: sa.case((stays, value), else_=columns[name]) for name, value in parked.items()}
        columns["stays"] = stays
    query = (
        sa.select(*(value.label(name) for name, value in columns.items()))
        .select_from(due.joined(facts.outerjoin(target, sa.true())))
        .where(sa.or_(target.c.step_key.is_not(None), f.target == lit(END)))
    )
    return _materialized(query, "found" if "stays_until" in f else "moves")


def _materialized(query: sa.Select[Any], name: str) -> sa.CTE:
    return query.cte(name).prefix_with("MATERIALIZED", dialect="postgresql")


def _move(moves: sa.CTE) -> sa.CTE:
    t, m = customer_journeys, moves.c
    ends = m.to_step.is_(None)
    return (
        sa.update(t)
        .where(t.c.id == m.id)
        .values(
            step_key=sa.func.coalesce(m.to_step, t.c.step_key),
            step_uid=sa.func.coalesce(m.entry_uid, t.c.step_uid),
            visit=m.visit,
            depth=m.depth,
            at=m.at,
            at_seq=m.at_seq,
            due_at=sa.func.coalesce(m.due_at, m.at),
            due_seq=sa.func.coalesce(m.due_seq, m.at_seq),
            due_was=sa.null(),
            skip=sa.false(),
            arrived_seq=sa.null(),
            status=sa.case((ends, lit("ended")), else_=lit("active")),
            ended_at=sa.case((ends, m.at)),
            exit_reason=sa.case((ends, m.why)),
        )
        .returning(t.c.id)
        .cte("moved")
    )


def _sum(counts: list[Any]) -> sa.ColumnElement[Any]:
    total: sa.ColumnElement[Any] = lit(0)
    for count in counts:
        total = total + count
    return total
