"""Who may be written to: consent by policy and by row, topics, suppression; and that the claim has the last word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from ledger_rows import CONSENT, NOW, definition, deploy, message, person, plan

from journey_pipelines.delivery.claim import Claims, Ledger, Prepared
from journey_pipelines.delivery.policies import DeliveryPolicies
from journey_pipelines.delivery.render import Renderer
from journey_pipelines.delivery.timing import read_clock
from journey_pipelines.store import tables as t


def consent_row(conn: sa.Connection, customer: str, state: str, topic: str | None = None, hours: int = 0, channel: str = "email") -> None:
    conn.execute(
        sa.insert(t.channel_consents).values(
            customer_id=customer, channel=channel, topic=topic, state=state, at=NOW + timedelta(hours=hours), source="test"
        )
    )


def suppress(conn: sa.Connection, address: str) -> None:
    conn.execute(
        sa.insert(t.suppressions).values(
            address_hmac=sa.func.journeys.address_hmac(address), channel="email", reason="hard bounce", at=NOW, source="test"
        )
    )


def gate(db: sa.Engine, channel: str = "email", consent: Any = CONSENT) -> tuple[int, dict[str, int]]:
    """How many pass, and the reasons of the others."""
    with db.begin() as conn:
        due, suppressed = Ledger(channel, consent, "test").due(conn, NOW, range(64))
        return len(due), dict(suppressed)


CASES: list[tuple[str, dict[str, Any], list[tuple[str, str | None, int]], dict[str, Any], str | None]] = [
    ("policy says yes", {}, [], {}, None),
    ("policy says no", {"subscription_status": "cancelled"}, [], {}, "no consent"),
    ("policy cannot say", {"subscription_status": None}, [], {}, "no consent"),
    ("a row wins over the policy's no", {"subscription_status": None}, [("granted", None, 0)], {}, None),
    ("a row wins over the policy's yes", {}, [("withdrawn", None, 0)], {}, "consent withdrawn"),
    ("the latest row wins", {}, [("withdrawn", None, 0), ("granted", None, 1)], {}, None),
    ("of rows of one time the last written wins", {}, [("granted", None, 0), ("withdrawn", None, 0)], {}, "consent withdrawn"),
    ("the message's topic counts", {}, [("withdrawn", "offers", 0)], {"topic": "offers"}, "consent withdrawn"),
    ("another topic does not", {}, [("withdrawn", "news", 0)], {"topic": "offers"}, None),
    ("a topic after all topics", {}, [("withdrawn", None, 0), ("granted", "offers", 1)], {"topic": "offers"}, None),
    ("transactional needs none", {"subscription_status": "cancelled"}, [], {"category": "transactional"}, None),
    ("opting out of everything stops no receipt", {}, [("withdrawn", None, 0)], {"category": "transactional", "topic": "receipts"}, None),
    ("opting out of receipts does", {}, [("withdrawn", "r", 0)], {"category": "transactional", "topic": "r"}, "consent withdrawn"),
]  # fmt: skip


def test_consent(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        ids = {}
        for number, (case, profile, rows, columns, _) in enumerate(CASES):
            name = f"p{number}"
            person(conn, name, **profile)
            for state, topic, hours in rows:
                consent_row(conn, name, state, topic, hours)
                consent_row(conn, "somebody else", state, topic, hours + 9)
                consent_row(conn, name, "withdrawn" if state == "granted" else "granted", topic, hours + 9, channel="sms")
            ids[case] = plan(conn, name, **columns)
    passed, _ = gate(db)
    found = {case: message(db, ids[case]).reason for case in ids}
    assert found == {case: reason for case, _, _, _, reason in CASES}
    assert passed == list(found.values()).count(None)


def test_a_channel_without_a_policy_has_no_consent(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        person(conn, "ann")
        plan(conn, "ann")
    assert gate(db, consent={}) == (0, {"no consent": 1})


def test_suppression_stops_transactional_too_whatever_the_spelling(db: sa.Engine) -> None:
    with db.begin() as conn:
        deploy(conn)
        person(conn, "ann", email_address="Ann@Example.org")
        person(conn, "bob")
        plan(conn, "ann", category="transactional")
        plan(conn, "bob")
        suppress(conn, "ann@example.ORG")
    assert gate(db) == (1, {"suppressed address, hard bounce": 1})


# Between rendering and claim


def withdraw(conn: sa.Connection, ids: list[int]) -> None:
    consent_row(conn, "ann", "withdrawn")


def cancel(conn: sa.Connection, ids: list[int]) -> None:
    conn.execute(sa.update(t.customer_profiles).values(subscription_status="cancelled"))


def bounce(conn: sa.Connection, ids: list[int]) -> None:
    suppress(conn, "ann@example.org")


def leave(conn: sa.Connection, ids: list[int]) -> None:
    conn.execute(sa.update(t.customer_journeys).values(status="ended", ended_at=NOW, exit_reason="exit_rule"))


def no_address(conn: sa.Connection, ids: list[int]) -> None:
    conn.execute(sa.update(t.customer_profiles).values(email_address=None))


def other_address(conn: sa.Connection, ids: list[int]) -> None:
    conn.execute(sa.update(t.customer_profiles).values(email_address="new@example.org"))


def pause(conn: sa.Connection, ids: list[int]) -> None:
    conn.execute(sa.update(t.automation_workflows).values(status="paused"))


def suppressed_by_the_engine(conn: sa.Connection, ids: list[int]) -> None:
    conn.execute(sa.update(t.messages).values(state="suppressed", reason="left the journey, goal"))


def test_nothing_changed(db: sa.Engine) -> None:
    claims, _ = _claim_after(db, lambda conn, ids: None)
    assert len(claims.claimed) == 1 and claims.claimed[0].epoch == 1


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        (withdraw, "suppressed", "consent withdrawn"),
        (cancel, "suppressed", "no consent"),
        (bounce, "suppressed", "suppressed address, hard bounce"),
        (leave, "suppressed", "left the journey, exit_rule"),
        (no_address, "suppressed", "no address"),
        (other_address, "planned", None),
        (pause, "planned", None),
        (suppressed_by_the_engine, "suppressed", "left the journey, goal"),
    ],
)
def test_what_changes_between_rendering_and_claim_counts(
    db: sa.Engine, change: Callable[[sa.Connection, list[int]], None], state: str, reason: str | None
) -> None:
    claims, row = _claim_after(db, change)
    assert not claims.claimed
    assert (row.state, row.reason, row.attempts, row.lease_epoch) == (state, reason, 0, 0)


@pytest.mark.parametrize("table", [t.customer_profiles, t.messages])
def test_rows_that_somebody_is_changing_are_left_for_the_next_round(db: sa.Engine, table: sa.Table) -> None:
    with db.connect() as other:
        claims, row = _claim_after(db, lambda conn, ids: other.execute(sa.select(table).with_for_update()) and None)
        assert (claims.claimed, claims.lost, row.state) == ([], 1, "planned")


def test_a_claim_holds_the_profile_until_it_commits(db: sa.Engine) -> None:
    """Whoever withdraws locks the profile first: either the claim sees the withdrawal, or the withdrawal comes after the claim."""
    ledger, prepared = _rendered(db)
    with db.begin() as conn, db.connect() as other:
        ledger.claim(conn, read_clock(conn, NOW), prepared)
        with pytest.raises(sa.exc.OperationalError, match="could not obtain lock"):
            other.execute(sa.select(t.customer_profiles).with_for_update(nowait=True))


def test_a_body_sent_before_is_sent_again_and_only_to_that_address(db: sa.Engine) -> None:
    ledger, prepared = _rendered(db)
    with db.begin() as conn:
        [first] = ledger.claim(conn, read_clock(conn, NOW), prepared).claimed
        conn.execute(sa.update(t.messages).values(state="retry", reason="451", lease_until=None))
        conn.execute(sa.update(t.customer_profiles).values(first_name="Another"))
    again = _prepare(db, ledger)
    assert again[0].frozen and again[0].content == first.message.content
    with db.begin() as conn:
        conn.execute(sa.update(t.customer_profiles).values(email_address="new@example.org"))
        claims = ledger.claim(conn, read_clock(conn, NOW), again)
    assert claims.suppressed == {"address changed since the first attempt": 1}


def _rendered(db: sa.Engine) -> tuple[Ledger, list[Prepared]]:
    with db.begin() as conn:
        deploy(conn, definition())
        person(conn, "ann")
        plan(conn, "ann")
    ledger = Ledger("email", CONSENT, "test")
    return ledger, _prepare(db, ledger)


def _prepare(db: sa.Engine, ledger: Ledger) -> list[Prepared]:
    renderer = Renderer(DeliveryPolicies())
    with db.begin() as conn:
        due, _ = ledger.due(conn, NOW, range(64))
        rows = ledger.details(conn, due)
        renderer.load(conn, rows)
    return renderer.prepare(rows, NOW)


def _claim_after(db: sa.Engine, change: Callable[[sa.Connection, list[int]], None]) -> tuple[Claims, Any]:
    ledger, prepared = _rendered(db)
    with db.begin() as conn:
        change(conn, [p.id for p in prepared])
    with db.begin() as conn:
        claims = ledger.claim(conn, read_clock(conn, NOW), prepared)
    return claims, message(db, prepared[0].id)
