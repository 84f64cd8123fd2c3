"""What the engine would do in the next hours: the worker runs on a copy, in a time that is moved on from tick to tick.

Nobody sends there, and nobody reacts: no mail is opened, nothing is bought. What is forecast is what follows from what is known now:
events in the inbox, waits that end, schedules, dates, conditions that time alone makes true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from journey_pipelines.engine.reports import TickReport
from journey_pipelines.engine.tick import Worker
from journey_pipelines.store.clock import clock_now
from journey_pipelines.store.moment_tables import operator_holds
from journey_pipelines.store.tables import (
    automation_workflows,
    customer_journeys,
    engine_clock,
    event_quarantine,
    journey_transitions,
    messages,
    workflow_steps,
)

TICK = timedelta(minutes=15)
# The engine's clock never passes the wall; the copy's has to. Frozen, so that a tick's time does not depend on how long it takes.
_FROZEN_CLOCK = """
CREATE OR REPLACE FUNCTION journeys.clock_now() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$ SELECT c.engine_at FROM journeys.engine_clock c $$
"""


@dataclass
class StepForecast:
    """How many journeys reach a step, go on to another, and end there, by reason; how many are in it at the end, and held of these."""

    step: str
    entered: int = 0
    advanced: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    held: int = 0


@dataclass
class WorkflowForecast:
    """`entered`: journeys begun. `steps` in the order of the file, those of which nothing is to be said left out."""

    workflow_id: str
    entered: int = 0
    steps: list[StepForecast] = field(default_factory=list)

    @property
    def ended(self) -> dict[str, int]:
        """Reason -> journeys, over all steps."""
        total: dict[str, int] = {}
        for step in self.steps:
            for reason, n in step.ended.items():
                total[reason] = total.get(reason, 0) + n
        return total


@dataclass(frozen=True)
class MessagesForecast:
    """Ledger rows of one workflow, channel and hour (in UTC). `planned`: would go to the gate; `held_out`: control group;
    `taken_back`: an exit suppresses them before they leave.
    """

    workflow_id: str
    channel: str
    hour: datetime
    planned: int
    held_out: int
    taken_back: int


@dataclass(frozen=True)
class Hold:
    """An operator's hold; `workflow_id` None = all."""

    workflow_id: str | None
    what: str
    why: str


@dataclass(frozen=True)
class Forecast:
    """From `start` to `end`, in the engine's time. `moved`: the engine's own counts; `quarantined`: events that could not be used."""

    start: datetime
    end: datetime
    workflows: list[WorkflowForecast]
    messages: list[MessagesForecast]
    holds: list[Hold]
    quarantined: int
    moved: TickReport


def forecast(
    copy: sa.Engine,
    *,
    hours: float = 24.0,
    tick: timedelta = TICK,
    before_tick: Callable[[datetime], object] | None = None,
    on_tick: Callable[[datetime, TickReport], None] | None = None,
) -> Forecast:
    """Run the engine on `copy` from its clock's now for `hours`. `copy` is changed, its clock for good: never give it the original.

    `before_tick` is called with each tick's time, for what is read from outside the engine's tables; `on_tick` is told it, and the counts
    so far. Raises ValueError for a time or a tick that is not above nothing.
    """
    if hours <= 0 or tick <= timedelta(0):
        raise ValueError(f"forecast: hours and tick must be above 0, got {hours} and {tick}")
    with copy.begin() as conn:
        start = clock_now(conn)
        conn.exec_driver_sql(_FROZEN_CLOCK)
        before = {table.name: _last(conn, table) for table in (journey_transitions, messages, event_quarantine)}
    end, moved, worker = start + timedelta(hours=hours), TickReport(), Worker(copy)
    for at in _ticks(start, end, tick):
        with copy.begin() as conn:
            conn.execute(sa.update(engine_clock).values(engine_at=at))
        if before_tick is not None:
            before_tick(at)
        moved.add(worker.tick(at))
        if on_tick is not None:
            on_tick(at, moved)
    with copy.connect() as conn:
        return Forecast(
            start,
            end,
            _workflows(conn, before["journey_transitions"]),
            _messages(conn, before["messages"]),
            _holds(conn),
            _quarantined(conn, before["event_quarantine"]),
            moved,
        )


def _ticks(start: datetime, end: datetime, tick: timedelta) -> Iterator[datetime]:
    at = start
    while at < end:
        yield at
        at += tick
    yield end


def _last(conn: sa.Connection, table: sa.Table) -> int:
    last: int = conn.scalar(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))) or 0
    return last


def _workflows(conn: sa.Connection, after: int) -> list[WorkflowForecast]:
    found: dict[str, dict[str, StepForecast]] = {}
    entered: dict[str, int] = {}

    def step(workflow_id: str, key: str) -> StepForecast:
        return found.setdefault(workflow_id, {}).setdefault(key, StepForecast(key))

    for row in conn.execute(_moves(after)):
        if row.from_step is None:
            entered[row.workflow_id] = entered.get(row.workflow_id, 0) + row.n
        if row.to_step is not None:
            step(row.workflow_id, row.to_step).entered += row.n
            if row.from_step is not None:
                step(row.workflow_id, row.from_step).advanced += row.n
        else:
            ended = step(row.workflow_id, row.from_step or "").ended
            ended[row.reason] = ended.get(row.reason, 0) + row.n
    j = customer_journeys.c
    standing = sa.select(j.workflow_id, j.step_key, sa.func.count().label("n"), sa.func.count(j.held_at).label("held"))
    for row in conn.execute(standing.where(j.status == sa.literal_column("'active'")).group_by(j.workflow_id, j.step_key)):
        place = step(row.workflow_id, row.step_key)
        place.waiting, place.held = row.n, row.held
    order = _order(conn)
    return [
        WorkflowForecast(name, entered.get(name, 0), sorted(steps.values(), key=lambda s: (order.get((name, s.step), len(order)), s.step)))
        for name, steps in sorted(found.items())
    ]


def _moves(after: int) -> sa.Select[Any]:
    """How often which way was taken; the reason where it was the end."""
    move, journey = journey_transitions.c, customer_journeys.c
    reason = sa.case((move.to_step.is_(None), sa.func.coalesce(journey.exit_reason, "")), else_=None)
    return (
        sa.select(move.workflow_id, move.from_step, move.to_step, reason.label("reason"), sa.func.count().label("n"))
        .select_from(journey_transitions.outerjoin(customer_journeys, journey.id == move.journey_id))
        .where(move.id > after)
        .group_by(move.workflow_id, move.from_step, move.to_step, reason)
    )


def _order(conn: sa.Connection) -> dict[tuple[str, str], int]:
    """(workflow, step) -> its place in the newest version."""
    current, place = automation_workflows.c, workflow_steps.c
    both = workflow_steps.join(automation_workflows, sa.and_(current.id == place.workflow_id, current.version == place.version))
    rows = conn.execute(sa.select(place.workflow_id, place.step_key, place.position).select_from(both).where(current.is_current))
    return {(row.workflow_id, row.step_key): row.position for row in rows}


def _messages(conn: sa.Connection, after: int) -> list[MessagesForecast]:
    m = messages.c
    hour = sa.func.date_trunc("hour", m.send_after, type_=sa.TIMESTAMP(timezone=True))

    def count(*states: str) -> sa.ColumnElement[int]:
        return sa.func.count().filter(m.state.in_(states))

    rows = conn.execute(
        sa.select(m.workflow_id, m.channel, hour, count("planned", "deferred", "retry"), count("held_out"), count("suppressed"))
        .where(m.id > after)
        .group_by(m.workflow_id, m.channel, hour)
        .order_by(hour, m.workflow_id, m.channel)
    )
    return [MessagesForecast(*row) for row in rows]


def _holds(conn: sa.Connection) -> list[Hold]:
    h = operator_holds.c
    open_ = sa.select(h.workflow_id, h.what, h.why).where(h.released_at.is_(None)).order_by(h.workflow_id.nulls_first(), h.what)
    return [Hold(*row) for row in conn.execute(open_)]


def _quarantined(conn: sa.Connection, after: int) -> int:
    n: int = conn.scalar(sa.select(sa.func.count()).select_from(event_quarantine).where(event_quarantine.c.id > after)) or 0
    return n
