"""History through the engine: what a workflow would have done, day by day, had it run then. Sends nothing.

A replay gets a database of its own, created on the server of DATABASE_URL and deployed from the project's folder. In the live database it
would be wrong in both directions: live profiles, journeys and admissions would decide over replayed events, replayed journeys would keep
live people out of workflows, and a dispatch that runs meanwhile would send what the replay plans. In the new database nobody dispatches;
and when the replay ends, also by Ctrl-C, every unsent ledger row becomes `suppressed` with reason `replay`, so that nobody's dispatch can
ever send it. Until then the rows stay `planned`, because an exit that comes later takes back what is unsent, whatever the tick.

The file need not be in the order of time: all of it goes into the inbox first, then time moves on in ticks. Events and timers are worked
strictly before each tick's end, so the result does not depend on the tick (engine.md, 2).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from journey_pipelines.engine.deploy import deploy
from journey_pipelines.engine.reports import TickReport
from journey_pipelines.engine.tick import Worker
from journey_pipelines.intake.errors import ReplayRefused
from journey_pipelines.intake.importing import ImportReport, import_events
from journey_pipelines.intake.mapping import RowMapping
from journey_pipelines.intake.shape import Shape
from journey_pipelines.store.clock import set_clock
from journey_pipelines.store.connect import ensure_database, make_engine
from journey_pipelines.store.migrate import migrate
from journey_pipelines.store.tables import customer_events, customer_journeys, event_inbox, messages
from journey_pipelines.workflows.load import Project

REASON = "replay"
UNSENT = ("planned", "deferred", "retry")
MAX_TICKS = 1_000_000
_CLOSED_AT_ONCE = 50_000


@dataclass(frozen=True)
class ReplayReport:
    """`loaded`: the file; `ticks`: their number; `moved`: the engine's counts over all ticks; `unsent`: ledger rows closed at the end."""

    loaded: ImportReport
    ticks: int
    moved: TickReport
    unsent: int


def replay_database(url: str | sa.URL, name: str, project: Project, start: datetime) -> sa.Engine:
    """An engine on the database `name` beside that of `url`, created if it is not there, migrated, with `project` deployed at `start`.

    Raises ReplayRefused where it is the database of `url` itself or holds events, journeys or messages, ProjectHasErrors,
    DatabaseUnavailable.
    """
    if sa.make_url(url).database == name:
        raise ReplayRefused(f"database {name!r} is the live one; a replay needs one of its own: leave --into out, or name another")
    engine = make_engine(ensure_database(url, name), application_name="journeys replay", statement_timeout=0)
    try:
        migrate(engine)
        with engine.connect() as conn:
            for table in (customer_events, event_inbox, customer_journeys, messages):
                if conn.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
                    raise ReplayRefused(f"database {name!r} is not empty ({table.name} has rows): drop it, or name another with --into")
        deploy(engine, project, start)
    except BaseException:
        engine.dispose()
        raise
    return engine


def tick_ends(start: datetime, end: datetime, tick: timedelta) -> list[datetime]:
    """The ends of all ticks from `start` on; the last one is `end`. Raises ReplayRefused."""
    if not start < end:
        raise ReplayRefused(f"--from must be before --to, got {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M}")
    if tick <= timedelta(0):
        raise ReplayRefused("--tick must be longer than nothing")
    count = -((start - end) // tick)
    if count > MAX_TICKS:
        raise ReplayRefused(f"--tick makes {count:,} ticks, at most {MAX_TICKS:,} are allowed; choose a longer one")
    return [min(start + n * tick, end) for n in range(1, count + 1)]


def replay(
    engine: sa.Engine,
    path: Path,
    shape: Shape,
    mapping: RowMapping,
    *,
    start: datetime,
    end: datetime,
    tick: timedelta,
    source: str | None = None,
    rejects: Path | None = None,
    on_load: Callable[[int], None] | None = None,
    on_tick: Callable[[datetime, TickReport], None] | None = None,
) -> ReplayReport:
    """Feed `path` through the engine of a `replay_database`, from `start` (inclusive) to `end` (exclusive).

    Earlier events become history and trigger nothing, later ones are left out. `on_load` is told the position in the file in bytes,
    `on_tick` the end of each tick and the counts so far.
    """
    ends = tick_ends(start, end, tick)
    moved = TickReport()
    with _nothing_leaves(engine) as closed:
        _show_time(engine, start)
        loaded = import_events(
            engine,
            path,
            shape,
            mapping,
            source=source,
            history_before=start,
            not_from=end,
            replayed=True,
            rejects=rejects,
            progress=on_load,
        )
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(sa.text("ANALYZE"))
        worker = Worker(engine)
        for at in ends:
            moved.add(worker.tick(at, exclusive=True))
            _show_time(engine, at)
            if on_tick is not None:
                on_tick(at, moved)
    return ReplayReport(loaded, len(ends), moved, closed[0])


def _show_time(engine: sa.Engine, at: datetime) -> None:
    """`journeys person` and `status` in this database read the replay's time, not today's."""
    with engine.begin() as conn:
        set_clock(conn, at)


@contextmanager
def _nothing_leaves(engine: sa.Engine) -> Iterator[list[int]]:
    closed = [0]
    try:
        yield closed
    finally:
        while n := _close_unsent(engine):
            closed[0] += n


def _close_unsent(engine: sa.Engine) -> int:
    some = (
        sa.select(messages.c.id).where(messages.c.state.in_([sa.literal_column(f"'{state}'") for state in UNSENT])).limit(_CLOSED_AT_ONCE)
    )
    with engine.begin() as conn:
        now = conn.execute(sa.select(sa.func.journeys.clock_now(type_=sa.TIMESTAMP(timezone=True)))).scalar_one()
        closing = sa.update(messages).where(messages.c.id.in_(some)).values(state="suppressed", reason=REASON, updated_at=now)
        return len(conn.execute(closing.returning(messages.c.id)).all())
