"""The example project as a whole: it is sound, uses the language widely, and deploying it again changes nothing."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from examples_world import EXAMPLES, ExampleWorld, wall

from journey_pipelines.engine.deploy import deploy
from journey_pipelines.workflows.load import lint, load_project
from journey_pipelines.workflows.model import AfterWait, DateWait, EventWait

FIVE = ["cart_recovery", "office_nurture", "trial_expiry", "welcome", "win_back"]


def test_it_validates_strictly() -> None:
    project = load_project(EXAMPLES)
    assert [str(problem) for problem in (*project.errors, *lint(EXAMPLES))] == []
    assert sorted(loaded.workflow.id for loaded in project.workflows) == FIVE


def test_it_speaks_most_of_the_language() -> None:
    """So that what the examples prove is what people write: every form of trigger, wait and next, and all but the rarest actions."""
    flows = [loaded.workflow for loaded in load_project(EXAMPLES).workflows]
    steps = [step for flow in flows for step in flow.steps]
    assert {type(trigger).__name__ for flow in flows for trigger in flow.triggers} == {
        "EventTrigger", "SegmentTrigger", "ConditionTrigger", "ScheduleTrigger", "DateTrigger", "ManualTrigger",
    }  # fmt: skip
    assert {type(step.wait) for step in steps} == {type(None), AfterWait, DateWait, EventWait}
    assert {action.kind for flow in flows for _, action in flow.actions()} >= {
        "send_email", "send_sms", "send_push", "webhook_call", "update_profile", "add_to_segment", "create_task", "emit_event",
        "start_workflow", "exit_workflow",
    }  # fmt: skip
    assert any(step.next.split for step in steps) and any(b.max_visits for step in steps for b in step.next.branches or ())


def test_deployed_again_nothing_changes(db: sa.Engine, tmp_path: Path) -> None:
    now = wall("2026-03-02 09:00")
    world = ExampleWorld(db, tmp_path, now=now)
    report = deploy(world.db, load_project(world.root), now)
    assert {change.workflow_id: change.change for change in report.changes} == dict.fromkeys(FIVE, "unchanged")
