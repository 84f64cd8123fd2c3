"""A file into the inbox or into history, batch by batch: what `journeys import-events` does, and the first half of `journeys replay`."""

import heapq
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from journey_pipelines.intake.errors import NothingFits
from journey_pipelines.intake.load import SOURCE_PREFIX, Line, Loaded, Loader, loading
from journey_pipelines.intake.mapping import Event, RowMapping, RowRefused
from journey_pipelines.intake.readers import BadRow, Row, read_rows
from journey_pipelines.intake.rejects import Rejects
from journey_pipelines.intake.shape import Shape
from journey_pipelines.store.clock import clock_now

BATCH_ROWS = 10_000
BATCH_BYTES = 16_000_000
# If so many rows at the start are all refused, the options are wrong, not the rows
TRIAL_ROWS = 1_000


@dataclass(frozen=True)
class ImportReport:
    """Rows of the file: `queued` in the inbox, `history` written as history, `known` taken in before, `rejected`, `outside` the time asked
    for.

    `reasons`: why rows were rejected, most frequent first; `rejects`: the file that holds them, None if there is none. `first_at` and
    `last_at` are the earliest and latest time among the events accepted.
    """

    rows: int
    queued: int
    history: int
    known: int
    rejected: int
    outside: int
    reasons: dict[str, int]
    rejects: Path | None
    first_at: datetime | None
    last_at: datetime | None


@dataclass
class _Run:
    rows: int = 0
    outside: int = 0
    loaded: Loaded = field(default_factory=Loaded)
    first_at: datetime | None = None
    last_at: datetime | None = None


def import_events(
    engine: sa.Engine,
    path: Path,
    shape: Shape,
    mapping: RowMapping,
    *,
    source: str | None = None,
    history_before: datetime | None = None,
    not_from: datetime | None = None,
    replayed: bool = False,
    rejects: Path | None = None,
    progress: Callable[[int], None] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> ImportReport:
    """Load `path`. Events before `history_before` become history at once and trigger nothing; events from `not_from` on are left out.

    `source` is the events' source; without one it is `import:TYPE`, so that a file may be read once as purchases and once as visits. The id
    of a row is the hash of its line + its ordinal among equal lines: loading again adds nothing. `progress` is told the position in the
    file, in bytes. Raises FileUnreadable, NothingFits; whatever batch was loaded before stays.
    """
    run = _Run()
    with Rejects(rejects or _beside(path)) as bad, loading(engine, replayed=replayed) as loader:
        for batch in _batches(path, shape, mapping, source, history_before, not_from, bad, run, progress, batch_rows):
            _load(engine, loader, batch, bad, run)
    return ImportReport(
        rows=run.rows,
        queued=run.loaded.queued,
        history=run.loaded.history,
        known=run.loaded.known,
        rejected=bad.count,
        outside=run.outside,
        reasons=dict(bad.reasons.most_common()),
        rejects=bad.path if bad.count else None,
        first_at=run.first_at,
        last_at=run.last_at,
    )


def _load(engine: sa.Engine, loader: Loader, batch: list[Line], bad: Rejects, run: _Run) -> None:
    with engine.connect() as conn:
        now = clock_now(conn)
    loaded = loader.load(batch, now)
    for line, reason in loaded.refused:
        bad.add(line.row.number, reason, line.row.raw)
    run.loaded += Loaded(loaded.queued, loaded.history, loaded.known)


def _batches(
    path: Path,
    shape: Shape,
    mapping: RowMapping,
    source: str | None,
    history_before: datetime | None,
    not_from: datetime | None,
    bad: Rejects,
    run: _Run,
    progress: Callable[[int], None] | None,
    batch_rows: int,
) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for row in read_rows(path, shape, at=progress):
        run.rows += 1
        event = _event(mapping, row, bad)
        if event is None or isinstance(row, BadRow):
            if run.rows == TRIAL_ROWS == bad.count:
                raise NothingFits(_explain(path, bad))
            continue
        if not_from is not None and event.occurred_at >= not_from:
            run.outside += 1
            continue
        run.first_at = event.occurred_at if run.first_at is None else min(run.first_at, event.occurred_at)
        run.last_at = event.occurred_at if run.last_at is None else max(run.last_at, event.occurred_at)
        history = history_before is not None and event.occurred_at < history_before
        batch.append(Line(row, source or f"{SOURCE_PREFIX}:{event.type}"[:64], event, history))
        size += len(row.line)
        if len(batch) >= batch_rows or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if run.rows and run.rows == bad.count:
        raise NothingFits(_explain(path, bad))
    if batch:
        yield batch


def _event(mapping: RowMapping, row: Row | BadRow, bad: Rejects) -> Event | None:
    if isinstance(row, BadRow):
        bad.add(row.number, row.reason, row.raw)
        return None
    try:
        return mapping.event(row.values)
    except RowRefused as error:
        bad.add(row.number, str(error), row.raw)
        return None


def _beside(path: Path) -> Path:
    """Beside the file, or where that is not allowed in the working directory."""
    folder = path.parent if os.access(path.parent, os.W_OK) else Path()
    return folder / (path.name + ".rejected.jsonl")


def _explain(path: Path, bad: Rejects) -> str:
    reasons = "; ".join(f"{reason} ({n}x)" for reason, n in heapq.nlargest(3, bad.reasons.items(), key=lambda item: item[1]))
    found = f"{path}: none of the first {bad.count:,} rows can become an event: {reasons}"
    return f"{found}. See {bad.path} and check the options; nothing was loaded"
