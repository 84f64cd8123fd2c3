"""When a journey that reaches a step will be due: the target's wait is data (`workflow_steps`), so versions share statements.

Calendar waits keep the wall clock of the customer's zone: local time plus months and days, then back to UTC through
`zone_offsets`: a time that does not exist becomes the first instant after the gap, an ambiguous one the first (engine.md, 14).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.selectable import LateralFromClause

from journey_pipelines.compiler.statement import DEFAULT_ZONE, FOREVER_SEQ, TS, lit
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.store.tables import customer_profiles, workflow_steps, zone_offsets
from journey_pipelines.workflows.model import AfterWait, EventWait, Step


def wait_row(step: Step) -> dict[str, Any]:
    """The wait columns of `workflow_steps`: wait_kind, wait_months, wait_days, wait_elapsed."""
    match step.wait:
        case None:
            return {"wait_kind": "none", "wait_months": 0, "wait_days": 0, "wait_elapsed": timedelta(0)}
        case EventWait(since="entry"):
            return {**_duration_row(step.wait.timeout), "wait_kind": "arrive"}
        case EventWait():
            return _duration_row(step.wait.timeout)
        case AfterWait():
            return _duration_row(step.wait.after)


def _duration_row(duration: Duration) -> dict[str, Any]:
    calendar = bool(duration.months or duration.days)
    return {
        "wait_kind": "calendar" if calendar else "elapsed",
        "wait_months": duration.months,
        "wait_days": duration.days,
        "wait_elapsed": timedelta(seconds=float(duration.seconds)),
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


def _utc(local: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.timezone(lit("UTC"), local, type_=TS)


def _wall(at: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.timezone(lit("UTC"), at, type_=sa.TIMESTAMP())


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
    target: Any, customer_id: sa.ColumnElement[Any], at: sa.ColumnElement[Any], at_seq: sa.ColumnElement[Any], *, arriving: bool = False
) -> DueTime:
    """When a journey that reaches `target` at (at, at_seq) is due.

    `arriving` is for the statement of the target itself, once arriving is done: it computes the wait behind 'arrive'.
    """
    kind = target.c.wait_kind
    on_the_wall = sa.or_(target.c.wait_months > lit(0), target.c.wait_days > lit(0))
    calendar = sa.and_(kind.in_([lit("calendar"), lit("arrive")]) if arriving else kind == lit("calendar"), on_the_wall)
    p = customer_profiles
    # an aggregate, so that a customer without a profile has a zone too
    person = (
        sa.select(sa.func.coalesce(sa.func.max(p.c.zone), DEFAULT_ZONE).label("zone"))
        .where(p.c.customer_id == customer_id, calendar)
        .lateral("person")
    )
    before, after = zone_offsets.alias("z_from"), zone_offsets.alias("z_to")
    span = sa.func.make_interval(lit(0), target.c.wait_months, lit(0), target.c.wait_days, type_=sa.Interval())
    wall = (
        sa.select((_wall(at) + before.c.utc_offset + span).label("local"))
        .where(calendar, before.c.zone == person.c.zone, before.c.utc_to > at)
        .order_by(before.c.utc_to)
        .limit(lit(1))
        .lateral("wall")
    )
    back = (
        sa.select(sa.func.greatest(after.c.utc_from, _utc(wall.c.local - after.c.utc_offset), type_=TS).label("due"))
        .where(after.c.zone == person.c.zone, after.c.local_to > wall.c.local)
        .order_by(after.c.local_to)
        .limit(lit(1))
        .lateral("back")
    )
    # a date beyond the table of zones: the same span on UTC's wall
    calendar_due = sa.func.coalesce(back.c.due, _utc(_wall(at) + span), type_=TS) + target.c.wait_elapsed
    waits = kind != lit("none") if arriving else kind.in_([lit("elapsed"), lit("calendar")])
    return DueTime(
        sa.case((calendar, calendar_due), (waits, at + target.c.wait_elapsed), else_=at),
        sa.case((waits, FOREVER_SEQ), else_=at_seq),
        (person, wall, back),
    )
