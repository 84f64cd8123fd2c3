"""What comes next for a person: where each active journey waits, for what and until when, and the messages that are still to leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.store.tables import automation_workflows, messages
from journey_pipelines.workflows.definition import Definition
from journey_pipelines.workflows.model import AfterWait, DateWait, EventWait, Step


@dataclass(frozen=True)
class Due:
    """`at`: when it happens at the latest. `what` in words; `then`: what the step does, in words, empty where it only goes on."""

    at: datetime
    workflow_id: str
    journey_id: int
    step: str
    what: str
    then: str
    held: bool


def due_next(conn: sa.Connection, customer_id: str, journeys: Sequence[Mapping[str, Any]]) -> list[Due]:
    """In the order of time. `journeys` are rows of customer_journeys, active ones."""
    steps = _steps(conn, {(journey["workflow_id"], journey["version"]) for journey in journeys})
    found = []
    for journey in journeys:
        step = steps.get((journey["workflow_id"], journey["version"], journey["step_key"]))
        what = "held or paused" if journey["held_at"] else _waits(step)
        found.append(
            Due(
                journey["due_at"],
                journey["workflow_id"],
                journey["id"],
                journey["step_key"],
                what,
                _does(step),
                journey["held_at"] is not None,
            )
        )
    m = messages.c
    unsent = (
        sa.select(messages)
        .where(m.customer_id == customer_id, m.state.in_(["planned", "deferred", "retry"]))
        .order_by(m.send_after)
        .limit(100)
    )
    for row in conn.execute(unsent).mappings():
        what = f"{row['channel']} {row['step_key']} leaves ({row['state']}{', ' + row['reason'] if row['reason'] else ''})"
        found.append(Due(row["send_after"], row["workflow_id"], row["journey_id"], row["step_key"], what, "", False))
    return sorted(found, key=lambda due: (due.at, due.journey_id))


def _steps(conn: sa.Connection, versions: set[tuple[str, int]]) -> dict[tuple[str, int, str], Step]:
    w = automation_workflows.c
    rows = conn.execute(sa.select(w.id, w.version, w.definition).where(sa.tuple_(w.id, w.version).in_(sorted(versions))))
    return {(row.id, row.version, step.id): step for row in rows for step in Definition.model_validate(row.definition).workflow.steps}


def _waits(step: Step | None) -> str:
    if step is None:
        return "goes on"
    if isinstance(step.wait, EventWait):
        return f"waits for {' or '.join(step.wait.events)}, at most {step.wait.timeout}"
    if isinstance(step.wait, DateWait):
        return f"waits for the date {step.wait.date}"
    if isinstance(step.wait, AfterWait):
        return " ".join(["waits", *([str(step.wait.after)] if step.wait.after else []), *_window(step.wait)])
    return "goes on"


def _window(wait: AfterWait) -> list[str]:
    found = [f"until {wait.until}"] if wait.until else []
    found += [f"until it is between {wait.between[0]} and {wait.between[1]}"] if wait.between else []
    found += ["until the customer's best hour"] if wait.best_time else []
    return [*found, *([f"on {', '.join(wait.on)}"] if wait.on else [])]


def _does(step: Step | None) -> str:
    return ", ".join(action.id if action.id == action.kind else f"{action.kind} {action.id}" for action in step.do) if step else ""
