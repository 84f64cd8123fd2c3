"""Making the database ready for the demo: the shop's role, the clock, Dagster's own database, and whose journals these are."""

from __future__ import annotations

import hashlib
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from journey_pipelines.store.clock import clock_now, set_clock
from journey_pipelines.store.connect import ensure_database
from journey_pipelines.store.tables import engine_clock, engine_identity

SHOP = "shop"
STARTS_BEFORE = timedelta(days=60)
"""How far behind the wall the demo's clock starts: days of reports can close while one looks on."""

# "demoshop": two demos on one server would otherwise alter the same role at once
_ROLE_LOCK = 0x64656D6F73686F70

_LEASES = """
UPDATE journeys.messages SET lease_until = :now + (lease_until - :now) * :faster WHERE state = 'sending' AND lease_until > :now
"""
_RETRIES = "UPDATE journeys.messages SET send_after = :now + (send_after - :now) * :faster WHERE state = 'retry' AND send_after > :now"


class PreparationError(RuntimeError):
    """The database cannot be used for the demo."""


def shop_role(engine: sa.Engine, password_file: Path) -> str:
    """Make the role `shop` (LOGIN, an app_writer, owner of schema `shop`) and return its libpq URL.

    The password is made once and kept in `password_file`, readable by its owner alone. Raises PreparationError without the right to.
    """
    password = _password(password_file)
    role, secret = sql.Identifier(SHOP), sql.Literal(password)
    with engine.begin() as conn:
        driver = conn.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            driver.execute("SELECT pg_advisory_xact_lock(%s)", [_ROLE_LOCK])
            known = driver.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [SHOP]).fetchone()
            verb = sql.SQL("ALTER ROLE" if known else "CREATE ROLE")
            driver.execute(sql.SQL("{} {} LOGIN PASSWORD {}").format(verb, role, secret))
            driver.execute(sql.SQL("GRANT app_writer TO {}").format(role))
            driver.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {0} AUTHORIZATION {0}").format(role))
        except psycopg.errors.InsufficientPrivilege as error:
            raise PreparationError(
                f"the role {engine.url.username!r} may not make the demo's role: {error}. Run the demo as a role with CREATEROLE, or "
                "have an administrator run: CREATE ROLE shop LOGIN; GRANT app_writer TO shop; CREATE SCHEMA shop AUTHORIZATION shop"
            ) from None
    return engine.url.set(drivername="postgresql", username=SHOP, password=password).render_as_string(hide_password=False)


def start_clock(engine: sa.Engine, rate: float) -> datetime:
    """Let the clock run at `rate`: the first time from 60 days before the wall, later from where it stands. Returns its time.

    Raises PreparationError for a database that holds events and whose clock was never the demo's: turning that back would be a disaster.
    """
    with engine.begin() as conn:
        clock = conn.execute(sa.select(engine_clock)).one()
        if clock.engine_at != clock.wall_at or clock.rate != 1.0:
            now = clock_now(conn)
        else:
            used = conn.scalar(sa.text("SELECT EXISTS (SELECT FROM journeys.customer_events) OR EXISTS (SELECT FROM journeys.event_inbox)"))
            if used:
                raise PreparationError(
                    f"database {engine.url.database!r} holds events that are not the demo's; its clock would be turned back "
                    f"{STARTS_BEFORE.days} days. Point DATABASE_URL to an empty database, or unset it to use the embedded server"
                )
            now = datetime.now(UTC) - STARTS_BEFORE
        _go_on(conn, now, rate)
    return now


def rest_clock(engine: sa.Engine) -> datetime:
    """Let the clock go on at the wall's pace, from where it stands: what is due can be worked off, and a night off is a night."""
    with engine.begin() as conn:
        now = clock_now(conn)
        _go_on(conn, now, 1.0)
    return now


def _go_on(conn: sa.Connection, now: datetime, rate: float) -> None:
    """Set the clock, and with it what the ledger keeps in seconds of the wall: 90 s of a lease taken at 600x are 15 hours of the clock, and
    without this a lease whose worker was killed would last that long at the new pace.
    """
    before = conn.execute(sa.select(engine_clock.c.rate)).scalar_one()
    for statement in (_LEASES, _RETRIES):
        conn.execute(sa.text(statement), {"now": now, "faster": rate / before})
    set_clock(conn, now, rate)


def dagster_storage(engine: sa.Engine) -> str:
    """The URL of Dagster's own database on the same server, made when missing, for dagster-postgres (psycopg2)."""
    url = sa.make_url(ensure_database(engine.url, f"{engine.url.database}_dagster"))
    return url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def claim_journals(engine: sa.Engine, folder: Path) -> Path | None:
    """Put the journals under `folder` aside when they tell of another database; returns where they went.

    Judging one database by another's journals would call everything lost.
    """
    with engine.connect() as conn:
        salt = conn.execute(sa.select(engine_identity.c.message_salt)).scalar_one()
    mine = hashlib.sha256(salt.encode()).hexdigest()[:12]
    owner = folder / "database"
    theirs = owner.read_text().strip() if owner.exists() else None
    aside = None
    if theirs is not None and theirs != mine:
        aside = folder / f"of-database-{theirs}"
        aside.mkdir(exist_ok=True)
        for name in ("shop", "sandbox"):
            if (folder / name).exists():
                (folder / name).rename(aside / f"{name}-{secrets.token_hex(3)}")
    folder.mkdir(parents=True, exist_ok=True)
    owner.write_text(mine + "\n")
    return aside


def _password(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text().strip()
