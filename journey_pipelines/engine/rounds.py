"""Route, second half: round n is everybody's n-th event, worked set-based (engine.md, 2).

Timers before the event, then the event: profile patch, (1) goal, (2) exit, (3) wake and advance the woken, (4) enter.
"""

from collections.abc import Iterable
from typing import Any

from journey_pipelines.compiler.statement import Statement
from journey_pipelines.engine.advance import advance_round
from journey_pipelines.engine.batch import Batch
from journey_pipelines.engine.bisect import DataError, attempt, halve
from journey_pipelines.engine.statements import run, run_fixed

_ALL = (0, 9223372036854775807)


def work_rounds(batch: Batch) -> None:
    """All rounds of the batch table, in order."""
    rounds: dict[int, dict[str, int]] = {}
    patched: set[int] = set()
    for row in run_fixed(batch.conn, "rounds", {}).all():
        rounds.setdefault(row.round, {})[row.type] = row.events
        if row.profiles:
            patched.add(row.round)
    if any(event_type.startswith("message.") for types in rounds.values() for event_type in types):
        run_fixed(batch.conn, "message_facts", {"now": batch.now})
    for number, types in rounds.items():
        _work_round(batch, number, sorted(types), number in patched)


def _work_round(batch: Batch, number: int, types: list[str], patched: bool) -> None:
    plans = batch.plans
    advance_round(batch, number, after=False)
    if patched:
        _patch_profiles(batch, number)
    for kind in ("goal", "exit"):
        seen: set[int] = set()
        for event_type in types:
            for uid, rule, versions in plans.rules(kind, event_type):
                if uid not in seen:
                    seen.add(uid)
                    for rule_statement in rule.statements:
                        _run(batch, rule_statement, number, versions=versions)
    if _wake(batch, number, types):
        advance_round(batch, number, after=True)
    entered: set[str] = set()
    for event_type in types:
        for workflow_id, entry in plans.entries(event_type):
            if workflow_id in entered:
                continue
            entered.add(workflow_id)
            for statement in (entry.refresh, entry.restart, entry.enter):
                if statement is not None:
                    _run(batch, statement, number)


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


def _run(batch: Batch, statement: Statement, number: int, **values: Any) -> None:
    """One statement over the round; where an event makes it fail, without that event."""

    def work(low: int, high: int) -> dict[str, Any]:
        return run(batch.conn, statement, batch.values(round=number, low=low, high=high, **values))

    counts, wrong = attempt(batch.conn, lambda: work(*_ALL))
    if wrong is None:
        _count(batch, counts)
        return
    halve(
        batch.conn,
        _seqs(batch, number),
        lambda some: work(some[0], some[-1]),
        lambda found: _count(batch, found),
        lambda seq, error: _fail(batch, seq, statement.name, error),
    )


def _patch_profiles(batch: Batch, number: int) -> None:
    def work(low: int, high: int) -> None:
        run_fixed(batch.conn, "profiles", {"round": number, "low": low, "high": high}).all()

    _, wrong = attempt(batch.conn, lambda: work(*_ALL))
    if wrong is not None:
        halve(
            batch.conn,
            _seqs(batch, number),
            lambda some: work(some[0], some[-1]),
            lambda _: None,
            lambda seq, error: _fail(batch, seq, "profile patch", error),
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
)


def _count(batch: Batch, counts: dict[str, Any]) -> None:
    for column, name in _COUNTED:
        if column in counts:
            setattr(batch.report, name, getattr(batch.report, name) + counts[column])
