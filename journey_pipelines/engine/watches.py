"""Goals and exits that hang on time, of journeys for which nobody has worked out yet when that is (see `compiler.rule_watch`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.engine.statements import run_fixed


def look_again(
    conn: sa.Connection,
    now: datetime,
    *,
    uids: Sequence[int] | None = None,
    ids: Sequence[int] | None = None,
    customers: Sequence[str] | None = None,
) -> int:
    """The next batch looks at them as of `now`: nothing comes of that but the next instant. Returns how many rows that is.

    uids: of rules that have another uid from now on; ids: of journeys that are active again; customers: whose history has changed behind
    the engine's back; None: all.
    """
    values = {"now": now, "uids": uids, "ids": ids, "customers": customers}
    count: int = run_fixed(
        conn, "operations/look_again", {k: list(v) if isinstance(v, Sequence) else v for k, v in values.items()}
    ).scalar_one()
    return count
