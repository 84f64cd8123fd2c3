"""The picture of a workflow: every way is in it, and no text of a workflow can break out of its label."""

import re
from pathlib import Path

from workflow_files import load_one

from journey_pipelines.workflows.graph import mermaid
from journey_pipelines.workflows.load import load_project

SHIPPED = Path(__file__).parents[2] / "workflow_defs"
HARD = Path(__file__).parent / "fixtures" / "hard"
SNAPSHOT = Path(__file__).parent / "snapshots" / "hard.mmd"

HOSTILE = """\
workflow: hello
triggers:
  - event: 'a"]; click s_end "javascript:alert(1)'
    when: event.x == '<script>' or event.y == "|end]"
steps:
  - id: graph
    name: '"] --> s_x %% `md` <img src=x onerror=alert(1)> #quot; &lt;'
    next:
      - when: event.z == '"|"'
        to: subgraph
      - else: end
  - id: subgraph
    wait: 1 day
"""


def test_the_shipped_picture() -> None:
    loaded = load_project(SHIPPED).workflow("new_customer_welcome")
    assert loaded is not None
    assert mermaid(loaded.workflow) == (
        "flowchart TD\n"
        '    trigger0(["event: user_registered"])\n'
        "    entry{\"entry<br>customer.subscription_status == 'active'\"}\n"
        "    trigger0 --> entry\n"
        "    entry --> s_welcome\n"
        '    s_welcome["welcome<br>send_email: welcome"]\n'
        '    s_onboarding["onboarding<br>wait 1 hour<br>send_sms: onboarding"]\n'
        "    finish(((end)))\n"
        "    s_welcome --> s_onboarding\n"
        "    s_onboarding --> finish\n"
        '    goal{{"goal: purchase within 14 days"}}\n'
        '    exit0[/"exit: unsubscribed"/] -. leaves .-> finish\n'
    )


def test_a_workflow_with_every_form() -> None:
    """After a wanted change of the drawing write the new one into the snapshot, and look at it."""
    loaded = load_project(HARD).workflow("hard")
    assert loaded is not None
    assert mermaid(loaded.workflow) == SNAPSHOT.read_text(encoding="utf-8")


def test_every_branch_and_arm_is_an_arrow() -> None:
    for loaded in [*load_project(SHIPPED).workflows, *load_project(HARD).workflows]:
        picture = mermaid(loaded.workflow)
        for step in loaded.workflow.steps:
            for to in step.next.targets():
                target = "finish" if to == "end" else f"s_{to}"
                assert re.search(rf"^    s_{step.id} -->.* {target}$|^    s_{step.id} --> {target}$", picture, re.MULTILINE)


def test_labels_cannot_break_out(tmp_path: Path) -> None:
    picture = mermaid(load_one(tmp_path, HOSTILE).workflow)
    for label in re.findall(r'"([^"]*)"', picture):
        assert not re.search(r"[<>|`\[\]{};]", re.sub(r"#\d+;|<br>", "", label)), label
    # without its labels the chart has nothing but nodes and arrows
    bare = re.sub(r'"[^"]*"', "L", picture)
    for line in bare.splitlines()[1:]:
        assert re.fullmatch(r"    (\w+)?(\(\[L\]\)|\{L\}|\[L\]|\(\(\(end\)\)\)|\[/L/\])?( (-->|-\. leaves \.->)(\|L\|)? \w+)?", line), line
