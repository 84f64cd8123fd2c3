"""What one dispatch did, as counts. No person's data: it goes into logs and run metadata."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from journey_pipelines.delivery.channel import VARIABLES

StoppedReason = Literal["idle", "budget", "no channel"]


@dataclass
class DispatchReport:
    """`claimed` counts sends begun; each ends as accepted, retried (waits for another try), failed, in_doubt, dead or postponed (not
    tried, or the channel was unreachable; no attempt spent). `fenced`: outcomes that came after somebody else had claimed the message.

    `suppressed`: reason -> messages. `not_configured`: channel -> due messages that wait for it, `trouble`: channel -> why it stood
    still last.
    """

    claimed: int = 0
    accepted: int = 0
    retried: int = 0
    postponed: int = 0
    failed: int = 0
    in_doubt: int = 0
    dead: int = 0
    fenced: int = 0
    rescued: int = 0
    suppressed: Counter[str] = field(default_factory=Counter)
    not_configured: dict[str, int] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)
    stopped_reason: StoppedReason = "idle"

    def counts(self) -> dict[str, int]:
        """How sends ended, those that there were: accepted, retried, ..."""
        names = ("accepted", "retried", "postponed", "failed", "in_doubt", "dead", "fenced", "rescued")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def notes(self) -> list[str]:
        """What a person should know or do, a sentence each; empty when all is well."""
        said = []
        for channel, count in sorted(self.not_configured.items()):
            wait = f"{count} {channel} message{' waits' if count == 1 else 's wait'}"
            said.append(
                f"{wait}: {f'not configured: set {VARIABLES[channel]}' if channel in VARIABLES else 'this worker has no such channel'}"
            )
        said += [f"{channel} stands still: {reason}" for channel, reason in sorted(self.trouble.items())]
        said += [f"{count} suppressed: {reason}" for reason, count in self.suppressed.most_common()]
        if self.in_doubt:
            said.append(f"{self.in_doubt} in doubt: nobody can say whether they were accepted; see `journeys status`")
        return said
