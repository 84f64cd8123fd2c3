"""Every table, function, index and right of the engine, the ledger and the intake."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from journey_pipelines.store.hashes import AddressKey
from journey_pipelines.store.migrate import run_file
from journey_pipelines.store.tables import engine_identity
from journey_pipelines.store.zones import write_zones

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Besides the file: this database's own secrets, and the zones."""
    conn = run_file("0001_initial.sql")
    key = AddressKey.from_secret(secrets.token_bytes(32))
    conn.execute(sa.insert(engine_identity).values(message_salt=secrets.token_hex(16), hmac_inner=key.inner, hmac_outer=key.outer))
    write_zones(conn)
