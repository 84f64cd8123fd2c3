"""What a condition hangs on: profile keys, event types, segments, and whether time alone can change it."""

from __future__ import annotations

import pytest

from journey_pipelines.expressions import Catalogue, Dependencies, ExpressionError, compile_recheck, dependencies
from journey_pipelines.expressions.scope import placeholder_scope


def hangs_on(
    keys: str = "", events: str = "", segments: str = "", timed: bool = False, polled: bool = False, of_step: bool = False
) -> Dependencies:
    return Dependencies(frozenset(keys.split()), frozenset(events.split()), frozenset(segments.split()), timed, polled, of_step)


HANGS = {
    "true": hangs_on(),
    "customer.plan == 'gold' and customer.address.city == 'Bern' and customer['vip']": hangs_on("plan address vip"),
    "event.total > 1 and arrived.type == 'x' and journey.visit == 1 and brand.name": hangs_on(of_step=True),
    "days_since(journey['step_entered_at']) > 3": hangs_on(timed=True, of_step=True),
    "days_since(journey.entered_at) > 3 and journey.trigger == 'step'": hangs_on(timed=True),
    "not has_event('a', since='step')": hangs_on(events="a", of_step=True),
    "has_event('a', when='days_since(journey.step_entered_at) > 3')": hangs_on(events="a", timed=True, of_step=True),
    "has_event('purchase') or event_count('visit', since='entry') > 1": hangs_on(events="purchase visit"),
    "last_event('purchase', since=customer.created_at) is defined": hangs_on("created_at", "purchase"),
    "event_sum('purchase', 'total', within='30 days') > 10": hangs_on(events="purchase", timed=True),
    "has_event('a', when='event.n > customer.n and in_segment(\\'vip\\') and in_workflow(\\'w\\')')": hangs_on(
        "n", "a journey.entered journey.ended", "vip"
    ),
    "has_event('a', when='days_since(event.occurred_at) > 3')": hangs_on(events="a", timed=True),
    "has_event('a', when='local_hour() > 3')": hangs_on("timezone", "a", timed=True, polled=True),
    "in_segment('vip') and not in_segment('lapsed')": hangs_on(segments="vip lapsed"),
    "in_workflow('welcome')": hangs_on(events="journey.entered journey.ended"),
    "steps.score.response.grade == 'A' or not steps.call": hangs_on(events="webhook.answered task.done"),
    "opened('a') or clicked('a', 'b')": hangs_on(events="message.opened message.clicked"),
    "replied('a') or bounced('a')": hangs_on(events="message.replied message.bounced"),
    "days_since(customer.created_at) >= 7": hangs_on("created_at", timed=True),
    "-3 < days_until(customer.renewal) <= 1 + 2 * 3": hangs_on("renewal", timed=True),
    "now > add(customer.created_at, '7 days') and add(now, '1 day') != customer.renewal": hangs_on("created_at renewal", timed=True),
    "days_since(customer.created_at) > customer.patience": hangs_on("created_at patience", timed=True, polled=True),
    "days_since(customer.created_at) / 7 > 2": hangs_on("created_at", timed=True, polled=True),
    "days_since(customer.created_at) | int in [1, 2]": hangs_on("created_at", timed=True, polled=True),
    "days_since(now) == 0": hangs_on(timed=True, polled=True),
    "now | date('%m') == '12'": hangs_on(timed=True, polled=True),
    "now in [customer.renewal]": hangs_on("renewal", timed=True, polled=True),
    "local_hour() >= 9": hangs_on("timezone", timed=True, polled=True),
    "local_weekday() == 'mon'": hangs_on("timezone", timed=True, polled=True),
    "customer.zone == 'UTC'": hangs_on("zone timezone"),
    "days_since(customer.created_at) > 5000000": hangs_on("created_at"),
    "days_since(customer.created_at) > 'x'": hangs_on("created_at"),
    "days_since(has_event('a', within='1 day')) > 1": hangs_on(events="a", timed=True),
}


@pytest.mark.parametrize("text", HANGS)
def test_what_it_hangs_on(text: str) -> None:
    found = dependencies(text)
    assert found == HANGS[text]
    # what is not timed is never asked again, and only what is polled is asked at every quarter
    again = compile_recheck(text, placeholder_scope())
    assert found.timed or again is None
    assert found.polled == (again is not None and "date_bin" in str(again))


def test_an_expression_that_cannot_be_used_has_no_dependencies() -> None:
    for text, catalogue in (("evnt.x", None), ("1 +", None), ("customer.plann", Catalogue(attributes={"plan": "text"})), (None, None)):
        with pytest.raises(ExpressionError):
            dependencies(text, catalogue)
