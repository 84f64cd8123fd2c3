"""The example project (tests/examples) played: a story of what people do, with ticks of any size, and what came of it on their clocks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from engine_world import World

from journey_pipelines.engine.deploy import deploy
from journey_pipelines.store import tables as t
from journey_pipelines.workflows.load import Project, load_project

EXAMPLES = Path(__file__).parent / "examples"
BERLIN, NEW_YORK, KOLKATA, AUCKLAND = "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"

#: (table, columns) of what a story leaves behind; ids and times of processing are left out
_TRACES: tuple[tuple[sa.Table, str], ...] = (
    (t.customer_journeys, "workflow_id entry_key trigger_id status step_key visit at entered_at ended_at exit_reason held_out"),
    (t.messages, "workflow_id step_key action_id visit channel entry_key planned_at state reason"),
    (t.journey_transitions, "workflow_id visit from_step to_step at why"),
    (t.workflow_action_logs, "workflow_id step_key action_id visit kind state reason at"),
    (t.conversions, "workflow_id event_type at value exposed"),
    (t.split_assignments, "workflow_id step_key arm assigned_at"),
    (t.tasks, "workflow_id step_key title body assignee due_at status outcome"),
    (t.segment_memberships, "segment_id entered_at left_at"),
    (t.customer_profiles, "attributes"),
)


def wall(text: str, zone: str = BERLIN) -> datetime:
    """`2026-03-27 16:30` on a clock in a zone, as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def shown(at: datetime | None, zone: str = BERLIN) -> str:
    """An instant as a clock in a zone shows it: `Fri 03-27 16:30`, with seconds where there are any."""
    if at is None:
        return ""
    local = at.astimezone(ZoneInfo(zone))
    return local.strftime("%a %m-%d %H:%M" + (":%S" if local.second else ""))


class Story:
    """What people do, written down before it is played.

    `event`: an app writes it, known from the beginning and visible at its time. `then`: what needs the world as it is at that time (a click
    on a message that was sent, a task that is closed); the engine has run up to there.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.acts: list[tuple[datetime, Callable[[ExampleWorld], object]]] = []

    def event(
        self,
        when: datetime,
        customer: str,
        type_: str,
        *,
        received: datetime | None = None,
        profile: Mapping[str, Any] | None = None,
        **payload: Any,
    ) -> None:
        row = {"customer_id": customer, "type": type_, "occurred_at": when, "received_at": received or when}
        self.events.append({**row, "payload": payload, "profile": profile})

    def then(self, when: datetime, act: Callable[[ExampleWorld], object]) -> None:
        self.acts.append((when, act))

    def sends(self, when: datetime) -> None:
        """A provider takes all that is planned by then, for everybody."""
        self.then(when, lambda world: world.sends(when))

    def click(self, when: datetime, customer: str, step: str, **payload: Any) -> None:
        """A customer clicks in the latest message of a step, which the provider had taken by then."""

        def act(world: ExampleWorld) -> None:
            world.accept(customer, when)
            world.react(customer, "message.clicked", when, step=step, **payload)

        self.then(when, act)


@cache
def _examples() -> Project:
    """Read once: half a second."""
    return load_project(EXAMPLES)


class ExampleWorld(World):
    """A database with the example project deployed."""

    def __init__(self, db: sa.Engine, folder: Path, *, now: datetime, batch_size: int = 10_000) -> None:
        root = folder / "examples"
        shutil.copytree(EXAMPLES, root)
        super().__init__(db, root, batch_size=batch_size)
        self.now = now
        deploy(db, _examples(), now)
        self.tick(now)

    def begin_again(self, *, batch_size: int = 10_000) -> None:
        super().begin_again(batch_size=batch_size)
        # else the ticks of schedules were planned already
        with self.db.begin() as conn:
            conn.execute(sa.update(t.engine_shards).values(planned_until=None))

    def play(self, story: Story, until: datetime, every: timedelta) -> None:
        """The story up to a time, with a tick every so often, before each act, and at the end."""
        with self.db.begin() as conn:
            for row in story.events:
                conn.execute(sa.insert(t.event_inbox).values({key: value for key, value in row.items() if value is not None}))
        following = self.now + every
        for when, act in sorted((one for one in story.acts if one[0] <= until), key=lambda one: one[0]):
            following = self._up_to(when, following, every)
            act(self)
        self._up_to(until, following, every)

    def _up_to(self, when: datetime, following: datetime, every: timedelta) -> datetime:
        """Ticks of the grid before a time, and one at it; returns the grid's next."""
        while following < when:
            self.tick(following)
            following += every
        self.tick(when)
        return following

    def sends(self, when: datetime) -> None:
        """Delivery's part: a provider took all that is planned."""
        m = t.messages
        with self.db.begin() as conn:
            conn.execute(sa.update(m).where(m.c.state == "planned").values(state="accepted", accepted_at=when, updated_at=when))

    # -- what happened, on the customers' clocks ---------------------------------------------------------------------

    def ledger(self, customer: str, workflow: str, zone: str = BERLIN) -> list[str]:
        """`Fri 03-27 16:30 hello email`, by logical time; the state is said where it is neither planned nor accepted."""
        rows = [m for m in self.rows(t.messages, customer, order=("planned_at", "id")) if m.workflow_id == workflow]
        usual = ("planned", "accepted")
        return [f"{shown(m.planned_at, zone)} {m.step_key} {m.channel}{'' if m.state in usual else ' ' + m.state}" for m in rows]

    def ends(self, customer: str, workflow: str, zone: str = BERLIN) -> list[str]:
        """`goal Mon 03-30 09:20` of each journey, in the order of entry; empty where it goes on."""
        rows = [j for j in self.rows(t.customer_journeys, customer, order=("entered_at", "id")) if j.workflow_id == workflow]
        return [f"{j.exit_reason} {shown(j.ended_at, zone)}" if j.ended_at else "" for j in rows]

    def steps(self, customer: str, workflow: str) -> list[str]:
        """The steps reached in a workflow, `end` at an end, by logical time."""
        rows = self.rows(t.journey_transitions, customer, order=("at", "id"))
        return [row.to_step or "end" for row in rows if row.workflow_id == workflow]

    def trace(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that a story left behind, in an order of its own: equal for two plays of one story."""
        found = {}
        with self.db.connect() as conn:
            for table, names in _TRACES:
                columns = [table.c[name] for name in ("customer_id", *names.split())]
                found[table.name] = sorted((tuple(row) for row in conn.execute(sa.select(*columns))), key=repr)
        return found


def plays(world: ExampleWorld, story: Story, start: datetime, until: datetime, ticks: list[timedelta]) -> Iterator[tuple[timedelta, Any]]:
    """The trace of a story for each size of tick, from a world that remembers nothing of the play before."""
    for every in ticks:
        world.begin_again()
        world.now = start
        world.play(story, until, every)
        yield every, world.trace()
