"""When a journey that reaches a step will be due: the target's wait is data (`workflow_steps`), so versions share statements.

Elapsed and calendar waits are computed right here, by whoever moves the journey. What needs more (a window, a date of the customer, a look
into history) has a statement of its own for those who arrive: `wait_kind` arrive, and due at once.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.statement import DEFAULT_ZONE, FOREVER_SEQ, TS, lit
from journey_pipelines.compiler.wall import in_utc, instant_of, interval, span, utc, wall_of
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.store.tables import customer_profiles, workflow_steps
from journey_pipelines.workflows.model import AfterWait, DateWait, EventWait, Step, Workflow


def wait_row(step: Step) -> dict[str, Any]:
    """The wait columns of `workflow_steps`: wait_kind, wait_months, wait_days, wait_elapsed."""
    match step.wait:
        case None:
            return _row("none")
        case EventWait(since="entry") | DateWait():
            return _row("arrive")
        case EventWait():
            return _duration_row(step.wait.timeout)
        case AfterWait():
            return _row("arrive") if step.wait.has_window else _duration_row(step.wait.after)


def arrives(step: Step) -> bool:
    """Whether the step has a statement of its own for those who arrive."""
    return wait_row(step)["wait_kind"] == "arrive"


def _duration_row(duration: Duration) -> dict[str, Any]:
    return _row("calendar" if duration.is_calendar else "elapsed", duration)


def _row(kind: str, duration: Duration | None = None) -> dict[str, Any]:
    length = duration or Duration()
    return {
        "wait_kind": kind,
        "wait_months": length.months,
        "wait_days": length.days,
        "wait_elapsed": timedelta(seconds=float(length.seconds)),
    }


def step_of(
    workflow_id: sa.ColumnElement[Any], version: sa.ColumnElement[Any], step_key: sa.ColumnElement[Any], name: str = "target"
) -> LateralFromClause:
    """The row of `workflow_steps` a journey goes to; none for `end`."""
    s = workflow_steps
    return sa.select(s).where(s.c.workflow_id == workflow_id, s.c.version == version, s.c.step_key == step_key).limit(lit(1)).lateral(name)


def first_step_of(workflow_id: sa.ColumnElement[Any], version: sa.ColumnElement[Any], name: str = "target") -> LateralFromClause:
    """The row of `workflow_steps` where a journey of a version starts: versions may begin with different steps."""
    s = workflow_steps
    start = sa.select(s).where(s.c.workflow_id == workflow_id, s.c.version == version, s.c.position == lit(0))
    return start.limit(lit(1)).lateral(name)


def cap_of(workflow: Workflow, entered_at: sa.ColumnElement[Any]) -> sa.ColumnElement[Any] | None:
    """`max_age`: when a journey expires; None where the workflow sets none."""
    return None if workflow.max_age is None else entered_at + interval(workflow.max_age.elapsed())


@dataclass(frozen=True)
class DueTime:
    """due_at and due_seq of a journey that reaches a step, and the laterals that they read."""

    at: sa.ColumnElement[Any]
    seq: sa.ColumnElement[Any]
    laterals: tuple[LateralFromClause, ...]

    def joined(self, source: Any) -> Any:
        """`source` with the laterals."""
        for lateral in self.laterals:
            source = source.outerjoin(lateral, sa.true())
        return source


def due_of(
    target: Any,
    customer_id: sa.ColumnElement[Any],
    at: sa.ColumnElement[Any],
    at_seq: sa.ColumnElement[Any],
    cap: sa.ColumnElement[Any] | None = None,
) -> DueTime:
    """When a journey that reaches `target` at (at, at_seq) is due, `cap` (see `cap_of`) at the latest."""
    kind = target.c.wait_kind
    calendar = kind == lit("calendar")
    p = customer_profiles
    # an aggregate, so that a customer without a profile has a zone too
    person = (
        sa.select(sa.func.coalesce(sa.func.max(p.c.zone), DEFAULT_ZONE).label("zone"))
        .where(p.c.customer_id == customer_id, calendar)
        .lateral("person")
    )
    length = span(target.c.wait_months, target.c.wait_days)
    wall = wall_of(at, person.c.zone, "wall", calendar)
    back = instant_of(wall.c.local + length, person.c.zone, "back")
    # without a row the zone is not known: the same span on UTC's wall
    calendar_due = sa.func.coalesce(back.c.at, utc(in_utc(at) + length), type_=TS) + target.c.wait_elapsed
    waits = kind.in_([lit("elapsed"), lit("calendar")])
    due = sa.case((calendar, calendar_due), (waits, at + target.c.wait_elapsed), else_=at)
    return DueTime(capped(due, at, cap), sa.case((waits, FOREVER_SEQ), else_=at_seq), (person, wall, back))


def capped(due: sa.ColumnElement[Any], at: sa.ColumnElement[Any], cap: sa.ColumnElement[Any] | None) -> sa.ColumnElement[Any]:
    """A due time of a journey that is at `at`, `cap` at the latest."""
    return due if cap is None else sa.func.least(due, sa.func.greatest(cap, at), type_=TS)
