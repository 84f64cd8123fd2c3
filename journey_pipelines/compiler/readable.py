"""A compiled statement for a person's eyes: laid out, its values written in, what the engine supplies as :name.

For `journeys sql` only; what runs is `Statement.sql`.
"""

import re

import sqlglot
from sqlglot import exp

from journey_pipelines.compiler.statement import Statement

_PLAIN = {exp.DataType.Type.VARCHAR, exp.DataType.Type.TEXT, exp.DataType.Type.INT, exp.DataType.Type.BIGINT}


def readable(statement: Statement) -> str:
    """The statement's text, without the casts that only tell the driver a parameter's type, ending in a semicolon."""
    tree = sqlglot.parse_one(statement.readable(), read="postgres").transform(_without_cast)
    text = tree.sql(dialect="postgres", pretty=True)
    return f"-- {statement.name}\n" + re.sub(r"%\((\w+)\)s", r":\1", text) + ";"


def _without_cast(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.Cast):
        inner = node.this
        if isinstance(inner, exp.Placeholder) or (isinstance(inner, exp.Literal) and node.to.this in _PLAIN):
            return inner
    return node
