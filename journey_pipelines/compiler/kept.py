"""What was compiled is kept: a deploy changes few statements, and whoever goes on through it needs the others again.

A statement takes 20 ms to compile, and depends on nothing but what its arguments say.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache, partial, wraps
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

P = ParamSpec("P")
R = TypeVar("R")

#: results of one function; a statement is some 20 kB of text
_MOST = 512
_PLAIN = (str, int, float, Decimal, date, timedelta, type(None))


@dataclass(frozen=True)
class _Call:
    """Equal to another call whose arguments say the same."""

    said: tuple[str, ...]
    make: Callable[[], Any] = field(compare=False)


def kept(compiles: Callable[P, R]) -> Callable[P, R]:
    """The function with a memory for its newest results. Whoever gets one must not change it."""

    @lru_cache(maxsize=_MOST)
    def first(call: _Call) -> Any:
        return call.make()

    @wraps(compiles)
    def again(*args: P.args, **kwargs: P.kwargs) -> R:
        result: R = first(_Call((*map(_says, args), _says(kwargs)), partial(compiles, *args, **kwargs)))
        return result

    return again


def _says(value: Any) -> str:
    """A text that is another one for every other value, in whatever order a set or a mapping holds its parts."""
    if isinstance(value, BaseModel):
        return f"{type(value).__name__} {value.model_dump_json()}"
    if is_dataclass(value):
        return f"{type(value).__name__} {[_says(getattr(value, part.name)) for part in fields(value)]}"
    if isinstance(value, Mapping):
        return str({key: _says(value[key]) for key in sorted(value)})
    if isinstance(value, Set | list | tuple):
        return str([_says(part) for part in (sorted(value) if isinstance(value, Set) else value)])
    if not isinstance(value, _PLAIN):
        raise TypeError(f"kept: expected values that can be told apart, got a {type(value).__name__}")
    return repr(value)
