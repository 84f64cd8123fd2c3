"""Four days of the language under the real daemon: the CLI deploys, an app INSERTs, an SMTP and an HTTP server get what is sent.

The clock runs fast over the quiet hours and at the wall's pace where somebody acts, so that the days take seconds and nothing hangs on how
quick the machine is. On the way the worker of the first drain is killed in the middle of its batch. The clocks change on the night
of 30 March 2025.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from daemon_world import DaemonWorld, utc
from servers.mail import MailServer
from servers.provider import Asked, Provider, Say

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(500)]

PROJECT = Path(__file__).parent / "project"
#: those who only register; and the partner's opinion of two others
CROWD = [f"c-{number:03}" for number in range(1, 201)]
GRADES = {"ann": b'{"grade": "A"}', "bob": b'{"grade": "C"}'}


def answer(asked: Asked) -> Say | None:
    """The partner's answer to a webhook; messages are taken as ever."""
    return Say(200, accept=True, body=GRADES[asked.json()["id"]]) if asked.path == "/score" else None


@pytest.fixture
def world(db: sa.Engine, tmp_path: Path) -> Iterator[DaemonWorld]:
    with MailServer() as mail, Provider() as provider:
        provider.answer = answer
        world = DaemonWorld(db, PROJECT, tmp_path, utc("2025-03-28 06:00"), mail, provider)
        yield world
        world.stop()


def mails(world: DaemonWorld) -> Counter[tuple[str, str]]:
    """(recipient without domain, subject) -> how often it was accepted."""
    return Counter((to.partition("@")[0], str(mail["Subject"])) for to, mail in world.mail.kept)


def texts(world: DaemonWorld) -> Counter[tuple[str, str]]:
    """(number, text) -> how often it was accepted."""
    return Counter((asked.json()["to"], asked.json()["text"]) for asked in world.provider.accepted if asked.path == "/sms")


def people(world: DaemonWorld) -> None:
    """What an app knows: two in Germany, one of them in New York, a rich one, three with a contract."""
    germans = {"country": "DE", "timezone": "Europe/Berlin"}
    world.profile("ann", **germans, first_name="Ann", email_address="ann@shop.example", phone_number="+491511234567")
    world.profile("cid", **germans | {"timezone": "America/New_York"}, first_name="Cid", phone_number="+491517654321")
    world.profile("bob", country="CH", lifetime_value=1500, email_address="bob@shop.example")
    for customer in ("dee", "eve", "fay"):
        world.profile(customer, renewal="2025-03-31", email_address=f"{customer}@shop.example")
    # moved before anything was planned
    world.profile("fay", renewal="2025-04-02")


def test_four_days(world: DaemonWorld) -> None:
    world.journeys("deploy")
    people(world)
    for total in (10, 20):
        world.event("ann", "purchase", {"total": total})
    for customer in CROWD:
        world.event(customer, "signup", {"name": customer}, {"email_address": f"{customer}@shop.example"})

    world.start_and_kill()

    # what the partner answered leads ann to a task, and bob to a mail
    world.until("ann's task", lambda: world.where("care", "ann") == "called")
    assert "Call ann, grade A" in " ".join(world.journeys("tasks", "--json").split())
    [(task,)] = world.rows("SELECT id FROM journeys.tasks")
    world.journeys("tasks", "close", str(task), "--outcome", "won", "--note", "Sam")
    world.until("what the task's end led to", lambda: world.where("onboarding", "ann") == world.where("celebrate", "ann") == "completed")

    # Saturday evening: eve's date moves while she waits for it, and an operator stops the reminders
    world.travel(utc("2025-03-29 17:00"))
    world.until("dee and eve wait", lambda: world.where("renewal", "dee") == world.where("renewal", "eve") == "remind")
    world.profile("eve", renewal="2025-04-01")
    world.journeys("hold", "renewal", "--why", "the text is wrong")

    # Sunday evening: dee's reminder was due this morning and is parked
    world.travel(utc("2025-03-30 17:00"))
    parked = "SELECT customer_id FROM journeys.customer_journeys WHERE held_at IS NOT NULL"
    world.until("dee is parked", lambda: world.rows(parked) == [("dee",)])
    assert ("dee", "Renewal on 31.03.") not in mails(world)
    world.journeys("release", "renewal", "--now")
    world.until("dee's reminder", lambda: ("dee", "Renewal on 31.03.") in mails(world))

    world.travel(utc("2025-03-31 17:00"))
    world.until("eve's reminder", lambda: ("eve", "Renewal on 01.04.") in mails(world))
    world.until("fay waits", lambda: world.where("renewal", "fay") == "remind")
    world.until("nothing is left", lambda: not world.rows("SELECT 1 FROM journeys.messages WHERE state <> 'accepted'"))

    everything_once(world)
    everything_in_its_time(world)


def everything_once(world: DaemonWorld) -> None:
    assert mails(world) == Counter(
        [
            *((customer, f"Hello {customer}") for customer in CROWD),
            ("bob", "Thank you"), ("ann", "A deal, grade A"), ("dee", "Renewal on 31.03."), ("eve", "Renewal on 01.04."),
        ]
    )  # fmt: skip
    assert texts(world) == Counter(
        [
            ("+491511234567", "Welcome aboard: Sam"),
            ("+491511234567", "The night sale is open, Ann"),
            ("+491517654321", "The night sale is open, Cid"),
        ]
    )
    assert sorted(asked.json()["id"] for asked in world.provider.asked if asked.path == "/score") == ["ann", "bob"]
    assert world.rows("SELECT 1 FROM journeys.event_quarantine") == []


def everything_in_its_time(world: DaemonWorld) -> None:
    """Times in UTC: Berlin is an hour ahead, two from Sunday on, New York four behind."""
    assert {tuple(line[:5] + line[8:] for line in world.story(customer)) for customer in CROWD} == {
        ("28 06 hello: -> greet", "28 07 hello: greet -> end")
    }
    assert [line[9:] if line.startswith("28 06") else line for line in world.story("ann")] == [
        "care: -> score", "care: score -> graded", "care: graded -> call", "care: call -> called", "care: called -> won",
        "care: won -> end", "celebrate: -> cheer", "celebrate: cheer -> end", "onboarding: -> begin", "onboarding: begin -> end",
        "29 08:00 sale: -> night", "29 21:00 sale: night -> end",
    ]  # fmt: skip
    assert [line[9:] for line in world.story("bob")] == [
        "care: -> score", "care: score -> graded", "care: graded -> thank", "care: thank -> end",
    ]  # fmt: skip
    # 05:00 in New York, an hour after the tick, is in the night that began on Friday
    assert world.story("cid") == ["29 08:00 sale: -> night", "29 09:00 sale: night -> end"]
    entered, reminded = world.story("dee")
    assert entered == "29 08:00 renewal: -> remind" and reminded.startswith("30 17:") and reminded.endswith("remind -> end")
    assert world.story("eve") == ["29 08:00 renewal: -> remind", "31 08:00 renewal: remind -> end"]
    assert world.story("fay") == ["31 07:00 renewal: -> remind"]
    due = world.rows("SELECT due_at FROM journeys.customer_journeys WHERE customer_id = 'fay'")
    assert due == [(utc("2025-04-01 08:00"),)]
