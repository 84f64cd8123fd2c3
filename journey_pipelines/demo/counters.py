"""The four counters that judge a run: lost, duplicated, against consent, stuck. All must be 0.

They are told by witnesses: the shop's journals (what it committed, who consented when), the sandbox's journal (what it accepted),
and the tables. No engine code is imported, so that the engine is not asked about itself: psycopg and json, no more.

    python -m journey_pipelines.demo.counters [--folder .journeys/demo] [--database-url URL] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

OVERDUE = timedelta(minutes=5)
# An order younger than this (wall seconds) may not have been read from the shop's table yet: polled every few seconds.
UNREAD_FOR = 30.0
_SHOWN = 10
CHANNELS = ("email", "sms", "push")
# Sources that write to the inbox themselves; any other is a table that the engine reads when it gets to it.
APPS = ("shop", "sandbox")
_Ledger = dict[str, tuple[str, datetime | None, str, str]]

_HISTORY = "SELECT source, source_event_id FROM journeys.customer_events WHERE source = ANY (%s) AND source_event_id IS NOT NULL"
_QUARANTINE = "SELECT source, source_event_id FROM journeys.event_quarantine WHERE source = ANY (%s) AND source_event_id IS NOT NULL"
_INBOX = "SELECT source, source_event_id FROM journeys.event_inbox WHERE source = ANY (%s) AND source_event_id IS NOT NULL"
_LEDGER = """
SELECT message_key, category, claimed_at, state, channel FROM journeys.messages WHERE message_key = ANY (%s) OR state = 'accepted'
"""
_STUCK = """
WITH clock AS (SELECT journeys.clock_now() - %(overdue)s AS late)
SELECT 'journey ' || id || ' of ' || customer_id || ' at ' || step_key || ', due ' || due_at
  FROM journeys.customer_journeys, clock WHERE status = 'active' AND held_at IS NULL AND due_at < late
UNION ALL
SELECT 'message ' || message_key || ' ' || state || ', to be sent ' || send_after
  FROM journeys.messages, clock WHERE state IN ('planned', 'deferred', 'retry') AND send_after < late
UNION ALL
SELECT 'message ' || message_key || ' sending, lease until ' || lease_until
  FROM journeys.messages, clock WHERE state = 'sending' AND lease_until < late
UNION ALL
SELECT 'event ' || id || ' of ' || customer_id || ' in the inbox since ' || received_at
  FROM journeys.event_inbox, clock WHERE effective_at < late AND received_at < late
"""


@dataclass
class Counters:
    """The four counters, what explains them (first ten of each), and figures beside them that are no fault by themselves."""

    lost: int = 0
    duplicated: int = 0
    against_consent: int = 0
    stuck: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    waiting: int = 0
    """committed by the shop and still in the inbox, or in an order not yet read"""
    in_flight: int = 0
    """accepted after a withdrawal that came after the claim: allowed by the promise"""
    phantoms: int = 0
    """accepted says the ledger, never seen by the sandbox"""
    strangers: int = 0
    """accepted by the sandbox without a row in the ledger"""
    committed: int = 0
    accepted: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.against_consent or self.stuck)


def count(connection: psycopg.Connection[Any], folder: Path) -> Counters:
    """Read the journals under `folder` and the tables; nothing is written. Events committed while it reads are not judged."""
    events = [line for name in ("shop/events", "sandbox/reactions") for line in _read(folder, name)]
    committed = {(str(line["source"]), str(line["id"])): float(line["at"]) for line in events}
    received = [line for line in _read(folder, "sandbox/accepted") if line["kind"] == "accepted"]
    profiles = list(_read(folder, "shop/profiles"))
    counters = Counters(committed=len(committed), accepted=len(received))
    # The journals were read first and the tables are read in one snapshot: what is missing there was there to be seen.
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        keys = sorted({line["key"] for line in received})
        ledger: _Ledger = {row[0]: row[1:] for row in connection.execute(_LEDGER, (keys,))}
        _lost(connection, counters, committed)
        _duplicated(counters, received)
        _against_consent(counters, received, profiles, ledger)
        _note(counters, "stuck", [row[0] for row in connection.execute(_STUCK, {"overdue": OVERDUE})])
    said = {key for key, (_, _, state, channel) in ledger.items() if state == "accepted" and channel in CHANNELS}
    counters.phantoms = len(said - set(keys))
    return counters


def _lost(connection: psycopg.Connection[Any], counters: Counters, committed: dict[tuple[str, str], float]) -> None:
    sources = sorted({source for source, _ in committed})
    found = {row for statement in (_HISTORY, _QUARANTINE) for row in connection.execute(statement, (sources,))}
    waiting = set(connection.execute(_INBOX, (sources,)))
    missing = {identity: at for identity, at in committed.items() if identity not in found}
    young = time.time() - UNREAD_FOR
    unread = {identity for identity, at in missing.items() if identity in waiting or (identity[0] not in APPS and at > young)}
    counters.waiting = len(unread)
    _note(counters, "lost", [f"{source} {identity}" for source, identity in missing if (source, identity) not in unread])


def _duplicated(counters: Counters, received: list[dict[str, Any]]) -> None:
    times = Counter(line["key"] for line in received if line["key"])
    _note(counters, "duplicated", [f"{key} accepted {n} times" for key, n in times.items() if n > 1])


def _against_consent(counters: Counters, received: list[dict[str, Any]], profiles: list[dict[str, Any]], ledger: _Ledger) -> None:
    consents, owners = _consents(profiles), _owners(profiles)
    wrong = []
    for line in received:
        row = ledger.get(line["key"])
        if row is None:
            counters.strangers += 1
            continue
        category, claimed_at, *_ = row
        if category != "marketing":
            continue
        people = owners.get((line["channel"], line["to"]), set())
        if not any(consents[someone].may(claimed_at) for someone in people):
            wrong.append(f"{line['key']} to {line['to']}, claimed {claimed_at}: {'nobody of the shop' if not people else 'no consent'}")
        elif not any(consents[someone].last for someone in people):
            counters.in_flight += any(consents[someone].withdrawn_before_wall(line["at"]) for someone in people)
    _note(counters, "against_consent", wrong)


class _Consent:
    """One customer's consent over time, as the shop knew it.

    A write took effect somewhere between `began_at` (before its transaction) and `committed_at` (after its commit), times of the engine's
    clock. The promise is that a withdrawal committed before the claim commits is honoured; a grant may count from when it began.
    """

    def __init__(self, writes: list[dict[str, Any]]) -> None:
        self._writes = sorted(
            ((_time(w["began_at"]), _time(w["committed_at"]), bool(w["consent"]), float(w["at"])) for w in writes), key=lambda w: w[:2]
        )
        self._committed = [w[1] for w in self._writes]
        self.last = self._writes[-1][2]

    def may(self, at: datetime | None) -> bool:
        """Whether consent can have been there at a time of the clock."""
        if at is None:
            return False
        settled = bisect_right(self._committed, at)
        current = settled > 0 and self._writes[settled - 1][2]
        return current or any(consent for began, _, consent, _ in self._writes[settled:] if began <= at)

    def withdrawn_before_wall(self, at: float) -> bool:
        before = [consent for _, _, consent, wall in self._writes if wall <= at]
        return bool(before) and not before[-1]


def _consents(profiles: list[dict[str, Any]]) -> dict[str, _Consent]:
    writes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in profiles:
        writes[line["customer_id"]].append(line)
    return {customer: _Consent(lines) for customer, lines in writes.items()}


def _owners(profiles: list[dict[str, Any]]) -> dict[tuple[str, str], set[str]]:
    owners: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in profiles:
        for channel in CHANNELS:
            if line[channel]:
                owners[channel, line[channel]].add(line["customer_id"])
    return owners


def _note(counters: Counters, name: str, found: list[str]) -> None:
    setattr(counters, name, len(found))
    if found:
        counters.examples[name] = found[:_SHOWN]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _read(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    path = folder / f"{name}.jsonl"
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            # A killed writer leaves half a line, which it never claimed to have written.
            if line.endswith(b"\n") and line.strip():
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m journey_pipelines.demo.counters", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("JOURNEYS_DATA") or ".journeys") / "demo")
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: DATABASE_URL, or the running demo's")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    running = options.folder / "running.json"
    url = options.database_url or (json.loads(running.read_text())["database_url"] if running.exists() else None)
    if not url:
        sys.stderr.write(f"counters: no database: set DATABASE_URL, or run them beside `make demo` ({running} is not there)\n")
        return 2
    try:
        with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://", 1), connect_timeout=5) as connection:
            counters = count(connection, options.folder)
    except psycopg.Error as error:
        sys.stderr.write(f"counters: {' '.join(str(error).split())}\n")
        return 2
    figures = asdict(counters)
    examples = figures.pop("examples")
    if options.json:
        sys.stdout.write(json.dumps({**figures, "examples": examples}) + "\n")
    else:
        sys.stdout.writelines(f"{name.replace('_', ' '):16} {value:>9,}\n" for name, value in figures.items())
        sys.stdout.writelines(f"{name}: {line}\n" for name, lines in examples.items() for line in lines)
    return 0 if counters.good else 1


if __name__ == "__main__":
    sys.exit(main())
