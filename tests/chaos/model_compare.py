"""What became of people, in one form: as the interpreter tells it and as the database has it, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from reference import Person

from journey_pipelines.store import tables as t


def told(person: Person) -> dict[str, Any]:
    """What the interpreter says of a person: by workflow, entry, key, what became of each journey."""
    steps: dict[int, list[Any]] = {journey.number: [] for journey in person.journeys}
    for journey, came_from, to, at, why in person.transitions:
        steps[journey.number].append((came_from, to, at, why))
    ways: dict[str, list[Any]] = {}
    for journey in person.journeys:
        ways.setdefault(name_of(journey.workflow.id, journey.entered[0], journey.key), []).append(steps[journey.number])
    messages = [
        (name_of(m.journey.workflow.id, m.journey.entered[0], m.journey.key), m.step, m.action, m.visit, m.planned_at, m.state)
        for m in person.messages
    ]
    names = {j.number: name_of(j.workflow.id, j.entered[0], j.key) for j in person.journeys}
    goals = [(names[number], at, None if value is None else float(value)) for (number, _), (at, value) in person.conversions.items()]
    members = [tuple(row) for row in person.memberships]
    return {
        "ways": {name: sorted(same, key=str) for name, same in ways.items()},
        "messages": sorted(messages, key=str),
        "conversions": sorted(goals, key=str),
        "segments": sorted(members, key=str),
    }


def differences(engine: Any, book: Any) -> Iterator[str]:
    """What the one has and the other has not."""
    if isinstance(book, dict):
        for key in sorted({*engine, *book}):
            if engine.get(key) != book.get(key):
                yield f"{key}\n    engine: {written(engine.get(key))}\n    book:   {written(book.get(key))}"
    else:
        yield from (f"only the engine: {written(row)}" for row in engine if row not in book)
        yield from (f"only the book: {written(row)}" for row in book if row not in engine)


def written(value: Any) -> str:
    """Times to be read."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"
    return f"({', '.join(map(written, value))})" if isinstance(value, list | tuple) else str(value)


def outcome(db: sa.Engine, people: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The same of everybody, from the database."""
    found: dict[str, dict[str, Any]] = {
        name: {"ways": {}, "messages": [], "conversions": [], "segments": []} for name in people
    }  # fmt: skip
    with db.connect() as conn:
        journeys = {row.id: row for row in conn.execute(sa.select(t.customer_journeys))}
        names = {id_: name_of(row.workflow_id, row.entered_at, row.entry_key) for id_, row in journeys.items()}
        steps: dict[int, list[Any]] = {id_: [] for id_ in journeys}
        for row in conn.execute(sa.select(t.journey_transitions).order_by(t.journey_transitions.c.id)):
            steps[row.journey_id].append((row.from_step, row.to_step, row.at, row.why))
        for id_, row in journeys.items():
            found[row.customer_id]["ways"].setdefault(names[id_], []).append(steps[id_])
        for row in conn.execute(sa.select(t.messages)):
            state = row.reason if row.state == "suppressed" else row.state
            sent = (names[row.journey_id], row.step_key, row.action_id, row.visit, row.planned_at, state)
            found[row.customer_id]["messages"].append(sent)
        for row in conn.execute(sa.select(t.conversions)):
            value = None if row.value is None else float(row.value)
            found[row.customer_id]["conversions"].append((names[row.journey_id], row.at, value))
        for row in conn.execute(sa.select(t.segment_memberships)):
            found[row.customer_id]["segments"].append((row.segment_id, row.entered_at, row.left_at))
    for person in found.values():
        for what in ("messages", "conversions", "segments"):
            person[what].sort(key=str)
        for same in person["ways"].values():
            same.sort(key=str)
    return found


def name_of(workflow: str, entered_at: datetime, key: str) -> str:
    """A journey by what both sides know of it."""
    return f"{workflow} {key} {entered_at:%Y-%m-%d %H:%M:%S.%f}"
