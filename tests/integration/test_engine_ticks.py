"""The result does not depend on when the engine looks: one random story, played with ticks of an hour, a day, nine days and at one go."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from engine_world import World, at

from journey_pipelines.store import tables as t

CART = """
workflow: cart
hold_out: 20%
triggers: [{event: cart, when: event.total > 10}, {id: any, event: cart, when: customer.plan == 'gold'}]
entry: {key: event.cart_id, while_active: restart, reentry: {after: 30 hours, of: exit, max: 4}, max_lateness: 10 hours}
goal: {event: purchase, match: cart_id, value: arrived.total, within: 4 days}
exit:
  - goal
  - {event: emptied, match: cart_id}
  - {event: purchase, when: arrived.total > 90}
steps:
- {id: pause, wait: 2 hours}
- id: settle
  wait: {for: [visit, purchase], timeout: 1 day, when: arrived.total > event.total or arrived.page == 'cart'}
  next:
    - when: arrived.type == 'visit' and event_count('visit', within='2 days') > 1
      to: hot
    - when: has_event('purchase') and days_since(last_event('purchase')) < 3
      to: end
    - else: toss
- id: toss
  next: {split: {hot: 50, cold: 50}}
- id: hot
  do:
    - send_sms: {text: "{{ event.total }}"}
    - update_profile: {increment: {hot: 1}}
  next: last
- {id: cold, wait: 1 day, next: last}
- id: last
  wait: {for: emptied, timeout: 5 hours, since: entry}
  do: [{send_push: {title: Hello, text: There, when: not arrived}}]
"""
BUYERS = """
workflow: buyers
triggers: [{event: purchase}]
goal: {event: purchase}
steps:
- id: thank
  do:
    - update_profile: {set: {last_total: "{{ event.total }}"}, increment: {purchases: 1}}
    - add_to_segment: buyers
- id: lapse
  wait: {for: purchase, timeout: 2 days}
  next:
    - when: arrived
      to: end
    - when: customer.plan != 'free'
      to: call
    - else: miss
- id: miss
  do: [{send_sms: {text: We miss you}}, {remove_from_segment: buyers}]
  next: end
- id: call
  do: [{create_task: {title: "Call {{ customer.name }} about {{ event.cart_id }}"}}]
  next: end
"""
VISITS = """
workflow: visits
triggers:
- event: visit
  when: event_count('visit') > 2 and not has_event('purchase', within='1 day')
entry: {reentry: always}
exit: [{event: closed}]
steps:
- id: rest
  wait: 1 day 3 hours
  next:
    - when: has_event('visit', since='entry')
      to: again
    - else: end
- {id: again, wait: 1 hour, do: [{webhook_call: {url: "https://example.org/x"}}]}
"""
PEOPLE = [f"c{n}" for n in range(30)]
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "nowhere"]
DAYS, END = 10, at(14)


def story(seed: int) -> list[dict[str, Any]]:
    """300 events over 30 customers; whole hours, so that many share an instant with each other and with timers."""
    r = random.Random(seed)
    rows = []
    for _ in range(300):
        # one customer has far more than the eight events a batch takes
        customer = PEOPLE[0] if r.random() < 0.1 else r.choice(PEOPLE)
        when = at(hours=r.randrange(DAYS * 24))
        payload = {"cart_id": r.choice(["k1", "k2", None]), "total": r.randrange(100), "page": r.choice(["cart", "home"])}
        profile = {r.choice(["plan", "last_total"]): r.choice(["gold", "free", 5]), "timezone": r.choice(ZONES), "name": customer}
        rows.append(
            {
                "customer_id": customer,
                "type": r.choices(["cart", "purchase", "visit", "emptied", "closed", "noise"], [8, 4, 6, 2, 1, 2])[0],
                "occurred_at": when,
                "received_at": when + timedelta(hours=r.choice([0, 0, 0, 9, 11])),
                "payload": payload,
                "profile": profile if r.random() < 0.3 else None,
            }
        )
    return rows


def ticks(step: timedelta) -> Iterator[datetime]:
    now = at() + step
    while now < END:
        yield now
        now += step
    yield END


def outcome(world: World) -> dict[str, list[Any]]:
    """Everything that happened, without the numbers of rows and the time of writing."""
    with world.db.connect() as conn:

        def all_of(table: sa.Table, *leave_out: str) -> list[Any]:
            columns = [c for c in table.c if c.name not in ("id", "journey_id", "recorded_at", "created_at", "message_key", *leave_out)]
            return sorted((tuple(row) for row in conn.execute(sa.select(*columns))), key=repr)

        return {
            "transitions": all_of(t.journey_transitions),
            "journeys": all_of(t.customer_journeys),
            "messages": all_of(t.messages, "updated_at"),
            "conversions": all_of(t.conversions),
            "actions": all_of(t.workflow_action_logs),
            "tasks": all_of(t.tasks),
            "segments": all_of(t.segment_memberships),
            "profiles": all_of(t.customer_profiles),
            "history": all_of(t.customer_events),
        }


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# how it is played: the time between two ticks, rows in a batch
PLAYS = {
    "an hour": (HOUR, 10_000), "a day": (DAY, 10_000), "nine days": (9 * DAY, 10_000), "one go": (99 * DAY, 10_000),
    "small batches": (99 * DAY, 20),
}  # fmt: skip


def test_the_result_does_not_depend_on_the_ticks(db: sa.Engine, tmp_path: Path) -> None:
    seed = random.randrange(10**9)
    events = story(seed)
    world = World(db, tmp_path)
    world.deploy(CART, BUYERS, VISITS, policies="zone: Europe/Berlin\n")
    found = {}
    for name, (step, size) in PLAYS.items():
        world.begin_again(batch_size=size)
        world.events(events)
        for now in ticks(step):
            world.tick(now)
        found[name] = outcome(world)
    first = found.pop("an hour")
    # the story is about something
    assert all(len(first[part]) > 2 for part in ("transitions", "messages", "conversions", "actions", "tasks", "segments")), f"seed {seed}"
    for name, other in found.items():
        for part, rows in first.items():
            differ = [(a, b) for a, b in zip(rows, other[part], strict=False) if a != b]
            assert (len(rows), differ[:3]) == (len(other[part]), []), f"seed {seed}: {part}, ticks of an hour against {name}"
