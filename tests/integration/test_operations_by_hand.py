"""`journeys enter` and `journeys exit`: from ids, a file or an expression; counted before, once per request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from engine_world import START, World, at

from journey_pipelines.engine import by_hand
from journey_pipelines.engine.by_hand import Chosen
from journey_pipelines.engine.operator import OperationRefused
from journey_pipelines.intake.chosen import read_chosen, typed
from journey_pipelines.store import tables as t


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    (tmp_path / "project").mkdir()
    world = World(db, tmp_path / "project")
    world.deploy(FLOW)
    for n in range(5):
        world.profile(f"c{n}", lifetime_value=n * 10, country="CH" if n % 2 else "DE")
    return world


FLOW = """
workflow: flow
triggers:
  - manual: true
    fields: [campaign, discount]
steps:
  - id: first
    do: [{create_task: {title: "{{ event.campaign | default('none') }} {{ event.discount | default('') }}"}}]
  - id: stay
    wait: 5 days
"""


def enter(world: World, chosen: list[Any], request: str = "r1", **fields: Any) -> by_hand.Preview:
    with world.db.connect() as conn:
        asked = by_hand.entering(conn, "flow", fields)
    return by_hand.write(world.db, asked, [Chosen(one) if isinstance(one, str) else one for one in chosen], request, at())


def where(world: World, text: str) -> list[str]:
    with world.db.connect() as conn:
        return [one.customer_id for one in by_hand.choose(conn, text, at())]


def test_those_chosen_enter_with_their_fields_and_unknown_ones_are_named(world: World) -> None:
    found = enter(world, ["c0", "c1", "c0", "nobody", Chosen("c2", {"discount": 7})], campaign="spring")
    assert (found.chosen, found.known, found.repeated, found.unknown, found.examples) == (5, 3, 1, 1, ["nobody"])
    world.tick(at())
    assert {j.customer_id: j.trigger_id for j in world.journeys()} == dict.fromkeys(["c0", "c1", "c2"], "manual")
    assert sorted(task.title for task in world.rows(t.tasks)) == ["spring ", "spring ", "spring 7"]
    event = world.rows(t.customer_events, "c0", order=("seq",))[-1]
    assert (event.type, event.source, event.source_event_id, event.occurred_at) == ("enter.flow", "manual", "r1|c0", START)
    assert event.payload == {"trigger": "manual", "campaign": "spring"}


def test_the_same_request_twice_enters_nobody_twice(world: World) -> None:
    enter(world, ["c0", "c1"])
    enter(world, ["c0", "c1", "c2"])
    world.tick(at())
    assert sorted(j.customer_id for j in world.journeys()) == ["c0", "c1", "c2"]
    assert one_count(world, "enter.flow") == 3


def one_count(world: World, type_: str) -> int:
    return sum(event.type == type_ for event in world.rows(t.customer_events, order=("seq",)))


def test_many_are_written_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(25):
        world.profile(f"m{n:02}")
    monkeypatch.setattr(by_hand, "BATCH", 4)
    assert enter(world, [f"m{n:02}" for n in range(25)]).known == 25
    assert [name for name in where(world, "true") if name.startswith("m")] == [f"m{n:02}" for n in range(25)]
    world.tick(at())
    assert len(world.journeys()) == 25


def test_an_expression_chooses(world: World) -> None:
    world.event("c3", "purchase", at(-1))
    world.tick(at())
    assert where(world, "customer.lifetime_value > 10 and customer.country == 'CH'") == ["c3"]
    assert where(world, "has_event('purchase', within='7 days')") == ["c3"]
    assert where(world, "not has_event('purchase', within='7 days')") == ["c0", "c1", "c2", "c4"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("customer.lifetime_value >", "--where: column"),
        ("event.total > 5", "--where: there is no event here"),
        ("journey.visit == 1", "--where: there is no journey here"),
        ("has_evnt('x')", "has_event"),
    ],
)
def test_a_wrong_expression_is_explained(world: World, text: str, said: str) -> None:
    with pytest.raises(OperationRefused, match=said):
        where(world, text)


def test_what_cannot_be_entered(world: World) -> None:
    with pytest.raises(OperationRefused, match=r"no field 'campain'; it takes: campaign, discount\. Did you mean 'campaign'\?"):
        enter(world, ["c0"], campain="x")
    with pytest.raises(OperationRefused, match="no field 'trigger'"):
        enter(world, ["c0"], trigger="x")
    world.deploy(FLOW.replace("workflow: flow", "workflow: flow\nstatus: paused"))
    with pytest.raises(OperationRefused, match="workflow flow is paused: nobody enters it"):
        enter(world, ["c0"])
    world.deploy(FLOW.replace("manual: true\n    fields: [campaign, discount]", "event: signup"))
    with pytest.raises(OperationRefused, match="has no manual trigger"):
        enter(world, ["c0"])


def test_who_is_let_go(world: World) -> None:
    enter(world, ["c0", "c1", "c2"])
    world.tick(at())
    with world.db.connect() as conn:
        asked = by_hand.leaving(conn, "flow")
        shown = by_hand.preview(conn, asked, map(Chosen, ["c0", "c1", "c4", "nobody"]))
    assert (shown.known, shown.inside, shown.unknown) == (3, 2, 1)
    by_hand.write(world.db, asked, map(Chosen, ["c0", "c1", "c4"]), "x1", at(1))
    world.tick(at(1))
    assert {j.customer_id: j.exit_reason for j in world.journeys()} == {"c0": "manual", "c1": "manual", "c2": None}
    assert one_count(world, "exit.flow") == 2


def test_files(tmp_path: Path) -> None:
    def read(name: str, text: str) -> list[tuple[str, dict[str, Any]]]:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return [(one.customer_id, dict(one.fields)) for one in read_chosen(path, ["campaign"])]

    assert read("a.csv", "\ufeffname,customer_id,campaign\nAnn,c0,spring\nBob, c1 ,\n,,x\n") == [("c0", {"campaign": "spring"}), ("c1", {})]
    assert read("a.jsonl", '{"customer_id": "c0", "campaign": 5, "x": 1}\n\n"c1"\n7\n') == [("c0", {"campaign": 5}), ("c1", {}), ("7", {})]
    assert read("a.txt", "c0\n\n c1 \n") == [("c0", {}), ("c1", {})]
    for name, text, said in [
        ("b.csv", "id\nc0\n", "b.csv:1: expected a column customer_id, found id"),
        ("b.csv", "", "found no header"),
        ("b.jsonl", "c0\n", "b.jsonl:1: not JSON"),
        ("b.jsonl", '{"id": 1}\n', "b.jsonl:1: expected customer_id as text or number, got None"),
        ("b.jsonl", '"a\\u0000"\n', "b.jsonl:1: a NUL character"),
    ]:
        with pytest.raises(OperationRefused, match=said):
            read(name, text)
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(OperationRefused, match="not UTF-8"):
        list(read_chosen(tmp_path / "c.txt", []))
    with pytest.raises(OperationRefused, match="No such file"):
        list(read_chosen(tmp_path / "d.txt", []))


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("05", "05"), ('"5"', "5"), ("true", True), ("spring sale", "spring sale"), ("😀", "😀"), ("NaN", "NaN"), ("", "")],
)
def test_values_as_typed(text: str, value: Any) -> None:
    assert typed(text) == value
