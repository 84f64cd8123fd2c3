"""The loop that sends what is due: gate, render, claim, send, mark, until nothing was due for a while or the time is over.

Several dispatchers may run at once, on this machine or others: claims exclude each other in the database, and nothing here is needed to
know what was sent. Whatever kills one between any two lines, the ledger says what the next has to do.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa

from journey_pipelines.delivery.answers import tell_answers
from journey_pipelines.delivery.channel import Channel
from journey_pipelines.delivery.claim import LEASE
from journey_pipelines.delivery.failpoints import failpoint
from journey_pipelines.delivery.gate import Consent, Leaving, unsent
from journey_pipelines.delivery.lane import Lane, Sent, wait_for
from journey_pipelines.delivery.policies import DeliveryPolicies, read_policies
from journey_pipelines.delivery.render import Renderer
from journey_pipelines.delivery.report import DispatchReport
from journey_pipelines.delivery.rescue import rescue
from journey_pipelines.delivery.send_limits import read_send_limits
from journey_pipelines.delivery.settle import Settled, mark, settle
from journey_pipelines.delivery.timing import read_clock, uptime
from journey_pipelines.store.connect import DatabaseUnavailable
from journey_pipelines.store.hashes import SHARDS
from journey_pipelines.store.tables import messages

# Wall seconds
POLL = 0.2
RESCUE_EVERY = 5.0
# A short loss of the database must not turn known outcomes into doubts: they are marked again until the lease is over
MARK_PAUSES = (0.2, 1.0, 3.0, 8.0, 20.0)
# Turns in a row that may fail by the database's fault; the last waits 6 s
LOSSES = 5
FEWEST_SHARDS = 8

_PASSING = (sa.exc.OperationalError, sa.exc.InterfaceError, DatabaseUnavailable)
log = logging.getLogger(__name__)


def dispatch(
    engine: sa.Engine,
    channels: Mapping[str, Channel],
    *,
    consent: Consent,
    leaving: Leaving = (),
    budget: float = 45.0,
    linger: float = 10.0,
    batch_size: int = 500,
    now: datetime | None = None,
) -> DispatchReport:
    """Send what is due. `budget` and `linger` in seconds of wall time: it ends after `budget`, or when nothing was due for `linger`.

    `channels`: by the ledger's channel name; messages of other channels stay planned and are counted in `not_configured`. `consent`:
    channel -> predicate over a row of customer_profiles. `now`: the time in place of the clock's. `batch_size`: at most so many in one
    claim; a channel's capability may ask for less. The channels stay open; closing them is the caller's.
    """
    with engine.connect() as conn:
        with conn.begin():
            limits = read_send_limits(conn)
        return _Dispatcher(conn, [Lane(channel, consent, batch_size, limits, leaving) for channel in channels.values()], now).run(
            budget, linger
        )


class _Dispatcher:
    def __init__(self, conn: sa.Connection, lanes: list[Lane], now: datetime | None) -> None:
        # one connection for all: each transaction is short, and after a lost connection the next one opens it again
        self._conn = conn
        self._now = now
        self._lanes = lanes
        self._idempotent = [lane.name for lane in self._lanes if lane.channel.capability.idempotency == "key"]
        self._policies = DeliveryPolicies()
        self._renderer = Renderer(self._policies)
        self._report = DispatchReport()
        self._chance = random.Random()  # noqa: S311 -- spreads retries, keeps no secret
        self._width = SHARDS
        self._next_rescue = 0.0
        self._losses = 0

    def run(self, budget: float, linger: float) -> DispatchReport:
        end = time.monotonic() + budget
        last_work = time.monotonic()
        with self._begin() as conn:
            self._policies = read_policies(conn)
        self._renderer = Renderer(self._policies)
        self._report.stopped_reason = "idle" if self._lanes else "no channel"
        try:
            while self._lanes:
                if self._patient_turn():
                    last_work = time.monotonic()
                elif not any(lane.busy or lane.kept_out for lane in self._lanes) and time.monotonic() - last_work >= linger:
                    break
                else:
                    wait_for(self._lanes, POLL)
                if time.monotonic() >= end:
                    self._report.stopped_reason = "budget"
                    break
        finally:
            self._finish()
        self._count_unconfigured()
        return self._report

    def _patient_turn(self) -> bool:
        """A turn; a lost connection or a deadlock is passed over, as each of its transactions can be run again. Not for ever."""
        try:
            moved = self._turn()
        except _PASSING as error:
            self._losses += 1
            if self._losses > LOSSES:
                raise
            log.warning("dispatch: %s", str(error).splitlines()[0])
            time.sleep(POLL * 2**self._losses)
            return False
        self._losses = 0
        return moved

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with self._conn.begin():
            yield self._conn

    def _turn(self) -> bool:
        """One look at everything; True when something moved."""
        moved = self._mark_finished()
        self._rescue()
        for lane in self._lanes:
            if lane.open:
                moved = self._prepare(lane) or moved
                moved = self._claim(lane) or moved
            if lane.busy:
                # while it sends, the next batch is rendered; it is claimed when its turn comes, and the claim looks again
                self._prepare(lane)
        return moved

    def _prepare(self, lane: Lane) -> bool:
        """Gate and render the lane's next batch, if none is ready; True when the gate ended messages."""
        if lane.ready or not lane.flows:
            return False
        suppressed = self._gate(lane) if not lane.due else 0
        ids = lane.take()
        if ids:
            with self._begin() as conn:
                now = read_clock(conn, self._now).now
                rows = lane.ledger.details(conn, ids)
                self._renderer.load(conn, rows)
            lane.ready = self._renderer.prepare(rows, now)
            failpoint("after_render")
        return suppressed > 0

    def _claim(self, lane: Lane) -> bool:
        """Claim what is ready and hand it to the channel."""
        prepared, lane.ready = lane.ready, []
        if not prepared:
            return False
        since = uptime()
        with self._begin() as conn:
            claims = lane.ledger.claim(conn, read_clock(conn, self._now), prepared)
        failpoint("after_claim")
        self._report.claimed += len(claims.claimed)
        self._report.suppressed.update(claims.suppressed)
        self._report.failed += claims.failed
        if claims.claimed:
            lane.start(claims.claimed, since)
        self._adapt(lane, lost=claims.lost, of=len(prepared))
        return claims.lost + claims.limited < len(prepared)

    def _gate(self, lane: Lane) -> int:
        with self._begin() as conn:
            due, suppressed = lane.ledger.due(conn, read_clock(conn, self._now).now, self._shards())
        failpoint("after_gate")
        lane.due.extend(due)
        self._report.suppressed.update(suppressed)
        return suppressed.total()

    def _shards(self) -> list[int]:
        return sorted(self._chance.sample(range(SHARDS), self._width))

    def _adapt(self, lane: Lane, *, lost: int, of: int) -> None:
        """Two dispatchers that keep preparing the same messages take fewer shards each, at random, until they no longer meet."""
        if lost * 4 > of:
            self._width = max(FEWEST_SHARDS, self._width // 2)
            lane.due.clear()
        elif lost == 0:
            self._width = min(SHARDS, self._width * 2)

    def _mark_finished(self) -> bool:
        finished = [(lane, sent) for lane in self._lanes for sent in lane.finished()]
        for lane, sent in finished:
            self._mark(lane, sent)
        return bool(finished)

    def _mark(self, lane: Lane, sent: Sent) -> None:
        failpoint("before_mark")
        pauses = iter(MARK_PAUSES)
        while True:
            try:
                with self._begin() as conn:
                    clock = read_clock(conn, self._now)
                    idempotency = lane.channel.capability.idempotency
                    settled = [
                        settle(message, outcome, idempotency, self._policies.retry, clock, self._chance)
                        for message, outcome in zip(*sent, strict=True)
                    ]
                    marked = mark(conn, clock.now, settled)
                    tell_answers(conn, clock.now, [one for one in settled if one.id in marked])
                break
            except _PASSING:
                pause = next(pauses, None)
                if pause is None:
                    raise
                time.sleep(pause)
        failpoint("after_mark")
        for one in settled:
            self._count(one, fenced=one.id not in marked)

    def _count(self, one: Settled, *, fenced: bool) -> None:
        report = self._report
        if fenced:
            report.fenced += 1
        elif one.state in ("retry", "planned"):
            if one.attempt_spent:
                report.retried += 1
            else:
                report.postponed += 1
        else:
            setattr(report, one.state, getattr(report, one.state) + 1)

    def _rescue(self) -> None:
        if time.monotonic() < self._next_rescue:
            return
        self._next_rescue = time.monotonic() + RESCUE_EVERY
        with self._begin() as conn:
            clock = read_clock(conn, self._now)
            found = rescue(conn, clock, idempotent=self._idempotent, attempts=self._policies.retry.attempts)
        self._report.rescued += found.retried + found.proved
        self._report.in_doubt += found.in_doubt
        self._report.dead += found.dead
        if found.expired:
            self._report.suppressed["expired"] += found.expired

    def _finish(self) -> None:
        """Wait for what is being sent and mark it: a run that is told to stop leaves no doubts behind."""
        end = time.monotonic() + LEASE
        while any(lane.busy for lane in self._lanes) and time.monotonic() < end:
            wait_for(self._lanes, POLL)
            self._mark_finished()
        for lane in self._lanes:
            if lane.trouble is not None:
                self._report.trouble[lane.name] = lane.trouble
            lane.close()

    def _count_unconfigured(self) -> None:
        names = [lane.name for lane in self._lanes]
        with self._begin() as conn:
            now = read_clock(conn, self._now).now
            rows = conn.execute(
                sa.select(messages.c.channel, sa.func.count())
                .where(unsent(messages), messages.c.send_after <= now, messages.c.channel.not_in(names))
                .group_by(messages.c.channel)
            ).all()
        self._report.not_configured = {row[0]: row[1] for row in rows}
