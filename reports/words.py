"""Figures and codes as people read them. Every rate keeps its numerator and denominator; small ones are not printed as rates."""

from __future__ import annotations

from dataclasses import dataclass

MIN_RATE_N = 30
"""Below 30 observations a percentage says more about luck than about the workflow (reports.md)."""

EXIT_WORDS = {
    "completed": "completed all steps",
    "goal": "reached the goal",
    "exit_rule": "left by an exit rule",
    "unsubscribed": "unsubscribed",
    "erased": "erased on request",
    "version_retired": "version was retired",
    "step_removed": "step was removed",
    "error": "stopped by an error",
    "manual": "taken out by hand",
    "expired": "maximum age reached",
}
STATE_WORDS = {
    "accepted": "accepted",
    "planned": "planned",
    "deferred": "put off",
    "sending": "being sent",
    "retry": "to be tried again",
    "in_doubt": "in doubt",
    "failed": "failed",
    "suppressed": "not sent",
    "held_out": "held out",
    "dead": "given up",
}
CHANNEL_WORDS = {"email": "E-mail", "sms": "SMS", "push": "Push", "webhook": "Webhook"}


@dataclass(frozen=True)
class Rate:
    """A share of counted things. ``value`` is None below `MIN_RATE_N`, so that no caller prints it by mistake."""

    numerator: int
    denominator: int

    @property
    def value(self) -> float | None:
        if self.denominator < MIN_RATE_N:
            return None
        return round(self.numerator / self.denominator, 4)

    def __str__(self) -> str:
        if self.value is None:
            return "too few"
        return f"{100 * self.numerator / self.denominator:.1f}\u00a0%"

    @property
    def basis(self) -> str:
        """``310 of 500``: printed beside every rate."""
        return f"{count(self.numerator)} of {count(self.denominator)}"


def count(n: int) -> str:
    """``12,345``."""
    return f"{int(n):,}"


def duration(seconds: float | None) -> str:
    """A duration in the largest unit that keeps two figures: ``45 s``, ``12 min``, ``3.5 h``, ``2.5 days``; ``–`` for none."""
    if seconds is None or seconds != seconds:
        return "–"
    seconds = float(seconds)
    if seconds < 90:
        return f"{seconds:.0f}\u00a0s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f}\u00a0min"
    if seconds < 48 * 3600:
        return f"{_plain(seconds / 3600)}\u00a0h"
    return f"{_plain(seconds / 86400)}\u00a0days"


def phrase(code: str | None) -> str:
    """A reason code of the ledger in words: ``no_consent`` -> ``no consent``; a missing one is said to be missing."""
    return code.replace("_", " ") if code else "no reason recorded"


def _plain(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
