"""Route, second half: round n is everybody's n-th moment, worked set-based (engine.md, 2).

Timers before it, then the event itself: profile patch and moves of segments, (1) goal, (2) exit, (3) wake and advance the woken, (4) enter;
then what the customer's change means: when time alone may bring about a goal or an exit, members of segments, plans of dates.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from journey_pipelines.compiler.batch import MOVE
from journey_pipelines.compiler.entry import EntryStatements
from journey_pipelines.compiler.relevance import key_word
from journey_pipelines.compiler.statement import Statement
from journey_pipelines.engine import limits
from journey_pipelines.engine.advance import advance_round
from journey_pipelines.engine.batch import Batch
from journey_pipelines.engine.bisect import DataError, attempt, halve
from journey_pipelines.engine.breaker import check_breaker
from journey_pipelines.engine.statements import run, run_fixed
from journey_pipelines.engine.take import absorb

_ALL = (0, 9223372036854775807)


def work_rounds(batch: Batch) -> None:
    """All rounds of the batch table, in order; what a round causes for its own customers takes its place among those to come."""
    ahead = _ahead(batch, 1)
    if any(word.startswith("message.") for facts in ahead.values() for word in facts.words):
        run_fixed(batch.conn, "message_facts", {"now": batch.now})
    limits.lock(batch.conn, _limited(batch, ahead))
    number = 1
    while number in ahead:
        if _work_round(batch, number, ahead[number]):
            ahead = _ahead(batch, number + 1)
        number += 1
    policies = batch.plans.policies
    if policies is not None and batch.entered:
        batch.report.breaks += len(check_breaker(batch.conn, batch.entered, batch.now, policies.breaker))


@dataclass
class _Facts:
    """What a round holds: words (see `compiler.relevance`), whether profile patches and moves of static segments are among it."""

    words: set[str] = field(default_factory=set)
    patched: bool = False
    moved: bool = False


def _ahead(batch: Batch, number: int) -> dict[int, _Facts]:
    found: dict[int, _Facts] = {}
    for row in run_fixed(batch.conn, "rounds", {"round": number, "watched": sorted(batch.plans.watched)}).all():
        facts = found.setdefault(row.round, _Facts())
        facts.words |= {row.type, *(key_word(key) for key in row.keys or ())}
        facts.patched |= bool(row.profiles)
        facts.moved |= row.type == MOVE
    return found


def _work_round(batch: Batch, number: int, facts: _Facts) -> bool:
    """Whether the rounds to come have changed."""
    plans, report = batch.plans, batch.report
    before = report.emitted
    advance_round(batch, number, after=False)
    changed = report.emitted > before
    if changed:
        # a timer told something that comes before this round's event: then this round holds that
        facts = _ahead(batch, number)[number]
    before = report.emitted
    if facts.patched:
        _patch_profiles(batch, number)
    if facts.moved:
        _run_fixed(batch, "moves", number)
    if any(word.startswith("date:") for word in facts.words):
        _run_fixed(batch, "dates", number)
    words = sorted(facts.words)
    if _watch(batch, "follow", words, number):
        # a date that has gone by goes on before what else the row may do
        advance_round(batch, number, after=True)
    _rules(batch, "goal", words, number)
    _rules(batch, "exit", words, number)
    if _wake(batch, number, words):
        advance_round(batch, number, after=True)
    entries = {workflow_id: entry for word in words for workflow_id, entry in plans.entries(word)}
    for workflow_id in sorted(entries):
        _enter(batch, workflow_id, entries[workflow_id], number)
    _rules(batch, "watch", words, number)
    _watch(batch, "segment", words, number)
    _watch(batch, "date", words, number)
    # a condition's or a date's own time, written a moment ago, may have come already: then it has a place among the rounds to come
    if plans.effects and (report.emitted > before or plans.has_moments):
        changed |= absorb(batch, number + 1)
    return changed


def _rules(batch: Batch, kind: str, words: list[str], number: int) -> None:
    """kind goal, exit, or watch: when time alone may next bring one of them about."""
    rules = {uid: (rule, versions) for word in words for uid, rule, versions in batch.plans.rules(kind, word)}
    for uid in sorted(rules):
        rule, versions = rules[uid]
        for statement in rule.statements:
            _run(batch, statement, number, versions=versions)


def _enter(batch: Batch, workflow_id: str, entry: EntryStatements, number: int) -> None:
    for statement in (entry.refresh, entry.restart):
        if statement is not None:
            _run(batch, statement, number)
    came: dict[datetime, int] = {}
    room: limits.Room | None = None
    if entry.limits is not None and entry.wanted is not None:
        given = batch.values(round=number, low=_ALL[0], high=_ALL[1])
        rows = batch.conn.exec_driver_sql(entry.wanted.sql, entry.wanted.bind(given))
        # what this batch caused itself may enter a workflow that it did not lock at its start
        limits.lock(batch.conn, [workflow_id])
        room = limits.room(batch.conn, workflow_id, entry.limits, {row.bucket: row.n for row in rows})
    _run(batch, entry.enter, number, came=came, room=room)
    if came:
        limits.note_entries(batch.conn, {workflow_id: came}, slot=min(batch.shards))
        mine = batch.entered.setdefault(workflow_id, {})
        for at, n in came.items():
            mine[at] = mine.get(at, 0) + n


def _limited(batch: Batch, ahead: dict[int, _Facts]) -> list[str]:
    """The workflows with a limit that this batch may enter."""
    words = {word for facts in ahead.values() for word in facts.words}
    return sorted({name for word in words for name, entry in batch.plans.entries(word) if entry.limits is not None})


def _watch(batch: Batch, kind: str, words: list[str], number: int) -> bool:
    """Whether a wait was moved to another date."""
    before = batch.report.followed
    for statement in batch.plans.watches(kind, words):
        _run(batch, statement, number)
    return batch.report.followed > before


def _wake(batch: Batch, number: int, types: list[str]) -> bool:
    """Whether anybody was woken."""
    wanted = {event_type: batch.plans.wakes(event_type) for event_type in types}
    uids = {uid for found in wanted.values() for uid in found}
    if not uids:
        return False
    if len(uids) > 2:  # one question is dearer than two empty statements, cheaper than more
        waiting = [event_type for event_type, found in wanted.items() if found]
        uids &= {row.step_uid for row in run_fixed(batch.conn, "waiting", {"round": number, "types": waiting})}
    before = batch.report.woken
    for uid in sorted(uids):
        _run(batch, batch.plans.wake(uid), number)
    return batch.report.woken > before


def _run(
    batch: Batch,
    statement: Statement,
    number: int,
    *,
    came: dict[datetime, int] | None = None,
    room: limits.Room | None = None,
    **values: Any,
) -> None:
    """One statement over the round; where an event makes it fail, without that event. `came`: filled with who entered, by time; `room`: how
    many may, together.
    """

    entered = {} if came is None else came

    def work(low: int, high: int) -> dict[str, Any]:
        return run(
            batch.conn, statement, batch.values(round=number, low=low, high=high, **values, **(room.values(entered) if room else {}))
        )

    def done(counts: dict[str, Any]) -> None:
        _count(batch, counts)
        for text, n in (counts.get("entered_by") or {}).items():
            at = datetime.fromisoformat(text)
            entered[at] = entered.get(at, 0) + n

    counts, wrong = attempt(batch.conn, lambda: work(*_ALL))
    if wrong is None:
        done(counts)
        return
    halve(
        batch.conn,
        _seqs(batch, number),
        lambda some: work(some[0], some[-1]),
        done,
        lambda seq, error: _fail(batch, seq, statement.name, error),
    )


def _patch_profiles(batch: Batch, number: int) -> None:
    _run_fixed(batch, "profiles", number)


_SAID = {"profiles": "profile patch", "moves": "segment move", "dates": "date"}


def _run_fixed(batch: Batch, name: str, number: int) -> None:
    """As `_run`, of a statement that is the same for every workflow."""

    def work(low: int, high: int) -> int:
        rows = run_fixed(batch.conn, name, {"round": number, "low": low, "high": high}).mappings().all()
        return sum(row.get("emitted", 0) for row in rows)

    def done(emitted: int) -> None:
        batch.report.emitted += emitted

    emitted, wrong = attempt(batch.conn, lambda: work(*_ALL))
    if wrong is None:
        done(emitted)
        return
    halve(
        batch.conn,
        _seqs(batch, number),
        lambda some: work(some[0], some[-1]),
        done,
        lambda seq, error: _fail(batch, seq, _SAID[name], error),
    )


def _seqs(batch: Batch, number: int) -> list[int]:
    rows = batch.conn.exec_driver_sql("SELECT seq FROM batch_events WHERE round = %(round)s ORDER BY seq", {"round": number})
    return [row.seq for row in rows]


def _fail(batch: Batch, seq: int, statement: str, wrong: DataError) -> None:
    batch.report.failed += 1
    values = {"seq": seq, "now": batch.now, "statement": statement, "sqlstate": wrong.sqlstate, "error": wrong.message}
    run_fixed(batch.conn, "fail_event", values)


_COUNTED: Iterable[tuple[str, str]] = (
    ("entered", "entered"),
    ("keyless", "keyless"),
    ("refreshed", "refreshed"),
    ("restarted", "restarted"),
    ("ended", "ended"),
    ("taken_back", "taken_back"),
    ("conversions", "conversions"),
    ("woken", "woken"),
    ("emitted", "emitted"),
    ("followed", "followed"),
    ("dated", "dated"),
    ("limited", "limited"),
)


def _count(batch: Batch, counts: dict[str, Any]) -> None:
    for column, name in _COUNTED:
        if column in counts:
            setattr(batch.report, name, getattr(batch.report, name) + counts[column])
