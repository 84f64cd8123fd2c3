"""Every form of wait in every zone, around every change of clocks from 2024 to 2030, against plain `zoneinfo` (`reference_time`).

One statement a form over a table of cases: what is compared is the SQL that arriving journeys run. Zones that are one another's links share
the oracle's answer, never the statement's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import reference_time as clock
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from journey_pipelines.compiler import wall
from journey_pipelines.compiler.calendar_dates import date_of
from journey_pipelines.compiler.statement import compile_statement
from journey_pipelines.compiler.waits import due_of
from journey_pipelines.compiler.windows import opening
from journey_pipelines.expressions import EventScope, Scope
from journey_pipelines.expressions.durations import Duration
from journey_pipelines.store import tables as t
from journey_pipelines.store import zones
from journey_pipelines.workflows.triggers import Offset
from journey_pipelines.workflows.waits import AfterWait, DateWait

INSTANT = sa.TIMESTAMP(timezone=True)
CASES = sa.table(
    "cases",
    sa.column("n", sa.Integer),
    sa.column("zone", sa.Text),
    sa.column("at", INSTANT),
    sa.column("customer_id", sa.Text),
    sa.column("attributes", JSONB),
    sa.column("seq", sa.BigInteger),
)
#: the day before, the hours on either side, the very instant, and between the two readings of an hour that is there twice
AROUND = (timedelta(hours=-26), timedelta(minutes=-50), timedelta(0), timedelta(minutes=25))
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")
NONE = Duration()

Case = tuple[str, datetime]


@pytest.fixture(scope="module")
def cases(_admin: sa.Engine, template: str) -> Iterator[tuple[sa.Connection, list[Case]]]:
    """A connection with the table `cases`, and what is in it. The template is read only, so it need not be cloned."""
    engine = sa.create_engine(_admin.url.set(database=template), poolclass=sa.NullPool)
    z = t.zone_offsets
    with engine.connect() as conn:
        conn.exec_driver_sql("SET TIME ZONE 'UTC'")
        changes = conn.execute(sa.select(z.c.zone, z.c.utc_to).where(sa.extract("year", z.c.utc_to).between(2024, 2030))).all()
        found = [(zone, when + length) for zone, when in changes for length in AROUND]
        found += [(zone, datetime(2026, 5, 7, 9, 30, tzinfo=UTC)) for zone in zones.names()]
        conn.exec_driver_sql(
            "CREATE TEMPORARY TABLE cases (n integer, zone text, at timestamptz, customer_id text, attributes jsonb, seq bigint)"
        )
        driver: Any = conn.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy("COPY cases (n, zone, at, customer_id, attributes, seq) FROM STDIN") as copy:
            for n, (zone, at) in enumerate(found):
                # as an app writes them: a day, and a point in time
                copy.write_row((n, zone, at, zone, f'{{"day": "{at:%Y-%m-%d}", "until": "{at:%Y-%m-%dT%H:%M:%SZ}"}}', 1))
        conn.exec_driver_sql("ANALYZE cases")
        yield conn, found
        conn.rollback()
    engine.dispose()


def test_there_are_enough_cases(cases: tuple[sa.Connection, list[Case]]) -> None:
    _, found = cases
    assert {zone for zone, _ in found} == set(zones.names())
    assert len(found) > 10_000


def window(**words: Any) -> AfterWait:
    return AfterWait.model_validate({"after": NONE, **words})


#: times that a night of a change has twice or not at all, in one zone or another
WINDOWS = [
    window(until="02:30"),
    window(until="00:15", on=["sun", "mon"]),
    window(after="1 day", until="01:30"),
    window(after="90 minutes", until="03:00", on=["sun"]),
    window(between=["01:30", "02:30"]),
    window(between=["22:00", "02:15"], on=["sat"]),
    window(between=["02:10", "02:50"], on=["sun"]),
    window(after="1 day", between=["23:30", "00:30"], on=list(WEEKDAYS)),
    window(on=["sun"]),
    window(after="1 month", on=["tue", "thu"]),
]


@pytest.mark.parametrize("wait", WINDOWS, ids=lambda w: f"{w.after} {w.until or w.between or 'all day'} {'+'.join(w.on or ())}")
def test_windows(cases: tuple[sa.Connection, list[Case]], wait: AfterWait) -> None:
    base = wall.after(CASES.c.at, wait.after, CASES.c.zone)
    open_ = opening(wait, base.at, CASES.c.zone)

    def expected(at: datetime, zone: str) -> datetime:
        return clock.opens(wait, clock.later(at, wait.after, zone), zone)

    due = compare(cases, open_.joined(base.joined(CASES)), open_.at, expected)
    assert all(when >= at for (_, at), when in zip(cases[1], due, strict=True))
    if wait.until is None:
        return
    shown, told = time.fromisoformat(wait.until), {(SAME[zone], when): zone for (zone, _), when in zip(cases[1], due, strict=True)}
    odd = [(zone, local) for (_, when), zone in told.items() if (local := clock.on_the_wall(when, zone)).time() != shown]
    # another time is shown only where that night has no such time
    for zone, local in odd:
        asked = datetime.combine(local, shown)
        assert clock.on_the_wall(clock.instant(asked, zone), zone) == local != asked


@pytest.mark.parametrize("length", ["1 day", "3 days", "1 month", "1 day 12 hours", "6 hours"])
def test_lengths_of_time(cases: tuple[sa.Connection, list[Case]], length: str) -> None:
    """Both ways they are computed: by the statement of the step itself, and by whoever moves a journey there (`workflow_steps`)."""
    duration = Duration.parse(length)
    own = wall.after(CASES.c.at, duration, CASES.c.zone)
    due = compare(cases, own.joined(CASES), own.at, lambda at, zone: clock.later(at, duration, zone))
    kind = "calendar" if duration.is_calendar else "elapsed"
    target = sa.select(
        sa.literal(kind).label("wait_kind"),
        sa.literal(duration.months).label("wait_months"),
        sa.literal(duration.days).label("wait_days"),
        sa.literal(timedelta(seconds=duration.seconds), sa.Interval()).label("wait_elapsed"),
    ).lateral("target")
    conn, found = cases
    with conn.begin_nested() as undone:
        rows = [{"customer_id": zone, "shard": 0, "zone": zone, "updated_at": found[0][1]} for zone in zones.names()]
        conn.execute(sa.insert(t.customer_profiles), rows)
        moved = due_of(target, CASES.c.customer_id, CASES.c.at, CASES.c.seq)
        query = sa.select(CASES.c.n, moved.at, moved.seq).select_from(moved.joined(CASES.join(target, sa.true()))).order_by(CASES.c.n)
        statement = compile_statement("waits", query)
        got = conn.exec_driver_sql(statement.sql, statement.bind({"default_zone": "UTC"})).all()
        undone.rollback()
    assert [row[1] for row in got] == due
    assert {row[2] for row in got} == {2**63 - 1}


def offset(text: str) -> Offset:
    return Offset(length=Duration.parse(text.lstrip("-")), before=text.startswith("-"))


#: expression, offset, at
DATES: list[tuple[str, str | None, str | None]] = [
    ("customer.day", None, None),
    ("customer.day", "-1 day", "02:30"),
    ("customer.day", "1 month", None),
    ("customer.until", None, None),
    ("customer.until", None, "01:15"),
    ("customer.until", "-2 days", None),
    ("customer.until", "1 day", "02:30"),
    ("customer.until", "-3 hours", None),
    ("customer.until", "-1 month", "00:00"),
    # nothing says what this is: midnight in UTC is a day, all else a point in time
    ("event.when", None, "02:30"),
    ("event.when", "-1 day", None),
]


@pytest.mark.parametrize(("text", "moved", "at_clock"), DATES)
def test_dates(cases: tuple[sa.Connection, list[Case]], text: str, moved: str | None, at_clock: str | None) -> None:
    wait = DateWait(date=text, offset=offset(moved) if moved else None, at=at_clock)
    # every second value that nothing declares is a midnight
    payload = sa.func.jsonb_build_object("when", CASES.c.attributes[sa.case((CASES.c.n % 2 == 0, "day"), else_="until")])
    no_time = sa.cast(sa.null(), INSTANT)
    scope = Scope(
        customer=CASES, customer_id=CASES.c.customer_id, at=CASES.c.at, at_seq=CASES.c.seq, zone=CASES.c.zone,
        event=EventScope(payload, sa.literal("go"), no_time), arrived=None, journey={}, brand={},
        catalogue={"day": "date", "until": "datetime"}, now=CASES.c.at,
    )  # fmt: skip
    moment = date_of(wait, scope)
    numbers = iter(range(len(cases[1])))

    def expected(at: datetime, zone: str) -> datetime:
        is_day = text == "customer.day"
        if text == "event.when":
            is_day = next(numbers) % 2 == 0 or at.time() == time()
        return oracle(wait, at.date() if is_day else at, zone)

    compare(cases, moment.joined(CASES), moment.at, expected, shared=text != "event.when")


def oracle(wait: DateWait, value: date | datetime, zone: str) -> datetime:
    """A day is that day; of a point in time the day it is there, or, where nothing is said of days, itself."""
    length, sign = (wait.offset.length, -1 if wait.offset.before else 1) if wait.offset else (NONE, 1)
    elapsed = sign * timedelta(seconds=length.seconds)
    if isinstance(value, datetime):
        if wait.at is None and not length.is_calendar:
            return value + elapsed
        local = clock.on_the_wall(value, zone)
    else:
        local = datetime.combine(value, time())
    local = clock.plus(local, length, sign)
    if wait.at is not None:
        local = datetime.combine(local.date(), time.fromisoformat(wait.at))
    return clock.instant(local, zone) + elapsed


def compare(
    cases: tuple[sa.Connection, list[Case]],
    source: Any,
    due: sa.ColumnElement[Any],
    expected: Callable[[datetime, str], datetime],
    *,
    shared: bool = True,
) -> list[datetime]:
    """What the statement says for each case; fails with the first that differ."""
    conn, found = cases
    statement = compile_statement("waits", sa.select(CASES.c.n, due.label("due")).select_from(source).order_by(CASES.c.n))
    got = [row.due for row in conn.exec_driver_sql(statement.sql, statement.bind({}))]
    known: dict[tuple[int, datetime], datetime] = {}
    wanted = []
    for zone, at in found:
        key = (SAME[zone], at)
        if not shared or key not in known:
            known[key] = expected(at, zone)
        wanted.append(known[key])
    wrong = [(zone, at, is_, should) for (zone, at), is_, should in zip(found, got, wanted, strict=True) if is_ != should]
    assert wrong == [], f"{len(wrong)} of {len(found)} differ"
    return got


def _rules() -> dict[str, int]:
    numbers: dict[Any, int] = {}
    return {name: numbers.setdefault(tuple(zones.periods(name)), len(numbers)) for name in zones.names()}


SAME = _rules()
