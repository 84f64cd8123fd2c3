"""`journeys person`: one customer's story, as the engine and the gate wrote it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from journey_pipelines.audience.person import UnknownPerson, nearest_ids, person
from journey_pipelines.audience.timeline import as_json, lines
from journey_pipelines.cli import build_app
from journey_pipelines.engine.deploy import deploy
from journey_pipelines.engine.tick import tick
from journey_pipelines.store.clock import set_clock
from journey_pipelines.store.tables import channel_consents, event_inbox, messages
from journey_pipelines.workflows.load import load_project

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
NOW = T0 + timedelta(days=3)
CART = """
workflow: cart_recovery
triggers:
  - id: left_cart
    event: cart_updated
    when: event.item_count > 0 and customer.subscription_status == 'active'
goal:
  event: purchase
  value: arrived.total
  within: 30 days
exit:
  - goal
steps:
  - id: remind
    wait: 1 hour
    do:
      - send_email: {template: remind, subject: Your cart}
      - create_task:
          title: "Call {{ customer.first_name | default('them') }}"
          assignee: sales
  - id: settle
    wait: {for: message.clicked, timeout: 1 day}
    next:
      - when: customer.lifetime_value > 500
        to: offer
      - else: last_call
  - id: offer
    wait: 2 days
    do:
      - send_sms: {text: 10% off}
    next: end
  - id: last_call
    wait: 2 days
    do:
      - send_sms: {text: Last call}
    next: end
"""


@pytest.fixture
def shop(db: sa.Engine, tmp_path: Path) -> sa.Engine:
    folder = tmp_path / "cart_recovery"
    folder.mkdir()
    (folder / "workflow.yaml").write_text(CART)
    (folder / "remind.html").write_text("<p>Your cart is waiting</p>")
    (tmp_path / "policies.yaml").write_text("consent:\n  email: customer.subscription_status == 'active'\nzone: Europe/Berlin\n")
    project = load_project(tmp_path)
    assert not project.errors, project.errors
    deploy(db, project, T0)
    with db.begin() as conn:
        set_clock(conn, NOW, 0.001)
    return db


def put(db: sa.Engine, customer_id: str, event_type: str, at: datetime, payload: Any = None, profile: Any = None) -> None:
    values = {
        "customer_id": customer_id,
        "type": event_type,
        "occurred_at": at,
        "received_at": at,
        "payload": payload or {},
        "profile": profile,
    }
    with db.begin() as conn:
        conn.execute(sa.insert(event_inbox).values(source="shop", **values))


def told(db: sa.Engine, customer_id: str) -> str:
    with db.connect() as conn:
        return "\n".join(line.plain for line in lines(person(conn, customer_id, NOW)))


@pytest.fixture
def ann(shop: sa.Engine) -> sa.Engine:
    profile = {"first_name": "Ann", "timezone": "America/New_York", "subscription_status": "active", "lifetime_value": 12.5, "plan": "gold"}
    put(shop, "ann", "cart_updated", T0, {"item_count": 3}, profile)
    tick(shop, NOW)
    return shop


def test_the_story_says_why_which_way_and_what_is_next(ann: sa.Engine) -> None:
    story = told(ann, "ann")
    for text in (
        "ann  Ann   1 event",
        "subscription_status active, lifetime_value 12.5, plan gold",
        "zone America/New_York (from the profile)",
        "consent email: yes, policy: customer.subscription_status == 'active'",
        "consent sms: no, no row and no policy",
        '2026-03-02 04:00:00  event    cart_updated {"item_count": 3} (source shop)',
        "cart_recovery: entered version 1 at remind by trigger left_cart; because event.item_count > 0 and customer.subscription_status ==",
        "[event.item_count = 3, customer.subscription_status = active]",
        "2026-03-02 05:00:00  message  cart_recovery: email remind: planned for 2026-03-02 05:00:00",
        "remind: create_task done",
        "Call Ann",
        "cart_recovery: settle: timed out, on to last_call; no condition was true (else)",
        "customer.lifetime_value = 12.5",
        "2026-03-05 05:00:00  cart_recovery [",
        "last_call: waits 2 days, then send_sms",
    ):
        assert text in story, f"{text!r} is not in\n{story}"


def test_moments_come_in_the_order_they_happened(ann: sa.Engine) -> None:
    with ann.connect() as conn:
        found = person(conn, "ann", NOW)
    assert [moment.at for moment in found.timeline] == sorted(moment.at for moment in found.timeline)
    # an action stands before the move with which the journey leaves its step
    kinds = [(moment.kind, moment.what) for moment in found.timeline]
    assert kinds[:2] == [("event", "cart_updated"), ("journey", "entered")]
    assert set(kinds[2:4]) == {("message", "planned"), ("action", "create_task")}
    assert kinds[4][0] == "journey"


def test_goals_exits_refusals_and_unrouted_events_are_told(ann: sa.Engine) -> None:
    put(ann, "ann", "purchase", NOW - timedelta(hours=1), {"total": 99})
    tick(ann, NOW)
    put(ann, "ann", "broken", NOW - timedelta(minutes=5), ["no object"])
    tick(ann, NOW)
    put(ann, "ann", "purchase", NOW, {"total": 1})
    story = told(ann, "ann")
    for text in (
        "goal     cart_recovery: goal reached by purchase, value 99",
        "ended at last_call: goal",
        "broken was not used: payload is not a JSON object but array (source shop)",
        "1 more event(s) in the inbox, not routed yet",
        "email remind: suppressed: goal",
        "nothing is due",
    ):
        assert text in story, f"{text!r} is not in\n{story}"


def test_a_request_that_began_nothing_says_so(ann: sa.Engine) -> None:
    """By hand, by a tick, a date or another workflow: she is in it already."""
    put(ann, "ann", "enter.cart_recovery", NOW, {"trigger": "manual"})
    tick(ann, NOW)
    [line] = [line for line in told(ann, "ann").splitlines() if "enter.cart_recovery" in line]
    assert "began no journey: the workflow's status, entry, re-entry or limits were against it" in line


def test_messages_show_their_state_and_reason(ann: sa.Engine) -> None:
    with ann.begin() as conn:
        conn.execute(sa.update(messages).values(state="in_doubt", reason="no answer after the body", attempts=2))
    assert "email remind: in doubt: no answer after the body (2 attempts)" in told(ann, "ann")
    with ann.begin() as conn:
        accepted = {"state": "accepted", "reason": None, "accepted_at": T0 + timedelta(hours=1, minutes=1), "provider": "smtp"}
        conn.execute(sa.update(messages).values(**accepted))
    assert "email remind: accepted 2026-03-02 05:01:00 by smtp" in told(ann, "ann")


def test_an_explicit_consent_wins_over_the_policy(ann: sa.Engine) -> None:
    with ann.begin() as conn:
        for state, at in (("granted", T0), ("withdrawn", T0 + timedelta(hours=1))):
            conn.execute(sa.insert(channel_consents).values(customer_id="ann", channel="email", state=state, at=at, source="web form"))
        conn.execute(
            sa.insert(channel_consents).values(customer_id="ann", channel="sms", topic="offers", state="granted", at=T0, source="import")
        )
    story = told(ann, "ann")
    assert "consent email: no, withdrawn through web form, 2026-03-02 05:00:00" in story
    assert "consent sms (offers): yes, granted through import" in story
    assert "policy: customer.subscription_status" not in story


def test_an_invalid_zone_falls_back_and_says_so(shop: sa.Engine) -> None:
    put(shop, "bob", "cart_updated", T0, {"item_count": 1}, {"timezone": "Mars/Olympus"})
    tick(shop, NOW)
    story = told(shop, "bob")
    assert "zone Europe/Berlin (policy default: 'Mars/Olympus' on the profile is no zone)" in story
    assert "2026-03-02 10:00:00  event" in story


def test_only_the_last_events_are_shown_and_the_rest_is_counted(ann: sa.Engine) -> None:
    for n in range(5):
        put(ann, "ann", "visit", T0 + timedelta(minutes=n))
    tick(ann, NOW)
    with ann.connect() as conn:
        found = person(conn, "ann", NOW, limit=2)
    assert (found.events, found.left_out) == (6, 4)
    assert [moment.what for moment in found.timeline if moment.kind == "event"] == ["visit", "visit"]


def test_an_unknown_person_gets_ids_that_look_like_it(ann: sa.Engine) -> None:
    for n in range(20):
        put(ann, f"user-{n:03}", "visit", T0)
    tick(ann, NOW)
    with ann.connect() as conn:
        with pytest.raises(
            UnknownPerson, match=r"no customer 'user-01': no profile, no event, no journey\. Ids that look like it: .*user-010"
        ):
            person(conn, "user-01", NOW)
        assert len(nearest_ids(conn, "user-01")) == 5


def test_the_first_person_of_an_empty_database_is_unknown(db: sa.Engine) -> None:
    with db.connect() as conn, pytest.raises(UnknownPerson, match="There are no customers yet"):
        person(conn, "ann", NOW)


def test_the_json_is_the_same_story(ann: sa.Engine) -> None:
    with ann.connect() as conn:
        document = as_json(person(conn, "ann", NOW))
    assert json.loads(json.dumps(document)) == document
    assert document["zone"] == "America/New_York"
    entered = next(moment for moment in document["timeline"] if moment["what"] == "entered")
    assert entered["detail"]["values"] == {"event.item_count": 3, "customer.subscription_status": "active"}
    assert document["next"][-1]["at"] == "2026-03-05T10:00:00+00:00"


def test_the_command(ann: sa.Engine, db_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", db_url)
    result = CliRunner().invoke(build_app(), ["person", "ann"])
    assert result.exit_code == 0, result.output
    assert "entered version 1 at remind" in result.output
    result = CliRunner().invoke(build_app(), ["person", "ann", "--json"])
    assert json.loads(result.output)["customer_id"] == "ann"
    result = CliRunner().invoke(build_app(), ["person", "nobody"])
    assert result.exit_code == 1
    assert "no customer 'nobody'" in result.output
