"""The ledger as frames: one aggregated frame a question, read in one snapshot so that the figures of a report agree.

Only counting happens here (in ``sql/``); what the counts mean is decided in `metrics`, `funnel` and `final`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
import sqlalchemy as sa

from reports.days import Span

# a nightly report may think longer than a tick of the engine
STATEMENT_TIMEOUT = "600s"


@dataclass(frozen=True)
class Ledger:
    """What a report of the last day of ``window`` needs. ``day_no`` in the frames is 1 for the window's first day.

    workflows: workflow_id, version, is_current, name, status, category, definition (dict) · steps: workflow_id, version, step_key, position
    outcomes: day_no, workflow_id, version, trigger_id, exit_reason (None = under way), held_out, n
    messages: day_no, workflow_id, version, channel, state, reason, n · facts (of the last day): workflow_id, version, fact, n
    conversions: day_no, workflow_id, version, exposed, journeys, conversions, value
    hours, visits: of the last day by version · visits_merged: the same, all versions together as version 0
    hours_window, visits_window: of the whole window, all versions together as version 0
    pending_at: the earliest moment that the engine has still to work through, None when it has nothing to do
    """

    window: Span
    workflows: pd.DataFrame
    steps: pd.DataFrame
    outcomes: pd.DataFrame
    messages: pd.DataFrame
    conversions: pd.DataFrame
    facts: pd.DataFrame
    hours: pd.DataFrame
    hours_window: pd.DataFrame
    visits: pd.DataFrame
    visits_merged: pd.DataFrame
    visits_window: pd.DataFrame
    pending_at: datetime | None


def read_ledger(conn: sa.Connection, window: Span, day: Span) -> Ledger:
    """Read everything for one report. ``conn`` is in a transaction whose snapshot does not move (repeatable read)."""
    conn.execute(sa.select(sa.func.set_config("statement_timeout", STATEMENT_TIMEOUT, True)))
    wide = {"from_at": window.from_at, "to_at": window.to_at}
    narrow = {"from_at": day.from_at, "to_at": day.to_at}
    by_day = {**wide, "bounds": list(window.bounds)}
    pending_at: datetime | None = conn.execute(_statement("pending")).scalar_one()
    return Ledger(
        window=window,
        workflows=_frame(conn, "workflows"),
        steps=_frame(conn, "steps"),
        outcomes=_frame(conn, "outcomes", **by_day),
        messages=_frame(conn, "messages", **by_day),
        conversions=_frame(conn, "conversions", **by_day),
        facts=_frame(conn, "facts", **narrow),
        hours=_frame(conn, "completion_hours", **narrow, by_version=True),
        hours_window=_frame(conn, "completion_hours", **wide, by_version=False),
        visits=_frame(conn, "visits", **narrow, by_version=True),
        visits_merged=_frame(conn, "visits", **narrow, by_version=False),
        visits_window=_frame(conn, "visits", **wide, by_version=False),
        pending_at=pending_at,
    )


def _frame(conn: sa.Connection, name: str, **values: Any) -> pd.DataFrame:
    found = conn.execute(_statement(name), values)
    # object columns: what SQL calls null stays None, and numeric stays Decimal
    return pd.DataFrame([tuple(row) for row in found], columns=list(found.keys()), dtype=object)


@cache
def _statement(name: str) -> sa.TextClause:
    return sa.text((files("reports") / "sql" / f"{name}.sql").read_text(encoding="utf-8"))
