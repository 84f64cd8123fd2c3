"""Which days are to be reported again tonight. Light: the schedule asks this in the code server, without pandas."""

from __future__ import annotations

from datetime import date, timedelta

import sqlalchemy as sa

from journey_pipelines.store.report_tables import report_days
from journey_pipelines.store.tables import journey_transitions
from reports.days import day_of

# as far back as a day may stay open (reports.final.HORIZON), so that no open day is forgotten
LONGEST_DAYS = 400


def days_to_restate(engine: sa.Engine, today: date, *, zone: str = "UTC", first: date | None = None) -> list[date]:
    """Yesterday, and every day before it that was never reported, is not final, or was reported in another zone; oldest first.

    ``today`` is the local day of ``zone`` by the engine's clock. Days before ``first`` (the partitions' start), before anybody entered,
    or more than 400 days ago are left out; empty when ``first`` is not before ``today``. One indexed question each to two tables.
    """
    yesterday = today - timedelta(days=1)
    with engine.connect() as conn:
        beginning = conn.execute(sa.select(journey_transitions.c.at).order_by(journey_transitions.c.id).limit(1)).scalar()
        done = set(conn.execute(sa.select(report_days.c.as_of).where(report_days.c.is_final, report_days.c.zone == zone)).scalars())
    # a day earlier than the first row that was written: an event may come in after a later one
    start = yesterday if beginning is None else day_of(beginning, zone) - timedelta(days=1)
    start = max(start, today - timedelta(days=LONGEST_DAYS), *([first] if first else []))
    candidates = [start + timedelta(days=n) for n in range(max((yesterday - start).days, -1) + 1)]
    return [day for day in candidates if day not in done or day == yesterday]
