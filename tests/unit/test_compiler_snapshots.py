"""The SQL of the shipped workflows as it stood when somebody last looked at it.

A change of the compiler shows here as a diff of SQL. UPDATE_SNAPSHOTS=1 writes it down as the new one; look at the diff before that.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from compiled import listed, shipped

SNAPSHOTS = Path(__file__).with_name("snapshots")
WORKFLOWS = ["cart_recovery", "new_customer_welcome", "win_back"]


def text_of(workflow_id: str) -> str:
    """As `journeys sql` prints it."""
    return "\n\n".join(f"-- {statement.name}\n{statement.readable().strip()};" for statement in listed(shipped(), workflow_id)) + "\n"


@pytest.mark.parametrize("workflow_id", WORKFLOWS)
def test_the_compiled_sql_is_the_one_looked_at(workflow_id: str) -> None:
    file = SNAPSHOTS / f"{workflow_id}.sql"
    text = text_of(workflow_id)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text(), f"compiled SQL changed: UPDATE_SNAPSHOTS=1 pytest {Path(__file__).name}, then read its diff"


def test_every_shipped_workflow_has_one_and_nothing_else_lies_there() -> None:
    assert [loaded.workflow.id for loaded in shipped().workflows] == WORKFLOWS
    assert sorted(path.stem for path in SNAPSHOTS.glob("*.sql")) == WORKFLOWS


@pytest.mark.parametrize("workflow_id", WORKFLOWS)
def test_compiling_twice_gives_the_same_text(workflow_id: str) -> None:
    assert text_of(workflow_id) == text_of(workflow_id)
