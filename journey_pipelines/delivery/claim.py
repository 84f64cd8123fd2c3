"""Taking messages: which are due, what they need for rendering, and the claim that commits the intent to send.

Three steps, and rendering lies between the second and the third, outside any transaction. Only the claim decides: it holds the shards,
the rows and the profiles, asks the gate again, freezes what will be sent and takes the lease. Rows and profiles that somebody else
holds are left for the next round instead of waited for: the engine locks the two in the other order.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from journey_pipelines.delivery.channel import Content
from journey_pipelines.delivery.claim_statements import (
    FAIL,
    FREEZE,
    LOCK_FREE_SHARDS,
    LOCK_MESSAGES,
    LOCK_PROFILES,
    LOCK_SHARDS,
    SUPPRESS,
    claim_statement,
    details_statement,
)
from journey_pipelines.delivery.failpoints import failpoint
from journey_pipelines.delivery.gate import Consent, Leaving, due_statement
from journey_pipelines.delivery.send_limits import SendLimits
from journey_pipelines.delivery.timing import Reading
from journey_pipelines.store.hashes import SHARDS as ALL_SHARDS
from journey_pipelines.store.patience import BEGINNING, OVERLAP, Patience

# Wall seconds. A send is not begun in the last LEASE_MARGIN of a lease: the slowest single send (see the channels' time-outs) must end
# inside it.
LEASE = 90.0
LEASE_MARGIN = 60.0

# Rows looked at in one round; what passes is rendered and claimed batch by batch
WINDOW = 5_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message ready for its claim: the text, or the `error` that makes it fail. `frozen`: the text is that of an earlier attempt."""

    id: int
    shard: int
    customer_id: str
    key: str
    category: str
    content: Content | None
    error: str | None = None
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this worker may send, under `epoch`."""

    message: Prepared
    epoch: int
    attempt: int
    doubts: int


@dataclass(frozen=True, slots=True)
class Claims:
    """What a claim did: `lost` are messages that somebody else took, changed or holds, `limited` those beyond their workflow's limit of
    sends; neither were touched.
    """

    claimed: list[Claimed]
    suppressed: Counter[str]
    failed: int
    lost: int
    limited: int = 0


class Ledger:
    """The claiming statements of one channel, built once."""

    def __init__(self, channel: str, consent: Consent, provider: str, limits: SendLimits | None = None, leaving: Leaving = ()) -> None:
        self._provider = provider
        self._limits = limits or SendLimits({})
        self._due = due_statement(channel, consent, leaving)
        self._details = details_statement()
        self._claim = claim_statement(channel, consent, leaving)
        #: whether others held all shards when it last looked: then nobody knows whether something is due
        self.kept_out = False
        # what was sent leaves dead entries in the outbox's index, as long as some old snapshot lasts
        self._patience, self._since = Patience(), BEGINNING

    def due(self, conn: sa.Connection, now: datetime, shards: Sequence[int], limit: int = WINDOW) -> tuple[list[int], Counter[str]]:
        """Ids to send, in order, from those of `shards` that nobody else holds; those that must not be sent get their reason here.

        Where a look that found nothing was slow, the next ones ask for what has become due since; a whole look comes after a while, and as
        soon as there is something.
        """
        held = list(conn.scalars(LOCK_FREE_SHARDS, {"shards": list(shards)}))
        self.kept_out = not held
        if not held:
            return [], Counter()
        rooms = self._limits.rooms(conn, now)
        full = [name for name, room in rooms.items() if room <= 0]
        whole, began = self._patience.over, time.monotonic()
        values = {"now": now, "since": BEGINNING if whole else self._since, "shards": held, "row_limit": limit, "full": full}
        rows = conn.execute(self._due, values).all()
        if rows or len(held) < ALL_SHARDS:
            self._patience.forget()
        else:
            self._since = max(now - OVERLAP, BEGINNING)
            if whole:
                self._patience.looked(began)
        refused = [(row.id, row.reason) for row in rows if row.reason is not None]
        counted: Counter[str] = Counter()
        if refused:
            ids, reasons = zip(*refused, strict=True)
            counted.update(conn.scalars(SUPPRESS, {"now": now, "ids": list(ids), "reasons": list(reasons)}))
        failpoint("in_gate")
        return self._limits.fitting(rooms, [(row.id, row.workflow_id) for row in rows if row.reason is None]), counted

    def details(self, conn: sa.Connection, ids: Sequence[int]) -> list[sa.Row[Any]]:
        """Everything a template may read about these messages, in their order; those sent or ended meanwhile are left out."""
        rows = {row.id: row for row in conn.execute(self._details, {"ids": list(ids)})}
        return [rows[message_id] for message_id in ids if message_id in rows]

    def claim(self, conn: sa.Connection, clock: Reading, batch: Sequence[Prepared]) -> Claims:
        """Take the lease on what may still be sent and freeze it; in the caller's transaction, which must commit before the first byte
        leaves.
        """
        conn.execute(LOCK_SHARDS, {"shards": sorted({message.shard for message in batch})})
        workflows = {row.id: row.workflow_id for row in conn.execute(LOCK_MESSAGES, {"ids": [message.id for message in batch]})}
        mine = self._within_limits(conn, clock, [(message.id, workflows[message.id]) for message in batch if message.id in workflows])
        profiles = list(conn.scalars(LOCK_PROFILES, {"customers": sorted({message.customer_id for message in batch})}))
        held = [message for message in batch if message.id in mine]
        ready = {message.id: message for message in held if message.content is not None}
        broken = [message for message in held if message.content is None]
        limited = len(workflows) - len(mine)

        rows: Sequence[sa.Row[Any]] = ()
        if ready:
            rows = conn.execute(
                self._claim,
                {
                    "now": clock.now,
                    "lease_end": clock.after(LEASE),
                    "via": self._provider,
                    "profiles": profiles,
                    "ids": list(ready),
                    "addresses": [message.content.address for message in ready.values() if message.content],
                    "frozen": [message.frozen for message in ready.values()],
                },
            ).all()
        claimed = [Claimed(ready[row.id], row.lease_epoch, row.attempts, row.doubts) for row in rows if row.state == "sending"]
        suppressed = Counter(row.reason for row in rows if row.state == "suppressed")
        self._limits.note(conn, clock.now, [workflows[c.message.id] for c in claimed])
        self._freeze(conn, clock, claimed)
        if broken:
            conn.execute(FAIL, {"now": clock.now, "ids": [m.id for m in broken], "reasons": [m.error for m in broken]})
        failpoint("in_claim")
        return Claims(claimed, suppressed, len(broken), len(batch) - len(rows) - len(broken) - limited, limited)

    def _within_limits(self, conn: sa.Connection, clock: Reading, messages: Sequence[tuple[int, str]]) -> set[int]:
        """Ids of those (id, workflow) that their workflow's limit lets through, in their order. Locks first, then counts."""
        concerned = {workflow for _, workflow in messages if workflow in self._limits}
        if not concerned:
            return {message_id for message_id, _ in messages}
        self._limits.lock(conn, concerned)
        return set(self._limits.fitting(self._limits.rooms(conn, clock.now, concerned), messages))

    def _freeze(self, conn: sa.Connection, clock: Reading, claimed: Sequence[Claimed]) -> None:
        fresh = [(c.message.id, c.message.content) for c in claimed if c.message.content and not c.message.frozen]
        if not fresh:
            return
        conn.execute(
            FREEZE,
            {
                "now": clock.now,
                "ids": [message_id for message_id, _ in fresh],
                "addresses": [content.address for _, content in fresh],
                "subjects": [content.subject for _, content in fresh],
                "texts": [content.text for _, content in fresh],
                "htmls": [content.html for _, content in fresh],
                "headers": [content.headers for _, content in fresh],
            },
        )
