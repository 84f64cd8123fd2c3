"""One bad row never stops the others (engine.md, 11).

Every batch statement runs in a SAVEPOINT. Where it fails because of data (SQLSTATE class 22, 23 or 54) its range is halved down
to the one row, which is handed to `fail` with its SQLSTATE; every other error is the caller's: the transaction is rolled back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

Key = TypeVar("Key")

_DATA_ERRORS = ("22", "23", "54")


@dataclass(frozen=True)
class DataError:
    """What the database said of one row: no values, they may be personal."""

    sqlstate: str
    message: str


def data_error(error: DBAPIError) -> DataError | None:
    """None where the error is not about data."""
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    if not sqlstate.startswith(_DATA_ERRORS):
        return None
    diag = getattr(error.orig, "diag", None)
    message = getattr(diag, "message_primary", None) or type(error.orig).__name__
    constraint = getattr(diag, "constraint_name", None)
    return DataError(sqlstate, f"{message} ({constraint})" if constraint and constraint not in message else message)


def attempt(conn: sa.Connection, work: Callable[[], Any]) -> tuple[Any, DataError | None]:
    """`work` in a savepoint: its result, or the data error that undid it."""
    try:
        with conn.begin_nested():
            return work(), None
    except DBAPIError as error:
        wrong = data_error(error)
        if wrong is None:
            raise
        return None, wrong


def halve(
    conn: sa.Connection,
    keys: Sequence[Key],
    work: Callable[[Sequence[Key]], Any],
    done: Callable[[Any], None],
    fail: Callable[[Key, DataError], None],
) -> None:
    """Run `work` on `keys`; halve where it fails. Order is kept. A row that fails costs about 2 log2(n) statements."""
    if not keys:
        return
    result, wrong = attempt(conn, lambda: work(keys))
    if wrong is None:
        done(result)
    elif len(keys) == 1:
        fail(keys[0], wrong)
    else:
        middle = len(keys) // 2
        halve(conn, keys[:middle], work, done, fail)
        halve(conn, keys[middle:], work, done, fail)
