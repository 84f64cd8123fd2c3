"""Engines: the session that our SQL relies on, and one sentence without a secret where there is no connection."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from journey_pipelines.settings import settings
from journey_pipelines.store.connect import DatabaseUnavailable, database_url, make_engine


def _refusal(url: str) -> str:
    engine = make_engine(url, poolclass=sa.NullPool)
    with pytest.raises(DatabaseUnavailable) as caught:
        engine.connect()
    message = str(caught.value)
    assert "secret" not in message and "\n" not in message
    return message


def test_sessions_are_as_our_sql_needs_them(db_url: str) -> None:
    engine = make_engine(db_url, application_name="a-worker", statement_timeout=7, idle_in_transaction_timeout=3)
    wanted = {
        "TimeZone": "UTC", "plan_cache_mode": "force_custom_plan", "statement_timeout": "7s",
        "idle_in_transaction_session_timeout": "3s", "application_name": "a-worker",
    }  # fmt: skip
    with engine.connect() as conn:
        assert {name: conn.scalar(sa.text(f"SHOW {name}")) for name in wanted} == wanted
    engine.dispose()


def test_options_of_the_url_are_kept(db_url: str) -> None:
    url = database_url(db_url).update_query_dict({"options": "-c work_mem=9MB"})
    engine = make_engine(url, poolclass=sa.NullPool)
    with engine.connect() as conn:
        assert (conn.scalar(sa.text("SHOW work_mem")), conn.scalar(sa.text("SHOW TimeZone"))) == ("9MB", "UTC")


def test_a_bare_url_means_our_driver() -> None:
    for text in ("postgresql://u@h/d", "postgres://u@h/d", "postgresql+psycopg://u@h/d"):
        assert database_url(text).drivername == "postgresql+psycopg"


@pytest.mark.parametrize("url", ["mysql://root:secret@h/d", "postgresql+psycopg2://u:secret@h/d", "sqlite:///secret.db"])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL alone will do") as caught:
        make_engine(url)
    assert "secret" not in str(caught.value)


def test_a_url_that_cannot_be_read() -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be read"):
        make_engine("host=localhost password=secret")


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = _refusal(f"postgresql://app:secret@127.0.0.1:{port}/shop")
    assert message.startswith(f"database 'shop' on 127.0.0.1:{port}: ")
    assert "is the server running" in message


def test_a_host_that_is_not() -> None:
    assert _refusal("postgresql://app:secret@db.invalid/shop").startswith("database 'shop' on db.invalid:5432: ")


def test_a_database_that_is_not(db_url: str) -> None:
    url = database_url(db_url).set(database="no_such_place")
    assert "create it, or check DATABASE_URL" in _refusal(url.render_as_string(hide_password=False))


def test_the_environment_names_the_database(db_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", db_url)
    settings.cache_clear()
    engine = make_engine(poolclass=sa.NullPool)
    assert engine.url == database_url(db_url)


def test_without_server_one_is_told_how_to_start_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("JOURNEYS_DATA", str(tmp_path))
    settings.cache_clear()
    with pytest.raises(DatabaseUnavailable, match="journeys db start"):
        make_engine()


def test_a_stopped_worker_loses_its_transaction_and_a_killed_backend_is_replaced(db_url: str) -> None:
    engine = make_engine(db_url, idle_in_transaction_timeout=0.2, pool_size=1, max_overflow=0)
    with engine.connect() as conn:
        conn.execute(sa.text("SELECT shard FROM journeys.engine_shards WHERE shard = 1 FOR UPDATE"))
        time.sleep(0.6)
        with pytest.raises(sa.exc.DBAPIError) as caught:
            conn.execute(sa.text("SELECT 1"))
        assert isinstance(caught.value.orig, psycopg.errors.IdleInTransactionSessionTimeout)
        assert caught.value.connection_invalidated
    with engine.begin() as conn:
        assert conn.scalar(sa.text("SELECT shard FROM journeys.engine_shards WHERE shard = 1 FOR UPDATE SKIP LOCKED")) == 1
    engine.dispose()
