"""Points in time that a condition or a date waits for, as they go into `customer_moments`: one row a customer, kind and ref."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as pg_insert

from journey_pipelines.store.moment_tables import customer_moments

_COLUMNS = ("customer_id", "kind", "ref", "shard", "at", "known_at")


def planned_moments(rows: sa.Select[tuple[object, ...]], name: str, *, known_late: bool = False) -> sa.CTE:
    """`rows` (customer_id, kind, ref, shard, at, known_at), one a customer, in place of what was planned; the CTE has who got another time.

    Most looks find the time that is written there already, and write nothing. known_late: unless it has become known only after that time,
    because then the row's place among the rounds hangs on when.
    """
    t = customer_moments
    new = pg_insert(t).from_select(list(_COLUMNS), rows)
    other = t.c.at != new.excluded.at
    return (
        new.on_conflict_do_update(
            index_elements=[t.c.customer_id, t.c.kind, t.c.ref],
            set_={"at": new.excluded.at, "known_at": new.excluded.known_at},
            where=sa.or_(other, new.excluded.known_at > new.excluded.at) if known_late else other,
        )
        .returning(t.c.customer_id)
        .cte(name)
    )
