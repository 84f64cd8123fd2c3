"""The SQL engine against the interpreter of one person (`reference`), whatever happens in whatever order.

A machine of Hypothesis lets events come (also late, from the future, several at one instant), time jump, profiles and workflows change,
workers crash and backends be killed; after every tick the journeys, messages, conversions and segments of every person are what the book
says. `SEED` repeats a run; `MODEL_EXAMPLES` lives of each kind make it longer than the default (a minute in all).
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_rows import orphans
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from model_compare import differences, outcome, told
from model_moments import SEGMENT_FILES
from model_workflows import GROUPS
from reference import Event, Person
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.audience.tasks import close_task
from journey_pipelines.engine import holds, resume
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.engine.tick import Worker
from journey_pipelines.store import tables as t
from journey_pipelines.store.connect import make_engine
from journey_pipelines.store.hashes import shard_of
from journey_pipelines.workflows.load import Project, load_project

#: nights in which clocks are changed in the zones below, the 31st of a short year's month, a leap day
STARTS = [
    datetime(2018, 3, 24, 22, 30, tzinfo=UTC), datetime(2018, 10, 27, 23, 15, tzinfo=UTC), datetime(2018, 3, 11, 5, 0, tzinfo=UTC),
    datetime(2017, 1, 30, 23, 50, tzinfo=UTC), datetime(2016, 2, 28, 12, 0, tzinfo=UTC), datetime(2018, 6, 4, 9, 0, tzinfo=UTC),
]  # fmt: skip
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Nowhere/None", None]
PEOPLE = ["ann", "bob", "cem", "dee"]
JUMPS = [
    timedelta(0), timedelta(microseconds=1), timedelta(minutes=1), timedelta(minutes=45), timedelta(hours=1), timedelta(hours=3),
    timedelta(days=1), timedelta(days=3), timedelta(days=31),
]  # fmt: skip
GAPS = [timedelta(0), timedelta(0), timedelta(seconds=1), timedelta(minutes=10), timedelta(minutes=50), timedelta(hours=5)]
PAYLOADS = st.fixed_dictionaries(
    {}, optional={"cart": st.sampled_from(["k1", "k2", 7]), "total": st.sampled_from([0, 15, 30, 55.5]), "level": st.integers(0, 3)}
)
DAYS = ["2016-02-29", "2018-03-25", "2018-10-28T02:30:00+01:00", "2017-02-28T22:00:00Z", "2018-06-05", "2018-03-26T09:30:00-04:00", None]
PATCHES = st.fixed_dictionaries({}, optional={
    "plan": st.sampled_from(["gold", "none", None]), "timezone": st.sampled_from(ZONES), "trial": st.booleans(),
    "points": st.sampled_from([-1, 3, 12, 15, None]), "ends": st.sampled_from(DAYS), "born": st.sampled_from(DAYS),
}).filter(bool)  # fmt: skip
TYPES = st.sampled_from(["cart"] * 4 + ["purchase", "noted", "signup"] * 2 + ["emptied", "unsubscribed", "other"])
NAMES = st.sampled_from(PEOPLE)
EDITS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=2)
SOMETIMES = st.none() | st.none() | PATCHES
KEPT = {
    "automation_workflows", "workflow_steps", "interests", "deployment", "segments", "engine_shards", "delivery_shards", "zone_offsets",
    "engine_clock", "engine_identity",
}  # fmt: skip
CLOCK = sa.text("UPDATE journeys.engine_clock SET wall_at = clock_timestamp(), engine_at = :at, rate = 1e-9")


#: lives by default, together about a minute; MODEL_EXAMPLES: so many of each
EXAMPLES = {"events": 5, "segments": 4, "times": 4, "dates": 2, "waits": 5, "effects": 5}


class Crash(RuntimeError):
    """The worker is gone in the middle of its batch."""


class Machine(RuleBasedStateMachine):
    """One life of a few people. `db` looks on, the worker has an `engine` of its own; they and `project` are set by the test."""

    db: sa.Engine
    engine: sa.Engine
    pairs: dict[str, tuple[str, str]]
    project: Any

    @initialize(start=st.sampled_from(STARTS), zones=st.lists(st.sampled_from(ZONES), min_size=4, max_size=4))
    def begin(self, start: datetime, zones: list[str | None]) -> None:
        names = ", ".join(str(table) for table in t.metadata.sorted_tables if table.name not in KEPT)
        with self.db.begin() as conn:
            conn.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
            conn.exec_driver_sql("UPDATE journeys.engine_shards SET planned_until = NULL")
            # schedules are active from now on
            conn.execute(sa.update(t.automation_workflows).values(status="archived", deployed_at=start))
        self.now, self.last = start, start
        self.people = {name: Person(name) for name in PEOPLE}
        self.worker, self.held = self._worker(), set[str]()
        self.written = {name: texts[0] for name, texts in self.pairs.items()}
        self._deploy({})
        for name, zone in zip(PEOPLE, zones, strict=True):
            self._patch(name, {"timezone": zone, "plan": "gold"}, start)

    # -- what may happen ---------------------------------------------------------------------------------------------

    @rule(
        events=st.lists(st.tuples(st.sampled_from(GAPS), NAMES, TYPES, PAYLOADS, st.none() | st.none() | PATCHES), min_size=1, max_size=8)
    )
    def events(self, events: list[tuple[timedelta, str, str, Any, Any]]) -> None:
        """As they come in an hour or a day, several at one instant among them."""
        for gap, name, type_, payload, patch in events:
            self.now += gap
            self._put(name, type_, self.now, payload, patch)

    @rule(late=st.sampled_from(JUMPS), name=NAMES, type_=TYPES, payload=PAYLOADS, patch=st.none() | PATCHES)
    def late_event(self, late: timedelta, name: str, type_: str, payload: Any, patch: Any) -> None:
        self._put(name, type_, self.now - late, payload, patch)

    @rule(ahead=st.sampled_from(JUMPS), name=NAMES, type_=TYPES, payload=PAYLOADS)
    def event_from_the_future(self, ahead: timedelta, name: str, type_: str, payload: Any) -> None:
        self._put(name, type_, self.now + ahead, payload, None)

    @rule(name=NAMES, n=st.integers(0, 20), type_=st.sampled_from(["message.clicked", "message.opened"]))
    def reaction(self, name: str, n: int, type_: str) -> None:
        query = sa.select(t.messages.c.message_key, t.messages.c.journey_id, t.messages.c.step_key, t.messages.c.action_id,
                          t.messages.c.channel, t.messages.c.workflow_id).where(t.messages.c.customer_id == name)  # fmt: skip
        with self.db.connect() as conn:
            rows = conn.execute(query.order_by(t.messages.c.id)).all()
        if rows:
            row = rows[n % len(rows)]
            payload = {"message_key": row.message_key, "step": row.step_key, "action": row.action_id, "channel": row.channel,
                       "workflow": row.workflow_id}  # fmt: skip
            self._put(name, type_, self.now, payload, None, journey=row.journey_id)

    @rule(name=NAMES, n=st.integers(0, 20), outcome=st.sampled_from(["won", "lost"]))
    def task(self, name: str, n: int, outcome: str) -> None:
        """Somebody does what was asked of them, soon or long after nobody waits for it any more."""
        with self.db.begin() as conn:
            ids = conn.scalars(
                sa.select(t.tasks.c.id).where(t.tasks.c.customer_id == name, t.tasks.c.status == "open").order_by(t.tasks.c.id)
            ).all()
            if not ids:
                return
            done, _ = close_task(conn, ids[n % len(ids)], by="model", now=self.now, outcome=outcome)
            row = conn.execute(sa.select(t.event_inbox).where(t.event_inbox.c.source_event_id == str(done.id))).one()
        number = self.numbers(name)[done.journey_id]
        self.people[name].put(Event(self.now, row.id, row.type, row.payload, self.now, None, number))

    @rule(name=NAMES, patch=PATCHES, age=st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=2)]))
    def profile(self, name: str, patch: dict[str, Any], age: timedelta) -> None:
        self._patch(name, patch, self.now - age)

    @rule(jump=st.sampled_from(JUMPS), size=st.sampled_from([1, 20, 10_000]))
    def tick(self, jump: timedelta, size: int) -> None:
        self.now += jump
        if size != 10_000:
            self.worker = self._worker(size)
        self._tick()

    @rule(n=st.integers(0, 10), offset=st.sampled_from([-1, 0, 1]))
    def tick_when_something_is_due(self, n: int, offset: int) -> None:
        """At the very instant of a timer, a microsecond before, or after."""
        due = sorted({j.due[0] for p in self.people.values() for j in p.journeys if j.ended is None and j.due[0] > self.now})
        if due:
            self.now = max(self.now, due[n % len(due)] + timedelta(microseconds=offset))
        self._tick()

    @rule(what=st.sampled_from(["crash", "crash", "kill", "edit"]), at=st.integers(1, 60), jump=st.sampled_from(JUMPS), edits=EDITS)
    def accident(self, what: str, at: int, jump: timedelta, edits: list[tuple[int, int]]) -> None:
        """The worker dies at its n-th statement, or the server ends its backend; or somebody deploys."""
        self.now += jump
        if what == "edit":
            # what came before a deploy is routed with what was deployed before it
            self._tick()
            names = sorted(self.pairs)
            self._deploy({names[which % len(names)]: self.pairs[names[which % len(names)]][n] for which, n in edits})
            return
        with self._statement(at, self._die if what == "crash" else self._kill):
            try:
                self.worker.tick(self.now)
            except Crash:
                # every other time another process goes on, which knows nothing
                self.worker = self._worker() if at % 2 else self.worker
        self._tick()

    @rule(
        which=st.integers(0, 9), jump=st.sampled_from(JUMPS), spread=st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(days=1)])
    )
    def hold_or_release(self, which: int, jump: timedelta, spread: timedelta) -> None:
        """An operator holds a workflow, or lets it go again over some time. What came before that is looked at before it."""
        name = sorted(self.pairs)[which % len(self.pairs)]
        self.now += jump
        self._tick()
        with self.db.begin() as conn:
            if name in self.held:
                resume.release(conn, name, by="model", now=self.now, spread=spread)
            else:
                holds.hold(conn, name, why="a test", by="model", now=self.now)
        for person in self.people.values():
            person.release(name, self.now, spread) if name in self.held else person.hold(name)
        self.held ^= {name}

    def teardown(self) -> None:
        if hasattr(self, "people"):
            self._tick()
            assert {name: n for name, n in orphans(self.db).items() if n} == {}

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _put(self, name: str, type_: str, at: datetime, payload: Any, patch: Any, journey: int | None = None) -> None:
        row = {"customer_id": name, "type": type_, "occurred_at": at, "received_at": self.now, "payload": payload}
        row = {**row, "profile": patch} if patch is not None else row
        with self.db.begin() as conn:
            seq = conn.execute(sa.insert(t.event_inbox).values(row).returning(t.event_inbox.c.id)).scalar_one()
        effective = min(at, self.now + timedelta(minutes=5))
        number = self.numbers(name).get(journey) if journey is not None else None
        self.people[name].put(Event(effective, seq, type_, payload, self.now, patch, number))

    def _patch(self, name: str, patch: dict[str, Any], at: datetime) -> None:
        with self.db.begin() as conn:
            # a change is received when it happens: the clock stands there
            conn.execute(CLOCK, {"at": self.now})
            conn.execute(sa.select(sa.func.journeys.upsert_profile(name, sa.literal(patch, JSONB), at)))
        self.people[name].change(patch, at, self.now)

    def _worker(self, size: int = 10_000) -> Worker:
        return Worker(self.engine, shards=sorted({shard_of(name) for name in PEOPLE}), batch_size=size)

    def _deploy(self, changed: dict[str, str]) -> None:
        self.written.update(changed)
        project = self.project(tuple(sorted(self.written.items())))
        deploy(self.db, project, self.now)
        for person in self.people.values():
            person.deploy([loaded.workflow for loaded in project.workflows], project.segments.values(), self.now)
        # what a deploy leaves to be computed for everybody is computed by the next batch, as of then
        self._tick()

    def _tick(self) -> None:
        self.worker.tick(self.now)
        found = outcome(self.db, PEOPLE)
        for name, person in self.people.items():
            person.tick(self.now)
            book = told(person)
            wrong = [f"{name}, {what}: {line}" for what in book for line in differences(found[name][what], book[what])]
            assert not wrong, "\n".join([f"at {self.now:%Y-%m-%d %H:%M:%S.%f}", *wrong])

    def numbers(self, name: str) -> dict[int, int]:
        """The database's id of a journey -> the interpreter's number."""
        j = t.customer_journeys.c
        with self.db.connect() as conn:
            rows = conn.execute(
                sa.select(j.id, j.workflow_id, j.entry_key, j.entered_at).where(j.customer_id == name).order_by(j.entered_seq)
            )
            ids: dict[Any, list[int]] = {}
            for row in rows:
                ids.setdefault((row.workflow_id, row.entry_key, row.entered_at), []).append(row.id)
        found: dict[int, int] = {}
        for journey in sorted(self.people[name].journeys, key=lambda j: j.entered):
            same = ids.get((journey.workflow.id, journey.key, journey.entered[0]), [])
            if same:
                found[same.pop(0)] = journey.number
        return found

    @contextmanager
    def _statement(self, at: int, work: Any) -> Iterator[None]:
        """`work` right after the n-th statement of the engine from here on, once."""
        count = 0

        def step(conn: sa.Connection, cursor: Any, *_: Any) -> None:
            nonlocal count
            count += 1
            if count == at:
                work(conn)

        sa.event.listen(self.engine, "after_cursor_execute", step)
        try:
            yield
        finally:
            sa.event.remove(self.engine, "after_cursor_execute", step)

    def _die(self, conn: sa.Connection) -> None:
        conn.invalidate()
        raise Crash

    def _kill(self, conn: sa.Connection) -> None:
        driver: Any = conn.connection.driver_connection
        with self.db.connect() as other:
            other.exec_driver_sql("SELECT pg_terminate_backend(%(pid)s)", {"pid": driver.info.backend_pid})


def project_of(root: Path, workflows: tuple[tuple[str, str], ...]) -> Project:
    """The folder with these workflows, read."""
    for name, text in workflows:
        (root / name).mkdir(exist_ok=True)
        (root / name / "hello.html").write_text("<p>Hello</p>", encoding="utf-8")
        (root / name / "workflow.yaml").write_text(text, encoding="utf-8")
    project = load_project(root)
    assert not project.errors, "\n".join(map(str, project.errors))
    return project


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", GROUPS)
def test_the_engine_does_what_the_book_says(group: str, db: sa.Engine, db_url: str, tmp_path: Path) -> None:
    number = int(os.environ.get("SEED") or secrets.randbelow(10**6))
    sys.stdout.write(f"SEED={number}\n")
    examples = int(os.environ.get("MODEL_EXAMPLES") or EXAMPLES[group])

    @seed(number)
    class Life(Machine):
        pass

    pairs = GROUPS[group]
    for name, text in SEGMENT_FILES.items() if group == "segments" else ():
        (tmp_path / "segments").mkdir(exist_ok=True)
        (tmp_path / "segments" / f"{name}.yaml").write_text(text, encoding="utf-8")
    Life.db, Life.engine, Life.pairs = db, make_engine(db_url), pairs
    Life.project = staticmethod(lru_cache(partial(project_of, tmp_path)))
    try:
        run_state_machine_as_test(
            Life,
            settings=settings(
                max_examples=examples, stateful_step_count=30, deadline=None, database=None, print_blob=True,
                suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
            ),
        )  # fmt: skip
    finally:
        Life.engine.dispose()
