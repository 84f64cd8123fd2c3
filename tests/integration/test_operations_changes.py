"""What deploying the folder would change, and for how many; reading only."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from engine_rows import one
from engine_world import START, World, at

from journey_pipelines.commands.changes import beside, details, headline
from journey_pipelines.engine.changes import Changes, WorkflowChanges, plan_changes
from journey_pipelines.workflows.load import load_project


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> World:
    return World(db, tmp_path)


FLOW = """
workflow: flow
triggers: [{event: signup}]
goal: {event: purchase}
exit: [goal]
steps:
  - id: first
    do: [{send_email: {template: hello, subject: Hello}}]
  - id: settle
    wait: 1 day
    do: [{send_sms: {text: Hi}}]
  - id: last
    wait: 2 days
"""


def write(world: World, *workflows: str, **files: str) -> None:
    """Into the folder, without deploying."""
    for text in workflows:
        (world.root / text.split("workflow:", 1)[1].split()[0] / "workflow.yaml").write_text(text, encoding="utf-8")
    for name, text in files.items():
        path = world.root / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".yaml").write_text(text, encoding="utf-8")


def plan(world: World) -> Changes:
    project = load_project(world.root)
    assert not project.errors, "\n".join(map(str, project.errors))
    with world.db.connect() as conn:
        return plan_changes(conn, project)


def only(world: World) -> WorkflowChanges:
    (found,) = plan(world).workflows
    return found


def people(world: World, n: int) -> None:
    world.events([{"customer_id": f"c{i}", "type": "signup", "occurred_at": START, "received_at": START} for i in range(n)])
    world.tick(START)


def test_an_empty_database_and_a_folder_that_was_deployed(world: World) -> None:
    world.deploy(FLOW)
    assert not plan(world).any and [w.change for w in plan(world).workflows] == ["unchanged"]
    with world.db.begin() as conn:
        conn.execute(sa.text("TRUNCATE journeys.automation_workflows, journeys.workflow_steps"))
    found = only(world)
    assert (headline(found), details(found)) == ("flow: new", ["1 trigger, 3 steps"])


def test_what_differs_and_who_stays(world: World) -> None:
    world.deploy(FLOW)
    people(world, 40)
    before = one(world.db, "SELECT count(*) FROM journeys.automation_workflows")
    changed = (
        FLOW.replace("wait: 1 day", "wait: 1 hour")
        .replace("id: last", "id: finally")
        .replace("- id: first", "- id: extra\n    wait: 1 hour\n  - id: first")
    )
    write(world, changed.replace("event: purchase", "event: order").replace("[{event: signup}]", "[{event: signup}, {event: return}]"))
    (world.root / "flow" / "hello.html").write_text("<p>Hi</p>")
    found = only(world)
    assert headline(found) == "flow: new version 2"
    assert details(found) == [
        "trigger return: added",
        "step last: removed",
        "step extra: added",
        "step settle: changed (wait, next)",
        "step finally: added",
        "template hello.html: changed",
        "goal changed",
        "40 in flight on v1: 40 wait at settle; they stay on v1",
    ]
    assert one(world.db, "SELECT count(*) FROM journeys.automation_workflows") == before


def test_settings_alone_make_no_version(world: World) -> None:
    world.deploy(FLOW)
    people(world, 2)
    write(world, FLOW.replace("workflow: flow", "workflow: flow\nname: The flow\nstatus: paused"))
    found = only(world)
    assert headline(found) == "flow: settings only"
    assert details(found) == ["name: Flow -> The flow", "status: active -> paused", "2 in flight on v1: 2 wait at settle; they stay on v1"]


def test_who_ends_because_of_in_flight_exit(world: World) -> None:
    world.deploy(FLOW)
    people(world, 7)
    world.event("late", "signup", at(1))
    world.tick(at(1))
    write(world, FLOW.replace("workflow: flow", "workflow: flow\nin_flight: exit").replace("id: last", "id: other"))
    found = only(world)
    assert details(found)[-1] == (
        "8 in flight on v1: 7 wait at last, 1 waits at settle; they end (in_flight: exit), "
        "7 of them because their step is gone (step_removed)"
    )
    report = world.deploy(now=at(1))
    assert (report.retired["flow"].step_removed, report.retired["flow"].version_retired) == (7, 1), "deploy does what the plan said"


def test_a_workflow_that_left_the_folder_drains(world: World) -> None:
    world.deploy(FLOW)
    people(world, 3)
    for file in (world.root / "flow").iterdir():
        file.unlink()
    (world.root / "flow").rmdir()
    found = only(world)
    assert (headline(found), details(found)) == ("flow: archived", ["3 in flight on v1: 3 wait at settle; they go on to their end"])
    world.deploy()
    assert plan(world).workflows == []


def test_segments_and_members_that_would_be_asked_in(world: World) -> None:
    for name in ("ann", "bob", "cid"):
        world.profile(name, email_address=f"{name}@example.org")
    write(world, segments__gold="segment: gold\nstatic: true\n", segments__rich="segment: rich\nwhen: customer.lifetime_value > 5\n")
    world.deploy(FLOW.replace("workflow: flow", "workflow: other"))
    with world.db.begin() as conn:
        conn.execute(
            sa.text(
                "INSERT INTO journeys.segment_memberships (segment_id, customer_id, entered_at, source) "
                "VALUES ('gold', 'ann', :at, 'app'), ('gold', 'bob', :at, 'app')"
            ),
            {"at": START},
        )
    write(
        world,
        segments__rich="segment: rich\nwhen: customer.lifetime_value > 50\n",
        segments__new="segment: new\nwhen: customer.country == 'CH'\n",
    )
    (world.root / "segments" / "gold.yaml").write_text("segment: gold\nstatic: true\ndescription: Our best\n")
    text = FLOW.replace(
        "triggers: [{event: signup}]", "triggers:\n  - segment: gold\n  - condition: customer.lifetime_value > 9\nentry: {existing: enter}"
    )
    (world.root / "flow").mkdir()
    (world.root / "flow" / "hello.html").write_text("<p>Hello</p>")
    write(world, text)
    changes = plan(world)
    flow = next(w for w in changes.workflows if w.workflow_id == "flow")
    assert details(flow)[-1] == "trigger gold: 2 members of its segment would be asked in (entry.existing: enter)"
    assert beside(changes) == [
        "segment gold: changed",
        "segment new: new: 3 customers to be evaluated",
        "segment rich: changed: 3 customers to be evaluated",
        "segment flow.condition: new: 3 customers to be evaluated",
    ]


def test_policies_are_named(world: World) -> None:
    write(world, policies="zone: Europe/Paris\n")
    # before the first deploy there is nothing that they differ from
    assert beside(plan(world)) == []
    world.deploy(FLOW)
    write(world, policies="zone: Europe/Zurich\n")
    assert beside(plan(world)) == ["policies: changed"]
