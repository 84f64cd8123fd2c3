"""JSON made in SQL: `journey_transitions.detail` (the rule and the values it saw), payload keys that are kept, profile patches."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

#: PostgreSQL's functions take a hundred arguments at most
_ARGUMENTS = 100


def built_object(values: Mapping[str, sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    """jsonb of key -> value, however many; a missing value is null."""
    pairs: list[sa.ColumnElement[Any]] = []
    for key, value in values.items():
        pairs += [sa.literal(key, sa.Text), value]
    return _joined("jsonb_build_object", pairs)


def built_array(items: Sequence[sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    """jsonb list of the items, however many; a missing one is null."""
    return _joined("jsonb_build_array", items)


def _joined(function: str, arguments: Sequence[sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    starts = range(0, max(len(arguments), 1), _ARGUMENTS)
    parts: list[sa.ColumnElement[Any]] = [getattr(sa.func, function)(*arguments[n : n + _ARGUMENTS], type_=JSONB) for n in starts]
    return reduce(lambda a, b: a.op("||", return_type=JSONB())(b), parts)


def json_object(values: Mapping[str, sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    """What a rule saw: jsonb of label -> value, of the first fifty."""
    return built_object(dict(list(values.items())[:50]))


def null_json() -> sa.ColumnElement[Any]:
    """No detail: nothing to explain that the other columns do not say."""
    return sa.cast(sa.null(), JSONB)
