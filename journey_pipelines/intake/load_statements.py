"""The SQL of a load: a session's temporary tables, and the statements that number equal lines, leave out what is known and insert the
rest.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from journey_pipelines.store.tables import customer_event_stats, customer_events, event_inbox, event_keys

TS = sa.TIMESTAMP(timezone=True)

session_tables = sa.MetaData()
import_batch = sa.Table(
    "import_batch",
    session_tables,
    sa.Column("pos", sa.Integer, nullable=False),
    sa.Column("line_hash", pg.BYTEA, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("occurred_at", TS, nullable=False),
    sa.Column("payload", pg.JSONB, nullable=False),
    sa.Column("profile", pg.JSONB),
    sa.Column("history", sa.Boolean, nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)
COPY_BATCH = "COPY import_batch (pos, line_hash, source, customer_id, type, occurred_at, payload, profile, history) FROM STDIN"

#: how often each line was seen so far: on the server's disk, because equal lines may lie far apart and no window in memory is enough
import_lines = sa.Table(
    "import_lines",
    session_tables,
    sa.Column("line_hash", pg.BYTEA, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="PRESERVE ROWS",
)
#: keys of file rows that wait in the inbox: a second import before the next drain adds nothing either
import_queued = sa.Table(
    "import_queued",
    session_tables,
    sa.Column("key", pg.BYTEA, primary_key=True),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="PRESERVE ROWS",
)
import_new = sa.Table(
    "import_new",
    session_tables,
    sa.Column("pos", sa.Integer, nullable=False),
    sa.Column("key", pg.BYTEA, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("source_event_id", sa.Text, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("occurred_at", TS, nullable=False),
    sa.Column("received_at", TS, nullable=False),
    sa.Column("payload", pg.JSONB, nullable=False),
    sa.Column("profile", pg.JSONB),
    sa.Column("history", sa.Boolean, nullable=False),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DELETE ROWS",
)

_NOW = sa.bindparam("now", type_=TS)
_REPLAYED = sa.bindparam("replayed", type_=sa.Boolean)


def _key(source: sa.ColumnElement[str], event_id: sa.ColumnElement[str]) -> sa.ColumnElement[bytes]:
    return sa.func.journeys.event_key(source, event_id, type_=pg.BYTEA)


def remember_queued(prefix: str) -> sa.Insert:
    """Keys of the inbox rows whose source begins with `prefix`."""
    inbox = event_inbox.c
    queued = sa.select(_key(inbox.source, inbox.source_event_id)).where(
        sa.func.starts_with(inbox.source, prefix), inbox.source_event_id.is_not(None)
    )
    return pg.insert(import_queued).from_select(["key"], queued).on_conflict_do_nothing()


def _number_equal_lines() -> sa.Insert:
    """`import_batch` -> `import_new`: each row with its id, hash of the line + ordinal among equal lines; without the rows already taken
    in.
    """
    batch = import_batch.c
    seen = pg.insert(import_lines).from_select(
        ["line_hash", "n"], sa.select(batch.line_hash, sa.func.count()).group_by(batch.line_hash).order_by(batch.line_hash)
    )
    counted = (
        seen.on_conflict_do_update(index_elements=["line_hash"], set_={"n": import_lines.c.n + seen.excluded.n})
        .returning(import_lines.c.line_hash, import_lines.c.n)
        .cte("counted")
    )
    in_batch = sa.func.count().over(partition_by=batch.line_hash)
    place = sa.func.row_number().over(partition_by=batch.line_hash, order_by=batch.pos)
    ordinal = counted.c.n - in_batch + place
    numbered = (
        sa.select(
            import_batch,
            (sa.func.encode(batch.line_hash, "hex") + "-" + sa.cast(ordinal, sa.Text)).label("source_event_id"),
            sa.case((_REPLAYED, batch.occurred_at), else_=sa.func.least(batch.occurred_at, _NOW)).label("received_at"),
        )
        .join(counted, counted.c.line_hash == batch.line_hash)
        .cte("numbered")
    )
    keyed = sa.select(numbered, _key(numbered.c.source, numbered.c.source_event_id).label("key")).cte("keyed").prefix_with("MATERIALIZED")
    names = [column.name for column in import_new.columns]
    return sa.insert(import_new).from_select(
        names,
        sa.select(*(keyed.c[name] for name in names)).where(
            ~sa.exists().where(event_keys.c.key == keyed.c.key), ~sa.exists().where(import_queued.c.key == keyed.c.key)
        ),
    )


def _into_inbox() -> sa.Insert:
    names = ["source", "source_event_id", "customer_id", "type", "occurred_at", "payload", "profile", "received_at"]
    # the identity is drawn above the sort, so its order is the file's
    rows = sa.select(*(import_new.c[name] for name in names)).where(~import_new.c.history).order_by(import_new.c.pos)
    return sa.insert(event_inbox).from_select(names, rows)


_EFFECTIVE = sa.func.least(import_new.c.occurred_at, import_new.c.received_at + sa.cast("5 minutes", pg.INTERVAL), type_=TS)


def _into_history() -> sa.Select[int]:
    """Keys, history and statistics in one statement; gives the number of rows. Call it under the shard locks."""
    new = import_new.c
    ordered = sa.select(import_new, _EFFECTIVE.label("effective_at")).where(new.history).order_by(new.pos).subquery("ordered")
    seq = sa.func.nextval(sa.func.pg_get_serial_sequence("journeys.event_inbox", "id"), type_=sa.BigInteger)
    rows = sa.select(seq.label("seq"), ordered).cte("rows").prefix_with("MATERIALIZED")
    r = rows.c
    keys = sa.insert(event_keys).from_select(["key", "seq"], sa.select(r.key, r.seq)).cte("new_keys")
    events = (
        sa.insert(customer_events)
        .from_select(
            [
                "seq",
                "customer_id",
                "shard",
                "type",
                "occurred_at",
                "original_occurred_at",
                "received_at",
                "source",
                "source_event_id",
                "payload",
            ],
            sa.select(
                r.seq,
                r.customer_id,
                sa.func.journeys.shard_of(r.customer_id),
                r.type,
                r.effective_at,
                sa.func.nullif(r.occurred_at, r.effective_at),
                r.received_at,
                r.source,
                r.source_event_id,
                r.payload,
            ),
        )
        .cte("into_history")
    )
    totals = (
        sa.select(
            r.customer_id,
            r.type,
            sa.func.journeys.shard_of(r.customer_id),
            sa.func.min(r.effective_at),
            sa.func.max(r.effective_at),
            sa.func.max(r.seq),
            sa.func.count(),
        )
        .group_by(r.customer_id, r.type)
        .order_by(r.customer_id, r.type)
    )
    names = ["customer_id", "type", "shard", "first_at", "last_at", "last_seq", "n"]
    stats = pg.insert(customer_event_stats).from_select(names, totals)
    old, add = customer_event_stats.c, stats.excluded
    counted = stats.on_conflict_do_update(
        index_elements=["customer_id", "type"],
        set_={
            "first_at": sa.func.least(old.first_at, add.first_at),
            "last_at": sa.func.greatest(old.last_at, add.last_at),
            "last_seq": sa.func.greatest(old.last_seq, add.last_seq),
            "n": old.n + add.n,
        },
    ).cte("counted")
    return sa.select(sa.func.count()).select_from(rows).add_cte(keys, events, counted)


def _patches() -> sa.Subquery:
    """Profile patches of the history rows, `round` n = a customer's n-th, in the order of their events; of equal patches in a row only the
    last counts.
    """
    new = import_new.c
    order = (new.occurred_at, new.pos)
    following = sa.func.lead(new.profile).over(partition_by=new.customer_id, order_by=order)
    distinct = (
        sa.select(new.customer_id, new.profile, _EFFECTIVE.label("at"), new.pos, new.occurred_at, following.label("next_one"))
        .where(new.history, new.profile.is_not(None))
        .subquery("all_patches")
    )
    d = distinct.c
    return (
        sa.select(
            d.customer_id,
            d.profile,
            d.at,
            sa.func.row_number().over(partition_by=d.customer_id, order_by=(d.occurred_at, d.pos)).label("round"),
        )
        .where(d.profile.is_distinct_from(d.next_one))
        .subquery("patches")
    )


patches = _patches()
NUMBER_EQUAL_LINES = _number_equal_lines()
INTO_INBOX = _into_inbox()
INTO_HISTORY = _into_history()
PATCH_ROUNDS = sa.select(sa.func.max(patches.c.round))
APPLY_PATCHES = sa.select(
    sa.func.journeys.apply_profiles(
        sa.func.array_agg(patches.c.customer_id), sa.func.array_agg(patches.c.profile), sa.func.array_agg(patches.c.at)
    )
).where(patches.c.round == sa.bindparam("round", type_=sa.BigInteger))
