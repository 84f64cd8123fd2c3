"""The SQL of one declared event source: which rows are new, which of them cannot become events, and the two inserts."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from journey_pipelines.store.tables import event_inbox, event_keys, event_quarantine
from journey_pipelines.workflows.project import EventSource

TS = sa.TIMESTAMP(timezone=True)
RAW_KEPT = 2_000
MAX_PAYLOAD = 65_536
Rows = sa.Select[*tuple[Any, ...]]
# a call takes a hundred arguments, two for a key
_KEYS_A_CALL = 50
_EARLIEST = sa.text("timestamptz '0001-01-02 00:00+00'")
_LATEST = sa.text("timestamptz '9999-12-30 00:00+00'")


class SourceStatements:
    """Statements over one source's table. `cursor_type` is the cursor column's type: timestamptz, timestamp or date.

    Parameters of all: `now`, `since` (the cursor less the overlap, None = from the start), `row_limit`, `ids` (None = all).
    """

    def __init__(self, source_id: str, source: EventSource, cursor_type: str) -> None:
        schema, _, name = source.table.rpartition(".")
        self._id = source_id
        self._source = source
        names = {source.id, source.customer_id, source.occurred_at, source.cursor, *source.payload}
        if source.type_column:
            names.add(source.type_column)
        self._table = sa.table(name, *(sa.column(column) for column in sorted(names)), schema=schema or None).alias("t")
        t = self._table.c
        self._row_text = sa.cast(sa.literal_column("t"), sa.Text)
        # a row without an id is known by its content, so that it is refused once and not at every poll
        self._event_id = sa.func.coalesce(sa.cast(t[source.id], sa.Text), "md5:" + sa.func.md5(self._row_text))
        # never beyond the clock: one row dated 2099, or infinity, would hide everything written until then
        self._cursor_at = sa.func.least(sa.func.greatest(sa.cast(t[source.cursor], TS), _EARLIEST), _now(), type_=TS)
        self._cursor_type: Any = {"timestamptz": TS, "timestamp": sa.TIMESTAMP(), "date": sa.Date()}[cursor_type]
        self._type: sa.ColumnElement[str] = (
            sa.cast(t[source.type_column], sa.Text) if source.type_column else sa.literal(source.type, sa.Text)
        )

    def waiting(self) -> Rows:
        """Whether there is a new row: one row, a boolean."""
        return sa.select(sa.exists(self._new(sa.select(sa.literal(1)).select_from(self._table))))

    def new_ids(self) -> Rows:
        """Ids of the new rows in the order of the cursor; reads no payload."""
        return self._limited(self._new(sa.select(self._event_id.label("event_id"), self._cursor_at.label("cursor_at"))))

    def take(self) -> Rows:
        """New rows into the inbox, those that cannot be events into quarantine. One row: taken, refused, the greatest cursor."""
        read = self._limited(self._new(self._rows())).cte("read").prefix_with("MATERIALIZED")
        judged = sa.select(read, self._refusal(read.c).label("refusal")).cte("judged").prefix_with("MATERIALIZED")
        j = judged.c
        kept = (
            sa.insert(event_inbox)
            .from_select(
                ["source", "source_event_id", "customer_id", "type", "occurred_at", "payload", "received_at"],
                sa.select(sa.literal(self._id, sa.Text), j.event_id, j.customer_id, j.type, j.occurred_at, j.payload, _now())
                .where(j.refusal.is_(None))
                .order_by(j.cursor_at, j.event_id),
            )
            .cte("kept")
        )
        refused = (
            sa.insert(event_quarantine)
            .from_select(
                [
                    "source",
                    "source_event_id",
                    "customer_id",
                    "type",
                    "occurred_at",
                    "received_at",
                    "raw",
                    "reason",
                    "statement",
                    "quarantined_at",
                ],
                sa.select(
                    sa.literal(self._id, sa.Text),
                    j.event_id,
                    sa.func.left(j.customer_id, 200),
                    sa.func.left(j.type, 200),
                    sa.case((sa.func.isfinite(j.occurred_at), j.occurred_at)),
                    _now(),
                    j.raw,
                    j.refusal,
                    sa.literal("source", sa.Text),
                    _now(),
                ).where(j.refusal.is_not(None)),
            )
            .cte("refused")
        )
        return (
            sa.select(
                sa.func.count().label("rows"),
                sa.func.count(j.refusal).label("refused"),
                sa.func.max(j.cursor_at).label("cursor_at"),
            )
            .select_from(judged)
            .add_cte(kept, refused)
        )

    def quarantine(self) -> sa.Insert:
        """The rows `ids` into quarantine with the reason `error` and `sqlstate`; reads no payload."""
        rows = self._new(
            sa.select(
                sa.literal(self._id, sa.Text),
                self._event_id,
                _now(),
                sa.func.left(self._row_text, RAW_KEPT),
                sa.bindparam("error", type_=sa.Text),
                sa.bindparam("sqlstate", type_=sa.Text),
                sa.literal("source", sa.Text),
                _now(),
            ).select_from(self._table)
        )
        names = ["source", "source_event_id", "received_at", "raw", "reason", "sqlstate", "statement", "quarantined_at"]
        return sa.insert(event_quarantine).from_select(names, rows)

    def _rows(self) -> Rows:
        t, source = self._table.c, self._source
        # infinity is a valid timestamp and no point in time
        return sa.select(
            self._event_id.label("event_id"),
            sa.cast(t[source.id], sa.Text).label("given_id"),
            sa.cast(t[source.customer_id], sa.Text).label("customer_id"),
            self._type.label("type"),
            sa.cast(t[source.occurred_at], TS).label("occurred_at"),
            self._cursor_at.label("cursor_at"),
            self._payload().label("payload"),
            sa.func.left(self._row_text, RAW_KEPT).label("raw"),
        )

    def _payload(self) -> sa.ColumnElement[Any]:
        keys = self._source.payload
        whole: sa.ColumnElement[Any] | None = None
        for start in range(0, len(keys), _KEYS_A_CALL):
            pairs: list[Any] = []
            for key in keys[start : start + _KEYS_A_CALL]:
                pairs += [sa.literal(key, sa.Text), self._table.c[key]]
            part = sa.func.jsonb_build_object(*pairs, type_=pg.JSONB)
            whole = part if whole is None else whole.op("||")(part)
        return sa.cast("{}", pg.JSONB) if whole is None else whole

    def _refusal(self, row: Any) -> sa.ColumnElement[Any]:
        def too_long(column: Any, most: int) -> Any:
            return sa.func.length(column) > most

        return sa.case(
            (row.given_id.is_(None) | (row.given_id == ""), f"column {self._source.id} (id) is empty"),
            (too_long(row.given_id, 200), f"column {self._source.id} (id) is longer than 200 characters"),
            (row.customer_id.is_(None) | (row.customer_id == ""), f"column {self._source.customer_id} (customer_id) is empty"),
            (too_long(row.customer_id, 128), f"column {self._source.customer_id} (customer_id) is longer than 128 characters"),
            (row.type.is_(None) | (row.type == ""), f"column {self._source.type_column} (type) is empty"),
            (too_long(row.type, 128), f"column {self._source.type_column} (type) is longer than 128 characters"),
            (row.occurred_at.is_(None), f"column {self._source.occurred_at} (occurred_at) is empty"),
            (~row.occurred_at.between(_EARLIEST, _LATEST), f"column {self._source.occurred_at} (occurred_at) is outside years 1 to 9999"),
            (sa.func.octet_length(sa.cast(row.payload, sa.Text)) > MAX_PAYLOAD, "payload is larger than 64 kB"),
            else_=sa.cast(sa.null(), sa.Text),
        )

    def _new(self, rows: Rows) -> Rows:
        """Rows from the cursor less the overlap on that were not taken in, are not in the inbox and were not refused as they are now."""
        cursor = self._table.c[self._source.cursor]
        since = sa.bindparam("since", type_=TS)
        ids = sa.bindparam("ids", type_=pg.ARRAY(sa.Text))
        # in the column's own type, so that its index is used; times without a zone are in UTC, like the session
        from_start = sa.cast(sa.literal("-infinity", sa.Text), TS)
        reached = cursor >= sa.cast(sa.func.coalesce(since, from_start), self._cursor_type)
        inbox, quarantine = event_inbox.c, event_quarantine.c
        return rows.where(
            reached,
            sa.or_(ids.is_(None), self._event_id == sa.any_(ids)),
            ~sa.exists().where(event_keys.c.key == sa.func.journeys.event_key(self._id, self._event_id, type_=pg.BYTEA)),
            ~sa.exists().where(inbox.source == self._id, inbox.source_event_id == self._event_id),
            # a row that was corrected since reads differently and is tried again
            ~sa.exists().where(
                quarantine.source == self._id,
                quarantine.source_event_id == self._event_id,
                quarantine.raw == sa.func.left(self._row_text, RAW_KEPT),
            ),
        )

    def _limited(self, rows: Rows) -> Rows:
        return rows.order_by(self._table.c[self._source.cursor], self._event_id).limit(sa.bindparam("row_limit", type_=sa.Integer))


def _now() -> sa.BindParameter[datetime]:
    return sa.bindparam("now", type_=TS)
