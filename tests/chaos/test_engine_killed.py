"""Workers that die or stop in the middle of a batch: the next one does all of it, once."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from crew import crew, seeded, wait_for
from engine_rows import event, one, orphans, put, rows
from engine_world import START, World

from journey_pipelines.engine.tick import Worker, tick

# a bit of everything a round does
SHOP = """
workflow: shop
triggers:
  - event: cart
goal: {event: purchase, value: arrived.total}
exit:
  - event: emptied
steps:
  - id: remind
    wait: 10 minutes
    do:
      - send_sms: {text: Hello}
      - update_profile: {increment: {reminders: 1}}
      - add_to_segment: reminded
  - id: answer
    wait: {for: purchase, timeout: 1 day}
    next:
      - when: arrived
        to: thank
      - else: end
  - id: thank
    do:
      - create_task: {title: Thank them}
"""


def no_drains_left(db: sa.Engine) -> bool:
    """The server has noticed that the killed are gone, and undone what they had begun."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'drain-%' AND datname = current_database()"
    return bool(one(db, query) == 0)


def holds_together(db: sa.Engine) -> bool:
    return {name: n for name, n in orphans(db).items() if n} == {}


def _shop_events(db: sa.Engine, day: int, people: list[str]) -> None:
    """Thirty people: all have a cart, a third buys, a third empties it, before and after the reminder."""
    at = START + timedelta(days=3 * day)
    for n, name in enumerate(people):
        put(db, event(name, "cart", at, {"cart_id": n}, source_event_id=f"{name}-cart", profile={"plan": "gold"}))
        after = timedelta(minutes=5 if n % 2 else 30)
        if n % 3 < 2:
            put(db, event(name, ("purchase", "emptied")[n % 3], at + after, {"total": n}, source_event_id=f"{name}-next"))


def _outcome(db: sa.Engine, prefix: str) -> dict[str, Any]:
    """What became of these people, without what differs between two groups of the same kind."""
    found = {}
    for what, query in {
        "journeys": "SELECT right(customer_id, 2), status, step_key, exit_reason, visit FROM journeys.customer_journeys",
        "ways": "SELECT right(customer_id, 2), from_step, to_step, why FROM journeys.journey_transitions",
        "messages": "SELECT right(customer_id, 2), step_key, action_id, state, reason FROM journeys.messages",
        "events": "SELECT right(customer_id, 2), type FROM journeys.customer_events",
        "profiles": "SELECT right(customer_id, 2), attributes::text FROM journeys.customer_profiles",
        "segments": "SELECT right(customer_id, 2), segment_id, left_at IS NULL FROM journeys.segment_memberships",
        "tasks": "SELECT right(customer_id, 2), title FROM journeys.tasks",
        "conversions": "SELECT right(customer_id, 2), value FROM journeys.conversions",
    }.items():
        found[what] = Counter(tuple(row) for row in rows(db, f"{query} WHERE customer_id LIKE :prefix", prefix=f"{prefix}-%"))
    return found


def test_a_drain_killed_in_the_middle_of_a_batch(db: sa.Engine, db_url: str, tmp_path: Path) -> None:
    """At statements all over the batch, and right before its commit: the next worker does all of it, once."""
    chance = seeded()
    World(db, tmp_path).deploy(SHOP)
    worker = Worker(db)

    def people(group: str) -> list[str]:
        return [f"{group}-{n:02}" for n in range(12)]

    def clock(day: int) -> str:
        return (START + timedelta(days=3 * day, hours=1)).isoformat()

    def later(day: int) -> None:
        worker.tick(START + timedelta(days=3 * day + 2))

    seen: list[str] = []
    note: Any = lambda conn, cursor, statement, *rest: seen.append(statement)  # noqa: E731
    _shop_events(db, 0, people("whole"))
    sa.event.listen(db, "after_cursor_execute", note)
    worker.tick(START + timedelta(hours=1))
    sa.event.remove(db, "after_cursor_execute", note)
    later(0)
    whole = _outcome(db, "whole")
    assert len(whole["journeys"]) == 12 and whole["tasks"] and whole["conversions"]

    # the plans of a fresh worker take some statements more than those seen; a number past the end kills nobody
    points = [*chance.sample(range(3, len(seen)), 9), len(seen) + 5]
    sys.stdout.write(f"killed at {points}\n")
    killed = 0
    for day, point in enumerate(points, start=1):
        group = f"g{day}"
        _shop_events(db, day, people(group))
        with crew(db_url, {"now": clock(day), "signal": "SIGKILL", "at": point}) as running:
            killed += running.results()[0]["status"] == -signal.SIGKILL
        wait_for(lambda: no_drains_left(db))
        worker.tick(START + timedelta(days=3 * day, hours=1))
        later(day)
        assert _outcome(db, group) == whole
    assert killed >= 8
    assert holds_together(db)


def test_a_stopped_worker_loses_its_shards_and_cannot_commit(db: sa.Engine, db_url: str, tmp_path: Path) -> None:
    World(db, tmp_path).deploy(SHOP)
    _shop_events(db, 0, [f"whole-{n:02}" for n in range(12)])
    now = START + timedelta(hours=1)
    with crew(db_url, {"now": now.isoformat(), "signal": "SIGSTOP", "at": 20, "idle_timeout": 2.0, "linger": 0.0}) as running:
        stopped = Path(f"/proc/{running.pids[0]}/stat")
        wait_for(lambda: stopped.read_text().rsplit(")", 1)[1].split()[0] == "T")
        assert not tick(db, now).progress  # its shards are its own, until the database has had enough
        assert one(db, "SELECT count(*) FROM journeys.event_inbox") == 20
        report = wait_for(lambda: (r := tick(db, now)).progress and r)
        assert (report.rows_in, report.entered) == (20, 12)
        before = _outcome(db, "whole")
        os.kill(running.pids[0], signal.SIGCONT)
        (woken,) = running.reports()
    assert (woken["rows_in"], woken["entered"], woken["advanced"]) == (0, 0, 0)
    assert _outcome(db, "whole") == before
    assert holds_together(db)
