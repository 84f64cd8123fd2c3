"""Look-ups that several conditions of one statement name: each is worked out once a row, however often its value is used.

A condition is written out where a statement tests it, and again where it tells which way was taken and what was seen. For a column that
costs nothing; a look into a customer's history would be made three to five times.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from .terms import Sql, Term

_NOTHING: Sql = sa.literal_column("0")


class LookUps:
    """Of one row source. `once` while its expressions are compiled, `joined` before anything that uses them is joined or selected."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, bool], Sql] = {}
        self._waiting: dict[str, Sql] = {}
        self._laterals = 0

    def once(self, text: str, has_arrived: bool, term: Term) -> Term:
        """The term as a column. `has_arrived`: the same text sees another `arrived` before and after an event is known."""
        key = (text, has_arrived)
        if key not in self._columns:
            name = f"l{len(self._columns)}"
            # by its name alone: the lateral is made when all of its columns are known
            self._columns[key] = sa.literal_column(f"{self._name}.{name}", term.sql.type)
            self._waiting[name] = term.sql
        return replace(term, sql=self._columns[key])

    @property
    def _name(self) -> str:
        return f"looked_{self._laterals}"

    def joined(self, source: Any) -> Any:
        """`source` with the look-ups made so far. OFFSET 0: else the planner would write each out again wherever its column stands."""
        if not self._waiting:
            return source
        looked = (
            sa.select(*(sql.label(name) for name, sql in self._waiting.items())).offset(_NOTHING).correlate_except().lateral(self._name)
        )
        self._waiting, self._laterals = {}, self._laterals + 1
        return source.outerjoin(looked, sa.true())
