"""One channel's way through a dispatch: what is due, what is being sent, and whether the channel stands still.

The dispatching thread does all the database work; a lane's own thread only sends. So a channel that hangs holds up nobody else.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from journey_pipelines.delivery.channel import Channel, Outcome, Rendered
from journey_pipelines.delivery.claim import LEASE, LEASE_MARGIN, Claimed, Ledger, Prepared
from journey_pipelines.delivery.gate import Consent, Leaving
from journey_pipelines.delivery.send_limits import SendLimits

log = logging.getLogger(__name__)

Sent = tuple[list[Rendered], list[Outcome]]


class Lane:
    """`depth` batches may be with the channel at once: two, so that the next is claimed while one is sent, where a killed worker loses
    nothing by it.
    """

    def __init__(
        self, channel: Channel, consent: Consent, batch_size: int, limits: SendLimits | None = None, leaving: Leaving = ()
    ) -> None:
        self.channel = channel
        self.name = channel.name
        self.ledger = Ledger(self.name, consent, provider=type(channel).__name__, limits=limits, leaving=leaving)
        self.batch_size = max(1, min(batch_size, channel.capability.batch))
        self.depth = 2 if channel.capability.idempotency == "key" else 1
        self.due: deque[int] = deque()
        self.ready: list[Prepared] = []
        self.still_until = 0.0
        self.trouble: str | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"lane-{self.name}")
        self._sending: list[Future[Sent]] = []

    @property
    def flows(self) -> bool:
        """It does not stand still."""
        return time.monotonic() >= self.still_until

    @property
    def open(self) -> bool:
        """May something be claimed for it now?"""
        return self.flows and len(self._sending) < self.depth

    @property
    def busy(self) -> bool:
        return bool(self._sending)

    @property
    def kept_out(self) -> bool:
        """Its last look met others in all shards: that it found nothing says nothing."""
        return self.flows and self.ledger.kept_out

    @property
    def futures(self) -> list[Future[Sent]]:
        return self._sending

    def take(self) -> list[int]:
        """The next ids, at most a batch."""
        return [self.due.popleft() for _ in range(min(self.batch_size, len(self.due)))]

    def start(self, claimed: Sequence[Claimed], since: float) -> None:
        """Hand claimed messages to the channel. `since`: `uptime` before they were claimed, so that no stop in between lengthens the
        lease.
        """
        deadline = since + LEASE - LEASE_MARGIN
        batch = [
            Rendered(c.message.id, c.message.key, c.epoch, c.attempt, c.doubts, c.message.category, c.message.content, deadline)
            for c in claimed
            if c.message.content is not None
        ]
        self._sending.append(self._thread.submit(self._send, batch))

    def finished(self) -> list[Sent]:
        """Batches whose outcomes are known by now, each once; a channel that asks for it stands still from here on."""
        done = [future for future in self._sending if future.done()]
        self._sending = [future for future in self._sending if not future.done()]
        sent = [future.result() for future in done]
        for outcome in (outcome for _, outcomes in sent for outcome in outcomes):
            if outcome.pause is not None:
                self.still_until = max(self.still_until, time.monotonic() + outcome.pause)
                self.trouble = outcome.reason
                # what is due by then is asked again
                self.due.clear()
                self.ready = []
            elif outcome.kind == "accepted":
                self.trouble = None
        return sent

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _send(self, batch: list[Rendered]) -> Sent:
        try:
            outcomes = self.channel.send(batch)
        except Exception as error:
            # a fault of the channel's own code, at an unknown point
            log.exception("channel %s", self.name)
            return batch, [Outcome("unknown", f"channel {self.name}: {type(error).__name__}: {error}")] * len(batch)
        if len(outcomes) != len(batch):
            reason = f"channel {self.name} gave {len(outcomes)} outcomes for {len(batch)} messages"
            return batch, [Outcome("unknown", reason)] * len(batch)
        return batch, outcomes


def wait_for(lanes: Iterable[Lane], seconds: float) -> None:
    """Until a batch of any lane is finished, or the time is over."""
    futures = [future for lane in lanes for future in lane.futures]
    if futures:
        wait(futures, timeout=seconds, return_when=FIRST_COMPLETED)
    elif seconds > 0:
        time.sleep(seconds)
