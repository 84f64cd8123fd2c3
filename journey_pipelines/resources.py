"""Resources: what a run needs from outside, opened when it is first used and closed when the run ends.

Nothing here connects while the code location loads. Settings that are not about a run (budgets, batch sizes) are the config of the asset or
op that uses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import dagster as dg
import sqlalchemy as sa
from pydantic import Field, PrivateAttr

from journey_pipelines.store.clock import clock_now
from journey_pipelines.store.connect import make_engine

# Name of the resource in the code location: prefixed, so that it merges beside other people's resources
ENGINE = "journeys_engine"

# A doorbell asks one indexed question; if that takes longer the database is in trouble, and the daemon must not wait with it
QUESTION_TIMEOUT_SECONDS = 10


class EngineResource(dg.ConfigurableResource):
    """The engine's database. `engine` connects lazily and is disposed of when the run, tick or check is over.

    Raises `journey_pipelines.store.connect.DatabaseUnavailable` with one sentence where the server does not answer.
    """

    database_url: str | None = Field(
        default=None,
        description=(
            "SQLAlchemy URL of the engine's database, such as dg.EnvVar('DATABASE_URL'). Absent: the settings decide, that is DATABASE_URL "
            "or else the embedded server under JOURNEYS_DATA. A literal URL would be shown in the UI with its password."
        ),
    )
    _engine: sa.Engine | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[EngineResource]:
        try:
            yield self
        finally:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @property
    def engine(self) -> sa.Engine:
        if self._engine is None:
            self._engine = make_engine(self.database_url)
        return self._engine

    @contextmanager
    def ask(self, timeout_seconds: int = QUESTION_TIMEOUT_SECONDS) -> Iterator[tuple[sa.Connection, datetime]]:
        """A read-only transaction with a statement timeout, and the clock's time: for doorbells and checks."""
        with self.engine.connect() as conn, conn.begin():
            conn.execute(sa.text("SET TRANSACTION READ ONLY"))
            conn.execute(sa.select(sa.func.set_config("statement_timeout", f"{timeout_seconds}s", True)))
            yield conn, clock_now(conn)
