"""Workflows in a few lines, segments, and what came of them: shared by the engine's tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from engine_world import World

MAIL = "  - id: mail\n    do: [{send_email: {template: hello, subject: Hello}}]\n"

#: two messages at once, then a wait for an answer
GREETING = """
workflow: hello
triggers:
  - event: signup
entry:
  reentry: always
steps:
  - id: greet
    do:
      - send_email: {template: hello, subject: Hello}
      - send_sms: {text: Hello}
  - id: answer
    wait: {for: [message.clicked, reply], timeout: 3 days}
"""


def flow(name: str, trigger: str, steps: str = MAIL, more: str = "") -> str:
    """A workflow with one trigger; `more`: further keys, a line each."""
    return f"workflow: {name}\ntriggers:\n  - {trigger}\n{more}\nsteps:\n{steps}"


def mail_after(wait: str) -> str:
    """One step that waits and sends."""
    return MAIL.replace("mail", f"mail\n    wait: {wait}", 1)


def waiting_for_inner(first: str = "") -> str:
    """Starts `inner` and waits for its end; `first`: what the first step does before."""
    return f"""  - id: begin
{first}    do: [{{start_workflow: inner}}]
    next: done
  - id: done
    wait: {{for: journey.ended, when: "arrived.workflow == 'inner'", timeout: 2 days}}
    next:
      - when: arrived
        to: thanks
      - else: end
  - id: thanks
    do: [{{send_email: {{template: hello, subject: Thanks}}}}]
"""


def segment(world: World, name: str, text: str) -> None:
    """Write segments/<name>.yaml; deployed with the next deploy."""
    folder = world.root / "segments"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(f"segment: {name}\n{text}\n", encoding="utf-8")


def entries(world: World, customer: str = "ann") -> list[tuple[str, datetime]]:
    """(workflow, when) of a customer's journeys, in the order they were entered."""
    return [(j.workflow_id, j.entered_at) for j in world.journeys(customer)]


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """A batch that never ends must not hang the run."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
