"""`in_flight: exit`: a new version ends the journeys of those before it, instead of letting them go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.engine.statements import run_fixed

#: journeys a statement: some seconds of work for a million
BATCH = 10_000


@dataclass(frozen=True)
class Retired:
    """Journeys ended, by exit reason, and messages that they take with them."""

    version_retired: int = 0
    step_removed: int = 0
    taken_back: int = 0


def retire(conn: sa.Connection, workflow_id: str, version: int, now: datetime, *, batch: int = BATCH) -> Retired:
    """End every active journey of the workflow in a version before `version`: exit_reason step_removed where its step is not in `version`,
    else version_retired; unsent messages are suppressed (reason exit).

    After `workflow_steps` of `version` and deployment.named_events are written; the caller holds the deployment, so nobody moves meanwhile.
    """
    ids = list(run_fixed(conn, "operations/outdated", {"workflow": workflow_id, "version": version}).scalars())
    total = Retired()
    for start in range(0, len(ids), batch):
        row = run_fixed(conn, "operations/retire", {"ids": ids[start : start + batch], "version": version, "now": now}).one()
        total = Retired(
            total.version_retired + row.version_retired, total.step_removed + row.step_removed, total.taken_back + row.taken_back
        )
    return total
