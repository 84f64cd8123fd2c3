"""Where a worker's questions begin: low-water marks, so that what is dead is not read again at every look (engine.md, 19).

A row that is taken leaves a dead entry in its index, and the entry stays as long as some transaction's snapshot is older: a backup, a
report of an hour. "The first rows of a queue" then reads all the dead ones before them: with 300,000, 190,000 to 600,000 buffers a batch.
So a worker keeps in memory, for each of its shards, the place up to which it has emptied the queues and the time up to which no journey
was due, and asks from there. A mark says: this worker has left nothing below it. What lies below it all the same, and why it is not lost:

- What an app committed late or says of long ago, and what an operator wrote. Every batch begins with a look below the marks (`below.sql`)
  and sets them back to what it finds, so that its order is kept, too. Only where that look is itself slow, because of the dead, it is left
  out for twenty times as long as it took: such a row then waits that long, as if it had come later.
- What another worker left in these shards, whose order with the rest matters. Each transaction that holds shards takes a number after it
  has locked them (`session.take_turn`); where it is not the next after ours, somebody was there, and the look is not left out.
- What this worker's journeys tell: an effect is never before its cause, so the marks go back to the earliest journey that went on (`told`).
- Entries and wakes of a late event are due at its time at the earliest: that mark goes back to the earliest row of the batch (`came`).
- What is given back: a batch works on a copy of the marks, which is kept when it is committed. After a failure, after a build, with another
  deployment, or with an earlier `now`, all are forgotten, which means reading from the beginning.

Nothing above the marks is not nothing: a worker that had work says that none is left only after a look below them (`Worker.batch`), and
each `Worker.tick` begins without marks.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.engine.statements import run_fixed
from journey_pipelines.store.patience import BEGINNING, OVERLAP, Patience

#: time and id of the first row that may be there, as `take.sql` orders them: (effective_at, id); a moment's id is 0
Place = tuple[datetime, int]


@dataclass
class LowWater:
    """The marks of one worker. queues: shard -> place; due: shard -> time. Without a mark: from the beginning.

    complete: whether everything below the marks is known to be empty, too.
    """

    queues: dict[int, Place] = field(default_factory=dict)
    due: dict[int, datetime] = field(default_factory=dict)
    complete: bool = True
    _turn: int | None = None
    _now: datetime = BEGINNING
    _patience: Patience = field(default_factory=Patience)

    def copy(self) -> LowWater:
        """For a transaction that may fail."""
        return replace(self, queues=dict(self.queues), due=dict(self.due))

    def forget(self) -> None:
        """Read from the beginning again."""
        self.queues.clear()
        self.due.clear()
        self.complete = True

    def begin(self, conn: sa.Connection, shards: Sequence[int], now: datetime, turn: int, *, insist: bool) -> None:
        """Look below the marks of `shards`, and set them back to what is there. turn: this transaction's number; insist: however slow."""
        alone = self._turn is not None and turn == self._turn + 1
        if now < self._now:
            self.forget()
        self._turn, self._now = turn, now
        marked = any(shard in self.queues or shard in self.due for shard in shards)
        self.complete = insist or not alone or self._patience.over or not marked
        if not self.complete or not marked:
            return
        before = time.monotonic()
        due = max((self.due[shard] for shard in shards if shard in self.due), default=BEGINNING)
        for row in run_fixed(conn, "below", {**self.values(shards), "due": due, "all": list(shards)}):
            if row.shard is None:
                self.came(shards, row.at)
            else:
                self.queues[row.shard] = (row.at, 0)
        self._patience.looked(before)

    def values(self, shards: Sequence[int]) -> dict[str, Any]:
        """`shards`, `lows` and `places`: what the fixed statements ask for, one each a shard."""
        marks = [self.queues.get(shard, (BEGINNING, 0)) for shard in shards]
        return {"shards": list(shards), "lows": [at for at, _ in marks], "places": [place for _, place in marks]}

    def due_from(self, shards: Collection[int]) -> datetime:
        """No journey of these shards was due before."""
        return min((self.due.get(shard, BEGINNING) for shard in shards), default=BEGINNING)

    def took(self, shards: Iterable[int], ends: Mapping[int, Place], until: datetime) -> None:
        """A batch has taken the queues' rows up to `until`; ends: the first place that may hold a row yet, where it did not take all."""
        for shard in shards:
            self.queues[shard] = max(self.queues.get(shard, (BEGINNING, 0)), ends.get(shard, (until - OVERLAP, 0)))

    def came(self, shards: Iterable[int], at: datetime) -> None:
        """Journeys of these shards may be due from `at` on."""
        for shard in shards:
            if self.due.get(shard, BEGINNING) > at:
                self.due[shard] = at

    def told(self, shards: Iterable[int], at: datetime | None = None) -> None:
        """Something was written into the queues at `at` or later; None: at the marks' own times or later, in whatever place there."""
        for shard in shards:
            mark = self.queues.get(shard)
            if mark is not None:
                self.queues[shard] = (mark[0] if at is None else min(mark[0], at), 0)

    def went(self, shards: Iterable[int], first: datetime | None, until: datetime) -> None:
        """Of what was due up to `until`, `first` was the earliest; None: nothing was."""
        reached = until - OVERLAP if first is None else first
        for shard in shards:
            self.due[shard] = max(self.due.get(shard, BEGINNING), reached)
