"""What a step's statement knows of each journey that is due, evaluated once: its place in time, the event that came, what it does, its way.

Before anything is done it is asked whether the journey leaves (`max_age`, exit conditions), and whether the date it waited for is still
that date. Only who passes both acts, and goes the step's own way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.compiler import actions as acts
from journey_pipelines.compiler.calendar_dates import date_of
from journey_pipelines.compiler.details import json_object, null_json
from journey_pipelines.compiler.route import branch_route, split_route
from journey_pipelines.compiler.rule_rows import described
from journey_pipelines.compiler.scopes import context_of, event_of, journey_scope, later, profile_of
from journey_pipelines.compiler.statement import FOREVER_SEQ, TS, lit
from journey_pipelines.compiler.surroundings import Surroundings
from journey_pipelines.compiler.waits import cap_of
from journey_pipelines.compiler.wake import Place, history_of_wait, waits_until
from journey_pipelines.compiler.wall import named
from journey_pipelines.expressions import EventScope, LookUps, Scope, compile_condition
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import END, DateWait, EventWait, ExitRule, Step, Workflow, rule_event

#: the actions whose parameters are evaluated here (the texts of messages are delivery's)
_EVALUATED = ("update_profile", "create_task", "emit_event", "start_workflow")


def exit_conditions(workflow: Workflow) -> list[ExitRule]:
    """The exit rules that are a condition alone: every step asks them."""
    return [rule for rule in workflow.exit if rule.when and not rule.goal and rule_event(rule) is None]


def leaves(definition: Definition, step: Step) -> bool:
    """Whether a journey can end at a step at all."""
    wait, workflow = step.wait, definition.workflow
    targets = [*step.next.targets(), *([wait.missing, wait.past] if isinstance(wait, DateWait) else [])]
    return END in targets or workflow.max_age is not None or bool(exit_conditions(workflow))


def facts_of(definition: Definition, step: Step, due: sa.CTE, around: Surroundings) -> sa.CTE:
    """One row per journey of `due`: its own columns, at and at_seq, arrived_event, why, target, detail, and those of the actions.

    Where the step has such: leaving (the exit reason), routed (whether `target` is the step's own choice), stays_until (the date moved to
    later), and visit_next.
    """
    d = due.c
    facts = _Facts(definition, step, due, around)
    at, arrived_event, why, said = facts.arrived()
    facts.gate(at)
    columns, values = acts.fact_columns(step.do, facts.scope, facts.doing)
    if step.next.split is not None:
        route = split_route(definition, step, due)
    else:
        route = branch_route(step, facts.scope, due, values)
    source = route.joined(facts.look_ups.joined(facts.source))
    detail = [*said, *route.detail, *([lit("values"), json_object(values)] if values else [])]
    if facts.leaving is not None:
        expired = facts.leaving == lit("expired")
        cap = cap_of(definition.workflow, d.entered_at)
        if cap is not None:
            at = (sa.case((expired, sa.func.greatest(cap, d.at)), else_=at[0]), sa.case((expired, FOREVER_SEQ), else_=at[1]))
        columns.append(facts.leaving.label("leaving"))
        why = sa.func.coalesce(facts.leaving, why)
    if facts.ways:
        columns.append(facts.routed.label("routed"))
    if facts.date is not None:
        columns.append(sa.case((facts.turned("stays"), facts.date)).label("stays_until"))
        columns += [d.at.label("reached_at"), d.at_seq.label("reached_seq")]
    if route.back is not None:
        columns.append((d.visit + sa.case((sa.and_(facts.routed, route.back), lit(1)), else_=lit(0))).label("visit_next"))
    names = (
        "id", "customer_id", "shard", "workflow_id", "version", "entry_key", "visit", "held_out", "trigger_id", "entered_at", "entered_seq",
    )  # fmt: skip
    # effects in a row at one instant: where time has passed, nothing set this step off but the clock
    waited = sa.and_(arrived_event.is_(None), at[0] > d.at)
    query = sa.select(
        *(d[name] for name in names),
        sa.case((waited, lit(0)), else_=d.depth).label("depth"),
        at[0].label("at"),
        at[1].label("at_seq"),
        arrived_event.label("arrived_event"),
        why.label("why"),
        (sa.case(*facts.ways, else_=route.target) if facts.ways else route.target).label("target"),
        facts.detail(detail).label("detail"),
        *columns,
    )
    return query.select_from(source).cte("facts").prefix_with("MATERIALIZED", dialect="postgresql")


class _Facts:
    """The laterals so far, and what they say."""

    def __init__(self, definition: Definition, step: Step, due: sa.CTE, around: Surroundings) -> None:
        self.definition, self.step, self.due, self.around = definition, step, due, around
        self.profile, self.context = profile_of(due.c.customer_id), context_of(due.c.id)
        self.source: Any = due
        if _reads_rows(definition, step):
            self.source = due.outerjoin(self.profile, sa.true()).outerjoin(self.context, sa.true())
        self.scope: Scope
        self.look_ups = LookUps()
        self.leaving: sa.ColumnElement[Any] | None = None
        self.date: sa.ColumnElement[Any] | None = None
        self.doing: sa.ColumnElement[bool] = ~due.c.skip
        self.routed: sa.ColumnElement[bool] = sa.true()
        #: (condition, target), (condition, detail): of those who do not go the step's own way
        self.ways: list[tuple[sa.ColumnElement[bool], sa.ColumnElement[Any]]] = []
        self._details: list[tuple[sa.ColumnElement[bool], sa.ColumnElement[Any]]] = []
        self._turn: sa.ColumnElement[Any] | None = None

    def arrived(self) -> tuple[Place, sa.ColumnElement[Any], sa.ColumnElement[Any], list[Any]]:
        """The journey's place in time, the event that came, why it goes on, and what to say of it; sets the scope."""
        d, wait = self.due.c, self.step.wait
        at: Place = (d.due_at, d.due_seq)
        event: EventScope | None = None
        seq: Any = sa.cast(sa.null(), sa.BigInteger)
        why: Any = lit("timer") if wait is not None else lit("at once")
        said: list[Any] = []
        types = self.definition.catalogue
        if isinstance(wait, EventWait):
            came = event_of(d.arrived_seq)
            # the belt: a timeout looks once more before it says that nothing came (engine.md, 6)
            until = waits_until(self.due)
            belt = history_of_wait(wait, self.due, self.context, self.profile, self.around, types, until, d.arrived_seq.is_(None))
            self.source = self.source.outerjoin(came, sa.true()).outerjoin(belt, sa.true())
            event = EventScope(
                payload=sa.func.coalesce(came.c.payload, belt.c.payload, type_=JSONB),
                type=sa.func.coalesce(came.c.type, belt.c.type, type_=sa.Text),
                occurred_at=sa.func.coalesce(came.c.occurred_at, belt.c.occurred_at, type_=TS),
            )
            seq = sa.func.coalesce(d.arrived_seq, belt.c.seq, type_=sa.BigInteger)
            # who was released goes on from there, whatever came before
            found = sa.and_(belt.c.seq.is_not(None), d.due_was.is_(None))
            # `since: entry` takes a late event from before the step: a journey's clock never goes back (engine.md, 1)
            back = sa.and_(found, later((d.at, d.at_seq), (belt.c.occurred_at, belt.c.seq)))
            ways = [(back, at_) for at_ in (d.at, d.at_seq)] if wait.since == "entry" else []
            at = (
                sa.case(*ways[:1], (found, belt.c.occurred_at), else_=d.due_at),
                sa.case(*ways[1:], (found, belt.c.seq), else_=d.due_seq),
            )
            why = sa.case((seq.is_not(None), lit("event")), else_=lit("timeout"))
            said += [lit("arrived"), event.type, lit("event"), seq]
        scope = journey_scope(self.due, self.profile, self.context, event, at, self.around.brand, types)
        self.scope = replace(scope, look_ups=self.look_ups)
        return at, seq, why, said

    def gate(self, at: Place) -> None:
        """Who does not act, or does not go the step's own way: those who leave, and those whose date is another now."""
        workflow, d, wait = self.definition.workflow, self.due.c, self.step.wait
        reasons: list[tuple[sa.ColumnElement[bool], str, str]] = []
        values: dict[str, sa.ColumnElement[Any]] = {}
        cap = cap_of(workflow, d.entered_at)
        if cap is not None:
            reasons.append((at[0] >= cap, "expired", f"max_age {workflow.max_age}"))
        for rule in exit_conditions(workflow):
            compiled = compile_condition(rule.when or "", replace(self.scope, arrived=None))
            values.update(compiled.values)
            reasons.append((compiled.sql, "exit_rule", described(rule)))
        columns: dict[str, sa.ColumnElement[Any]] = {}
        if reasons:
            columns["leaving"] = sa.case(*((condition, lit(reason)) for condition, reason, _ in reasons))
            columns["rule"] = sa.case(*((condition, sa.literal(text, sa.Text)) for condition, _, text in reasons))
        if isinstance(wait, DateWait):
            date = date_of(wait, self.scope)
            self.source = date.joined(self.look_ups.joined(self.source))
            # what it was planned for, before a release moved it
            planned = sa.func.coalesce(d.due_was, d.due_at, type_=TS)
            columns["date"] = date.at
            columns["turn"] = sa.case(
                (date.at.is_(None), lit("missing")), (date.at < planned, lit("past")), (date.at > d.due_at, lit("stays")), else_=lit("due")
            )
        if not columns:
            return
        gate = named("gate", **columns)
        self.source = self.look_ups.joined(self.source).outerjoin(gate, sa.true())
        if reasons:
            self._leave(gate, values)
        if isinstance(wait, DateWait):
            self._turn_to(wait, gate)

    def _leave(self, gate: Any, values: dict[str, sa.ColumnElement[Any]]) -> None:
        self.leaving = gate.c.leaving
        stays = self.leaving.is_(None)
        self.doing, self.routed = sa.and_(self.doing, stays), stays
        self.ways.append((self.leaving.is_not(None), lit(END)))
        said = [lit("rule"), gate.c.rule, *([lit("values"), json_object(values)] if values else [])]
        self._details.append((self.leaving.is_not(None), sa.func.jsonb_build_object(*said, type_=JSONB)))

    def _turn_to(self, wait: DateWait, gate: Any) -> None:
        self.date, self._turn = gate.c.date, gate.c.turn
        acting = ["due", "past"] if wait.past == "continue" else ["due"]
        own_way = ["due", "past"] if wait.past in ("continue", "skip") else ["due"]
        self.doing = sa.and_(self.doing, self._turn.in_([lit(turn) for turn in acting]))
        self.routed = sa.and_(self.routed, self._turn.in_([lit(turn) for turn in own_way]))
        self.ways.append((self._turn == lit("missing"), sa.literal(wait.missing, sa.Text)))
        self.ways.append((self._turn == lit("stays"), sa.literal(self.step.id, sa.Text)))
        if "past" not in own_way:
            self.ways.append((self._turn == lit("past"), sa.literal(wait.past, sa.Text)))
        self._details.append((~self.routed, self._of_date()))

    def turned(self, turn: str) -> sa.ColumnElement[bool]:
        """Whether the date is missing, past, or moved to later (stays); false for whom the journey leaves anyway."""
        assert self._turn is not None
        is_it = self._turn == lit(turn)
        return is_it if self.leaving is None else sa.and_(is_it, self.leaving.is_(None))

    def _of_date(self) -> sa.ColumnElement[Any]:
        return sa.func.jsonb_build_object(lit("date"), self.date, lit("turn"), self._turn, type_=JSONB)

    def detail(self, said: list[Any]) -> sa.ColumnElement[Any]:
        """What the transition's row says: `said` of those who went the step's own way."""
        plain: sa.ColumnElement[Any] = sa.func.jsonb_build_object(*said, type_=JSONB) if said else null_json()
        if self._turn is not None:
            plain = self._of_date().op("||", return_type=JSONB())(plain) if said else self._of_date()
        return sa.case(*self._details, else_=plain) if self._details else plain


def _reads_rows(definition: Definition, step: Step) -> bool:
    """Whether the profile and the entry event are needed."""
    wait = step.wait
    asks = isinstance(wait, DateWait) or (isinstance(wait, EventWait) and bool(wait.match or wait.when))
    acting = any(action.when or action.kind in _EVALUATED for action in step.do)
    return asks or acting or any(branch.when for branch in step.next.branches or ()) or bool(exit_conditions(definition.workflow))
