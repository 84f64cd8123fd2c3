"""`journey_transitions.detail`: the rule and the values it saw, as jsonb."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB


def json_object(values: Mapping[str, sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    """jsonb of label -> value. A call takes a hundred arguments: the first fifty values of a rule are kept."""
    pairs: list[sa.ColumnElement[Any]] = []
    for label, value in list(values.items())[:50]:
        pairs += [sa.literal(label, sa.Text), value]
    return sa.func.jsonb_build_object(*pairs, type_=JSONB)


def null_json() -> sa.ColumnElement[Any]:
    """No detail: nothing to explain that the other columns do not say."""
    return sa.cast(sa.null(), JSONB)
