"""The commands as an operator types them: what they print, what they refuse, and no traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from engine_rows import execute
from engine_world import START, World, at
from typer.testing import CliRunner

from journey_pipelines.cli import build_app, main
from journey_pipelines.engine.operator import OperationRefused
from journey_pipelines.settings import settings
from journey_pipelines.store.clock import set_clock

FLOW = """
workflow: flow
limits: {in_flight: 3}
triggers:
  - event: signup
  - manual: true
    fields: [campaign]
steps:
  - id: call
    do: [{create_task: {title: "Call [them]", assignee: sales}}]
  - id: stay
    wait: 1 hour
    do: [{send_email: {template: hello, subject: Hello}}]
  - id: last
    wait: 5 days
"""


@pytest.fixture
def world(db: sa.Engine, db_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DATABASE_URL", db_url)
    monkeypatch.setenv("JOURNEYS_PROJECT", str(tmp_path))
    settings.cache_clear()
    world = World(db, tmp_path)
    world.deploy(FLOW)
    show(world, START)
    return world


def show(world: World, now: Any) -> None:
    """The clock shows `now`, and hardly moves."""
    with world.db.begin() as conn:
        set_clock(conn, now, 0.0001)


def run(*words: str, typed: str | None = None, code: int = 0) -> str:
    result: Result = CliRunner(env={"COLUMNS": "200"}).invoke(build_app(), list(words), input=typed)
    if code == 0 and result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def people(world: World, *names: str) -> None:
    world.events([{"customer_id": n, "type": "signup", "occurred_at": START, "received_at": START} for n in names])
    world.tick(START)


def test_hold_and_release(world: World) -> None:
    people(world, "ann", "bob")
    assert run("hold", "flow", "--why", "odd [figures]", "--by", "eve") == "held: workflow flow: nobody advances, nothing is sent\n"
    assert "odd [figures]" in run("holds") and "eve" in run("holds")
    status = run("status")
    assert "active, held" in status and "held: workflow flow (advancing and sends) since 2026-03-02 09:00 by eve: odd [figures]" in status
    world.tick(at(hours=2))
    assert "2 (2 parked)" in run("status")
    show(world, at(hours=3))
    said = run("release", "flow", "--spread", "1 hour")
    assert "released: workflow flow (held since 2026-03-02 09:00 UTC by eve: odd [figures])" in said
    assert "flow: 2 journeys go on, until 2026-03-02 13:00 UTC" in said
    assert "active, resuming" in run("status") and "being let go: flow until 2026-03-02 13:00" in run("holds")
    assert json.loads(run("holds", "--json"))["past"][0]["why"] == "odd [figures]"


def test_all_and_sends_only(world: World) -> None:
    assert run("hold", "--all", "--why", "x", "--dispatch-only") == "held: all workflows: nothing is sent, journeys go on\n"
    assert "sends held" in run("status") and "sends only" in run("holds")
    assert "nothing waited" in run("release", "--all", "--now")
    assert "nothing is held" in run("holds", "--past", "0")


def test_wrong_words(world: World) -> None:
    assert "name one workflow, or say --all" in run("hold", "--why", "x", code=2)
    assert "name one workflow, or say --all" in run("release", "flow", "--all", code=2)
    assert "--why" in run("hold", "flow", code=2)
    assert "expected a duration" in run("release", "flow", "--spread", "soon", code=2)
    assert "say either --spread or --now" in run("release", "flow", "--spread", "1h", "--now", code=2)
    assert "say one of --customers, --file, --where" in run("enter", "flow", code=2)
    assert "expected KEY=VALUE" in run("enter", "flow", "--customers", "a", "--field", "x", code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hold", "flwo", "--why", "x"], "no workflow 'flwo' is deployed; there are: flow. Did you mean 'flow'?"),
        (["release", "flow"], "workflow flow is not held"),
        (["errors", "nope"], "no workflow 'nope'"),
        (["retry", "1", "flow"], "expected ids of journeys"),
        (["tasks", "close", "99"], "there is no task 99"),
        (["diff", "nope"], "no workflow 'nope'"),
        (["enter", "flow", "--where", "customer.x ="], "--where: column"),
        (["enter", "flow", "--file", "gone.csv"], "gone.csv: No such file or directory"),
    ],
)
def test_errors_are_sentences(world: World, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OperationRefused):
        CliRunner().invoke(build_app(), words, catch_exceptions=False)
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 1
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed


def test_errors_and_retry(world: World) -> None:
    assert "no journey ended with an error" in run("errors")
    execute(
        world.db,
        "CREATE FUNCTION journeys.refuse() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE EXCEPTION 'too large' USING ERRCODE = '22003'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON journeys.tasks FOR EACH ROW EXECUTE FUNCTION journeys.refuse()",
    )
    people(world, "ann", "bob")
    assert "too large" in run("errors") and "22003" in run("errors", "flow")
    listed = json.loads(run("errors", "--list", "--json"))
    assert {row["customer_id"] for row in listed} == {"ann", "bob"}
    execute(world.db, "DROP TRIGGER refuse ON journeys.tasks")
    assert "1 journey active again" in run("retry", str(listed[0]["journey_id"]))
    assert "1 journey active again" in run("retry", "flow")
    assert "1 journey refused: it is active" in run("retry", str(listed[0]["journey_id"]), code=1)
    assert "no journey of it ended with an error" in run("retry", "flow")


def test_tasks(world: World) -> None:
    assert "no open task" in run("tasks")
    people(world, "ann")
    assert "Call [them]" in run("tasks", "--assignee", "sales") and "no open task" in run("tasks", "--workflow", "other")
    assert "tasks open: flow 1" in run("status")
    (task,) = json.loads(run("tasks", "--json"))
    assert "closed task 1 (Call [them]): won" in run(
        "tasks", "close", str(task["id"]), "--outcome", "won", "--note", "eager", "--by", "eve"
    )
    assert "task 1 was closed 2026-03-02 09:00 UTC by eve as won; it stays so" in run("tasks", "close", str(task["id"]))
    assert "won (eve)" in run("tasks", "--status", "closed")


def test_a_plan_and_a_diff(world: World) -> None:
    assert "nothing would change" in run("deploy", "--plan")
    people(world, "ann")
    (world.root / "flow" / "workflow.yaml").write_text(FLOW.replace("1 hour", "2 hours"))
    for words in (["diff"], ["deploy", "--plan"], ["diff", "flow"]):
        said = run(*words)
        assert "flow: new version 2" in said and "1 in flight on v1: 1 waits at stay; they stay on v1" in said
    assert json.loads(run("diff", "--json"))["workflows"][0]["steps"] == [{"id": "stay", "change": "changed", "what": ["wait"]}]


def test_enter_asks_and_exit_too(world: World) -> None:
    for name in ("ann", "bob"):
        world.profile(name)
    assert "0 requests" not in run("enter", "flow", "--customers", "ann,bob,nobody", typed="n\n", code=1)
    said = run("enter", "flow", "--customers", "ann,bob,nobody", "--field", "campaign=spring", typed="y\n")
    assert "1 unknown, left out: nobody" in said and "enter 2 customers?" in said and "2 requests written" in said
    world.tick(START)
    assert [j.trigger_id for j in world.journeys()] == ["manual", "manual"]
    assert "0 customers" in run("enter", "flow", "--customers", "nobody", code=1)
    document = json.loads(run("exit", "flow", "--where", "true", "--yes", "--json"))
    assert document["written"] == 2 and document["preview"]["inside"] == 2
    world.tick(START)
    assert {j.exit_reason for j in world.journeys()} == {"manual"}


def test_a_limit_that_is_reached_is_shown(world: World) -> None:
    people(world, "a", "b", "c", "d")
    assert len(world.journeys()) == 3 and "limit reached: flow: in_flight 3" in run("status")
    assert json.loads(run("status", "--json"))["standing"]["limits"] == [
        {"workflow_id": "flow", "what": "in_flight", "limit": "3", "left": 0}
    ]


def test_what_left_the_folder_is_draining(world: World) -> None:
    people(world, "ann")
    for file in (world.root / "flow").iterdir():
        file.unlink()
    (world.root / "flow").rmdir()
    world.deploy()
    assert "archived, draining" in run("status")


@pytest.mark.parametrize("command", ["hold", "release", "holds", "errors", "retry", "tasks", "diff", "enter", "exit"])
def test_help_says_what_it_does(command: str) -> None:
    said = run(command, "--help")
    assert "Usage" in said and len(said.splitlines()) > 8
