"""The engine's clock: real by default, fast in the demo, never past the wall; and the zone table through the one look-up."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from journey_pipelines.store import zones
from journey_pipelines.store.clock import clock_now, set_clock
from journey_pipelines.store.tables import zone_offsets


def _wall(conn: sa.Connection) -> datetime:
    wall: datetime = conn.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return wall


def test_the_clock_is_the_wall_by_default(db: sa.Engine) -> None:
    with db.connect() as conn:
        before = _wall(conn)
        now = clock_now(conn)
        assert before - timedelta(milliseconds=1) <= now <= _wall(conn)
        assert now.tzinfo is UTC


def test_a_fast_clock_runs_at_its_rate(db: sa.Engine) -> None:
    with db.connect() as conn:
        start = _wall(conn) - timedelta(days=60)
        set_clock(conn, start, 600)
        conn.commit()
        first, wall_first = clock_now(conn), _wall(conn)
        time.sleep(0.5)
        second, wall_second = clock_now(conn), _wall(conn)
    assert first - start < timedelta(minutes=10)
    ratio = (second - first) / (wall_second - wall_first)
    assert 550 < ratio < 650


def test_a_fast_clock_never_passes_the_wall(db: sa.Engine) -> None:
    with db.connect() as conn:
        set_clock(conn, _wall(conn) - timedelta(seconds=120), 600)
        conn.commit()
        met = False
        for _ in range(60):
            now = clock_now(conn)
            wall = _wall(conn)
            assert now <= wall
            met = met or wall - now < timedelta(milliseconds=50)
            time.sleep(0.01)
    assert met


def test_the_clock_survives_reconnecting(db: sa.Engine) -> None:
    then = datetime(2020, 1, 1, tzinfo=UTC)
    with db.begin() as conn:
        set_clock(conn, then, 1)
    db.dispose()
    with db.connect() as conn:
        assert timedelta(0) <= clock_now(conn) - then < timedelta(minutes=1)


def test_times_that_cannot_be_are_refused(db: sa.Engine) -> None:
    with db.connect() as conn:
        with pytest.raises(ValueError, match="must carry a time zone"):
            set_clock(conn, datetime(2020, 1, 1), 1)  # noqa: DTZ001  # the point of the test
        with pytest.raises(ValueError, match="rate must be above 0"):
            set_clock(conn, datetime(2020, 1, 1, tzinfo=UTC), 0)


def _expected(name: str, local: datetime) -> datetime:
    """The first moment at which the zone's clocks show `local` or later: in a gap its end, in an overlap the first of two."""
    tz = zones.zone(name)
    first = local.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if first.astimezone(tz).replace(tzinfo=None) == local:
        return first
    # in a gap fold 0 and fold 1 lie on either side of its end
    low, high = sorted([first, local.replace(tzinfo=tz, fold=1).astimezone(UTC)])
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(tz).replace(tzinfo=None) < local:
            low = middle
        else:
            high = middle
    return high


def test_local_times_in_every_zone_around_its_changes(db: sa.Engine) -> None:
    probes: list[tuple[str, datetime]] = []
    for name in zones.names():
        changes = [p for p in zones.periods(name) if p.utc_to is not None]
        for period in random.sample(changes, min(6, len(changes))):
            assert period.utc_to is not None
            edge = period.utc_to.replace(tzinfo=None) + period.offset
            probes += [(name, edge + timedelta(minutes=m)) for m in (-61, -60, -30, -1, 0, 1, 29, 30, 59, 60, 61)]
        probes.append((name, datetime(1970, 1, 2) + timedelta(minutes=random.randrange(129 * 365 * 1440))))  # noqa: DTZ001  # local
    wanted = [_expected(*probe) for probe in probes]
    z = zone_offsets.c
    asked = (
        sa.func.unnest(
            sa.cast([p[0] for p in probes], sa.ARRAY(sa.Text)), sa.cast([p[1] for p in probes], sa.ARRAY(sa.TIMESTAMP)), type_=sa.Text
        )
        .table_valued("name", sa.column("local", sa.TIMESTAMP), with_ordinality="n")
        .render_derived()
    )
    found = (
        sa.select(sa.func.greatest(z.utc_from, sa.func.timezone("UTC", asked.c.local - z.utc_offset)).label("at"))
        .where(z.zone == asked.c.name, z.local_to > asked.c.local)
        .order_by(z.local_to)
        .limit(1)
        .lateral()
    )
    with db.connect() as conn:
        rows = conn.execute(sa.select(found.c.at).select_from(asked.join(found, sa.true())).order_by(asked.c.n)).scalars().all()
    wrong = [(probe, got, want) for probe, got, want in zip(probes, rows, wanted, strict=True) if got != want]
    assert wrong == []


def test_writing_the_zones_again_writes_nothing(db: sa.Engine) -> None:
    with db.begin() as conn:
        assert zones.write_zones(conn) == 0
        conn.execute(sa.delete(zone_offsets).where(zone_offsets.c.zone == "Europe/Rome"))
        assert zones.write_zones(conn) > 50_000
        assert zones.write_zones(conn) == 0
