"""When time alone changes a condition: the recheck is never late, exact where it can be, and a condition without time has none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from expression_rows import START, Case, cases, oracle, scope_of_cases, store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journey_pipelines.expressions import ExpressionError, Scope, compile_recheck, dependencies, values
from journey_pipelines.expressions.environment import evaluate
from journey_pipelines.store.tables import customer_profiles

INSTANT = sa.TIMESTAMP(timezone=True)
TICK = timedelta(microseconds=1)
LAST_SEQ = 2**63 - 1

# -- what may change by time, in forms whose instants can be worked out

LENGTHS = {"3 days": 3.0, "36 hours": 1.5, "1 day 1 second": 1 + 1 / 86_400}
NUMBERS = {"0": 0.0, "1": 1.0, "2.5": 2.5, "-3": -3.0, "0.1": 0.1, "(1 / 3)": 1 / 3, "(7 * 2)": 14.0, "0.00000000002": 0.0}

typed_times = st.sampled_from([
    "customer.created_at", "customer.renewal", "customer.seen", "journey.entered_at", "event.occurred_at", "last_event('purchase')",
    "last_event('visit', within='3 days')", "last_event('purchase', since=customer.created_at, within='36 hours')",
])  # fmt: skip
times = st.one_of(
    typed_times,
    st.sampled_from(["event.t", "'2026-03-05T12:00:00Z'", "'2026-02-30'", "(event.t | default('2026-03-04'))", "customer.plan", "event.n"]),
    st.builds("add({}, '{}')".format, typed_times, st.sampled_from([*LENGTHS])),
    st.builds("({} if event.b else {})".format, typed_times, typed_times),
    st.builds("({} or {})".format, typed_times, typed_times),
)
operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
moving = st.sampled_from(["now", "now", *(f"add(now, '{length}')" for length in LENGTHS)])
amounts = st.sampled_from([*NUMBERS, *NUMBERS, "5000000", "-5000000", "'x'", "none", "true"])
windows = st.builds(
    lambda length, more: ", ".join([f"within='{length}'", *more]),
    st.sampled_from([*LENGTHS]),
    st.lists(
        st.sampled_from([
            "since='entry'", "since=event.t", r"when='event.n > 1'", r"when='days_since(event.t) < 2.5'", r"when='now > event.t'",
            r"when='1 <= days_since(event.occurred_at) and in_workflow(\'welcome\')'", r"when='local_hour() > 12'",
            r"when='days_until(event.t) > 0 or event.b'",
        ]),
        max_size=2,
        unique_by=lambda text: text[:4],
    ),
)  # fmt: skip
# a look without within= that time changes all the same
windows = windows | st.sampled_from([r"when='days_since(event.occurred_at) > 2.5'", r"when='now > add(event.t, \'36 hours\')'"])
kinds = st.sampled_from(["'purchase'", "'visit'"])
atoms = st.one_of(
    st.builds("({} {} {})".format, moving, operators, times),
    st.builds("({} {} {})".format, times, operators, moving),
    st.builds("({}({}) {} {})".format, st.sampled_from(["days_since", "days_until"]), times, operators, amounts),
    st.builds("({} {} {}({}))".format, amounts, operators, st.sampled_from(["days_since", "days_until"]), times),
    st.builds("(0 <= days_since({}) < {})".format, times, amounts),
    st.builds("({} < now < {})".format, times, times),
    st.builds("has_event({}, {})".format, kinds, windows),
    st.builds("(event_count({}, {}) {} event_count({}, {}))".format, kinds, windows, operators, kinds, windows),
    st.builds("(event_sum({}, 'n', {}) * 2 > 1)".format, kinds, windows),
    st.builds("(last_event({}, {}) {} {})".format, kinds, windows, operators, times),
    st.sampled_from(["(local_hour() > 5)", "(local_weekday() in ['sat', 'sun'])", "(event.n > 1)", "customer.vip", "in_segment('vip')"]),
)
exact = st.recursive(
    atoms,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("(not {})".format, inner)
        | st.builds("({} if {} else {})".format, inner, inner, inner)
        | st.builds("({} {} {})".format, inner, st.sampled_from(["==", "!="]), inner)
    ),
    max_leaves=3,
)


def near(at: int) -> st.SearchStrategy[datetime]:
    """Around a row's own day, on and beside whole halves of days."""
    return st.builds(
        lambda halves, tick: START + timedelta(days=at, hours=12 * halves) + tick * TICK,
        st.integers(-8, 8),
        st.sampled_from([-1, 0, 0, 0, 1]),
    )


@st.composite
def pasts(draw: st.DrawFn) -> Case:
    """A row whose times lie around its own, all of its history before it: time passes and nothing else happens."""
    at = draw(st.integers(0, 9))
    written = near(at).map(values.text_of)
    details = st.fixed_dictionaries({"n": st.integers(0, 3), "b": st.booleans()}, optional={"t": written | st.just("soon")})
    event = st.tuples(st.sampled_from(["purchase", "visit"]), st.integers(at - 4, at), details, st.just(1))
    created = st.none() | st.sampled_from([datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 28, tzinfo=UTC)]) | near(at) | near(at)
    return Case(
        columns={
            "first_name": None,
            "country": None,
            "lifetime_value": None,
            "created_at": draw(created),
        },
        attributes=draw(st.fixed_dictionaries({}, optional={"renewal": written, "seen": written, "plan": written, "vip": st.booleans()})),
        payload=draw(details),
        arrived=None,
        history=draw(st.lists(event, max_size=4)),
        at=at,
        at_seq=LAST_SEQ,
        zone=draw(st.sampled_from([None, "UTC", "America/New_York", "Asia/Kathmandu"])),
        workflows=frozenset({"welcome"}),
    )


def moments(case: Case, after: datetime, before: datetime) -> list[datetime]:
    """Instants in [after, before) at which something may happen, and some at which nothing should."""
    spelled = [case.payload.get("t"), *case.attributes.values(), *(payload.get("t") for _, _, payload, _ in case.history)]
    written = [time for time in map(values.time_of, spelled) if time]
    known = [
        case.columns["created_at"],
        START,
        START + timedelta(days=3),
        datetime(2026, 3, 5, 12, tzinfo=UTC),
        datetime(2026, 3, 4, tzinfo=UTC),
    ]
    anchors = {time for time in [*known, *written] if time} | {START + timedelta(days=day) for _, day, _, _ in case.history}
    lengths = [0.0, *LENGTHS.values(), *NUMBERS.values()]
    offsets = {timedelta(days=sign * a + b) for a in lengths for b in (0.0, *LENGTHS.values()) for sign in (1, -1)}
    found = {after, before - TICK}
    for anchor in anchors:
        for offset in offsets:
            try:
                found.update(anchor + offset + tick * TICK for tick in (-1, 0, 1, 2))
            except OverflowError:
                continue
    inside = sorted(time for time in found if after <= time < before)
    picked = random.Random(len(inside)).sample(inside, min(25, len(inside)))
    return sorted({*picked, *inside[:10], *inside[-10:]})


@pytest.fixture
def rolled_back(db: sa.Engine) -> Iterator[sa.Connection]:
    with db.connect() as conn:
        conn.execute(sa.text("SET idle_in_transaction_session_timeout = 0"))
        cases.create(conn)
        conn.commit()
        yield conn
        conn.rollback()


def rechecks(text: str, scope: Scope) -> tuple[str, sa.ColumnElement[Any] | None] | None:
    try:
        return text, compile_recheck(text, scope)
    except ExpressionError as refused:
        assert "is a time in one case" in refused.message, f"{text}: {refused}"
        return None


def test_a_recheck_is_never_late(rolled_back: sa.Connection) -> None:
    scope = scope_of_cases()
    seen = {"held": 0, "changed": 0, "never": 0}

    @settings(max_examples=30, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(exact, min_size=8, max_size=12), st.lists(pasts(), min_size=2, max_size=3))
    def in_time(given_texts: list[str], given_rows: list[Case]) -> None:
        compiled = [both for text in given_texts if (both := rechecks(text, scope))]
        timed = [(text, instant) for text, instant in compiled if instant is not None]
        joined = cases.outerjoin(customer_profiles, customer_profiles.c.customer_id == cases.c.customer_id)
        with rolled_back.begin():
            store(rolled_back, given_rows)
            columns = [instant.label(f"c{number}") for number, (_, instant) in enumerate(timed)]
            found = {row.id: row for row in rolled_back.execute(sa.select(cases.c.id, *columns).select_from(joined))}
            rolled_back.rollback()
        for index, case in enumerate(given_rows):
            now = START + timedelta(days=case.at)
            answers: dict[tuple[str, datetime], bool] = {}
            rechecked = [(text, found[index][number + 1]) for number, (text, _) in enumerate(timed)]
            for text, again in [*rechecked, *((text, None) for text, instant in compiled if instant is None)]:
                assert again is None or again > now, f"{text} at {now} is asked again at {again}"
                seen["never"] += again is None
                until = again or values.LATEST - timedelta(days=40)
                for time in moments(case, now, until):
                    answers[text, time] = holds(text, index, case, time)
                    same = answers[text, time] is answers[text, now]
                    assert same, f"{text} over {case}: from {now} on {answers[text, now]}, changes at {time}, to be asked again at {again}"
                    seen["held"] += 1
                seen["changed"] += again is not None and holds(text, index, case, again) is not answers[text, now]

    in_time()
    # the forms are exact: a good part of the rechecks does find something new
    assert seen["held"] > 5_000
    assert seen["changed"] > 30
    assert seen["never"] > 50


def holds(text: str, index: int, case: Case, time: datetime) -> bool:
    names, functions = oracle(index, case, time)
    return values.truth(evaluate(text, names, functions))


# -- one row and the instants written down: created and event.t on day 0, renewal on day 20, purchases on days 1, 2 and 4

DAY = timedelta(days=1)
NO_SQL = ("no time", "no instant")
EXACT: dict[str, Any] = {
    "days_since(customer.created_at) >= 7": 7 * DAY,
    "days_since(customer.created_at) > 7": 7 * DAY + TICK,
    "7 <= days_since(customer.created_at)": 7 * DAY,
    "not 7 >= days_since(customer.created_at)": 7 * DAY + TICK,
    "days_since(customer.created_at) == 7": 7 * DAY,
    "days_since(customer.created_at) != 5": 5 * DAY + TICK,
    "3 < days_since(customer.created_at) < 2 * 7": 14 * DAY,
    "days_since(event.t) < 10.5": 10.5 * DAY,
    "days_since(event.t) > 4": None,
    "days_since(add(customer.created_at, '7 days')) > -1": 6 * DAY + TICK,
    "days_since(customer.created_at) > 5000000 or days_until(customer.renewal) < -1e14": "no time",
    "days_until(customer.renewal) < 7": 13 * DAY + TICK,
    "days_until(customer.renewal) <= 7": 13 * DAY,
    "days_until(customer.renewal) > 7": 13 * DAY,
    "7 > days_until(customer.renewal)": 13 * DAY + TICK,
    "days_until(customer.renewal) == 7": 13 * DAY,
    "days_until(customer.created_at) > 1": None,
    "now < customer.renewal": 20 * DAY,
    "now <= customer.renewal": 20 * DAY + TICK,
    "customer.renewal < now": 20 * DAY + TICK,
    "customer.renewal == now": 20 * DAY,
    "now == event.t": None,
    "now > '2026-03-09'": 8 * DAY + TICK,
    "now > 'soon' or now > event.absent": None,
    "now > 'soon' or now > 3": "no instant",
    "add(now, '7 days') >= customer.renewal": 13 * DAY,
    "now >= add(customer.created_at, '12 hours') and now >= add(customer.created_at, '9 days')": 9 * DAY,
    "now > add(last_event('purchase'), '3 days')": 7 * DAY + TICK,
    "now > add('9999-12-28', '7 days') or days_since('9999-12-28') > 0": datetime(9999, 12, 28, tzinfo=UTC) + TICK - START,
    "has_event('purchase', within='3 days')": 7 * DAY + TICK,
    "last_event('purchase', within='3 days') is defined": 7 * DAY + TICK,
    "event_count('purchase', within='3 days') > 1": 5 * DAY + TICK,
    "event_sum('purchase', 'n', within='96 hours', when='event.n > 1') + 1 > 2": 6 * DAY + TICK,
    "has_event('purchase', within='12 hours')": None,
    "has_event('never', within='3 days')": None,
    "has_event('purchase', when='days_since(event.occurred_at) < 3.5')": 5.5 * DAY,
    "has_event('purchase', within='3 days', when='event.n == 2')": 5 * DAY + TICK,
    "in_segment('vip') and in_workflow('welcome') and has_event('purchase') and event_count('purchase', since='entry') > 1": "no time",
    "local_hour() >= 9": 5 * DAY + timedelta(minutes=15),
    "local_weekday() == 'mon' and customer.vip": 5 * DAY + timedelta(minutes=15),
    "days_since(customer.created_at) * 2 > 9 or days_since(event.t) >= 6": 5 * DAY + timedelta(minutes=15),
    "days_since(customer.created_at) > event.n": 5 * DAY + timedelta(minutes=15),
    "(now | date('%m')) == '03' or days_since(event.t) > 5": 5 * DAY + TICK,
    "has_event('purchase', since=now)": 5 * DAY + timedelta(minutes=15),
    "event_count('purchase', when='local_hour() > 3') > 1": 5 * DAY + timedelta(minutes=15),
    "false and now > '2026-03-08' or customer.vip": 7 * DAY + TICK,
}


def test_the_instants(rolled_back: sa.Connection) -> None:
    purchases = [("purchase", day, {"n": day}, 1) for day in (1, 2, 4)]
    case = Case(
        {"created_at": START}, {"renewal": "2026-03-21"}, {"n": 9, "t": "2026-03-01"}, None, purchases, 5, LAST_SEQ, "Asia/Kathmandu"
    )
    instants = {text: compile_recheck(text, scope_of_cases()) for text in EXACT}
    assert {text for text, instant in instants.items() if instant is None} == {text for text in EXACT if EXACT[text] in NO_SQL}
    assert {text for text in EXACT if not dependencies(text).timed} == {text for text in EXACT if EXACT[text] == "no time"}
    store(rolled_back, [case])
    timed = {text: instant for text, instant in instants.items() if instant is not None}
    joined = cases.outerjoin(customer_profiles, customer_profiles.c.customer_id == cases.c.customer_id)
    row = rolled_back.execute(sa.select(*(instant.label(f"c{n}") for n, instant in enumerate(timed.values()))).select_from(joined)).one()
    expected = {text: START + EXACT[text] if isinstance(EXACT[text], timedelta) else EXACT[text] for text in timed}
    assert dict(zip(timed, row, strict=True)) == expected


def test_a_quarter_of_an_hour_is_enough_for_every_zone(rolled_back: sa.Connection) -> None:
    """What `polled` rests on: since 2024 every zone is whole quarters from UTC and changes at whole quarters."""
    odd = "SELECT zone, utc_from FROM journeys.zone_offsets WHERE utc_to > '2024-01-01' AND utc_offset IS DISTINCT FROM NULL AND ("
    odd += (
        "extract(epoch FROM utc_offset)::bigint % 900 <> 0 OR utc_from >= '2024-01-01' AND extract(epoch FROM utc_from)::bigint % 900 <> 0)"
    )
    assert rolled_back.execute(sa.text(odd)).all() == []
    assert rolled_back.scalar(sa.text("SELECT count(*) FROM journeys.zone_offsets")) > 10_000


ENDS = ["-infinity", "4000-01-01 BC", "0001-01-02", "9999-12-30", "200000-01-01", "infinity"]
FAR = ("3600000", "-3600000", "3990000", "-3990000", "1e14", "0")
EXTREMES = [
    *(f"days_since({time}) > {days}" for time in ("customer.created_at", "event.t", "'9999-12-29'", "'0001-01-03'") for days in FAR),
    *(f"days_until({time}) > {days}" for time in ("customer.created_at", "event.t", "'9999-12-29'", "'0001-01-03'") for days in FAR),
    "add(now, '36500 days') > customer.created_at or now > add(customer.created_at, '36500 days') or now == customer.renewal",
    r"has_event('purchase', within='36500 days', when='days_until(event.t) < -3600000 or now > add(event.t, \'36500 days\')')",
    "1 / 0 > days_since(event.t) or days_since(1 / 0) > 1 or days_since(event.t) > 1 / 0 or now > event.t / 0 or now > 'x' | int",
]


def test_nothing_raises_at_the_ends_of_the_calendar(rolled_back: sa.Connection) -> None:
    past = [("purchase", 1, {"t": "0001-01-03"}, 1)]
    store(rolled_back, [Case({}, {"renewal": "infinity"}, {"t": "9999-12-29"}, None, past, 5, LAST_SEQ, None)] * len(ENDS))
    for number, created in enumerate(ENDS):
        changed = "UPDATE journeys.customer_profiles SET created_at = CAST(:at AS timestamptz) WHERE customer_id = :id"
        rolled_back.execute(sa.text(changed), {"at": created, "id": f"c{number}"})
    joined = cases.outerjoin(customer_profiles, customer_profiles.c.customer_id == cases.c.customer_id)
    timed = [instant for text in EXTREMES if (instant := compile_recheck(text, scope_of_cases())) is not None]
    assert len(timed) > 20
    found = rolled_back.execute(sa.select(*(instant.label(f"c{n}") for n, instant in enumerate(timed))).select_from(joined)).all()
    # a later one could not even be read: Python's calendar ends there
    assert all(instant is None or START < instant <= values.LATEST for row in found for instant in row)
