"""The named Jinja environment: templates are rendered with it, and the SQL of every expression must agree with it.

It differs from Jinja's sandbox where the language does: the operators are those of `values`, a key comes before any attribute and Python's
own attributes cannot be reached, missing things chain and are false, numbers are Decimal, and the filters and tests are the language's with
a few that only make text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from jinja2 import BaseLoader, ChainableUndefined, Undefined, UndefinedError, nodes
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from . import letters, values
from .check import check
from .constants import format_date
from .names import CUSTOMER_COLUMNS, Catalogue, as_catalogue, attribute_kind
from .parse import parse_expression
from .rewrite import rewritten

# Filters that make text and cannot grow it without bound.
_TEXT_FILTERS = (
    "capitalize", "e", "escape", "first", "forceescape", "join", "last", "replace", "safe", "striptags", "title", "tojson", "truncate",
    "urlencode",
)  # fmt: skip


class Missing(ChainableUndefined):
    """What is not there: false, empty, and every key of it is missing too."""

    __slots__ = ()


class MissingValue(UndefinedError):
    """A template writes something that is missing and has no default. `name` is the expression, `line` the template's line."""

    def __init__(self, name: str, line: int) -> None:
        super().__init__(f"line {line}: {name} is missing and has no default: write {{{{ {name} | default('...') }}}}")
        self.name = name
        self.line = line


class Environment(ImmutableSandboxedEnvironment):
    """See the module. `strict`: writing something missing raises MissingValue instead of giving nothing."""

    def __init__(self, *, autoescape: Any = False, strict: bool = False, loader: BaseLoader | None = None) -> None:
        super().__init__(
            autoescape=autoescape, loader=loader, undefined=Missing, finalize=_finalized, extensions=(), keep_trailing_newline=False
        )
        self.strict = strict
        self.globals.clear()
        self.filters = {**{name: JINJA_FILTERS[name] for name in _TEXT_FILTERS}, **_FILTERS}
        self.tests = dict(_TESTS)
        self.policies["json.dumps_function"] = _dumps

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, LoopContext | Macro | TemplateReference):
            return super().getattr(obj, str(argument))
        key = argument if isinstance(argument, str) else values.normal(argument)
        if isinstance(key, Decimal) and key == int(key):
            key = int(key)
        found = values.part(obj, key) if type(key) in (str, int) else None
        return self.undefined(obj=obj, name=argument) if found is None else found

    def _generate(self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False) -> str:
        return super()._generate(rewritten(source, self.strict), name, filename, defer_init)

    def compared(self, operator: str, left: Any, right: Any) -> bool:
        return values.compare(operator, left, right)

    def reckoned(self, operator: str, left: Any, right: Any) -> Any:
        return self._or_missing(values.arithmetic(operator, left, right))

    def joined(self, *parts: Any) -> Any:
        texts = [part if isinstance(part, Markup) else values.text_of(part) for part in parts]
        if any(text is None for text in texts):
            return self.undefined(name="~")
        if any(isinstance(text, Markup) for text in texts):
            return Markup("").join(escape(text) for text in texts)
        return "".join(str(text) for text in texts)

    def elements(self, value: Any) -> Iterable[Any]:
        plain = values.normal(value)
        found = plain if isinstance(plain, list) else list(plain) if isinstance(plain, Mapping) else ()
        return [self._or_missing(values.normal(item)) for item in found]

    def written(self, value: Any, name: str, line: int) -> Any:
        if value is None or isinstance(value, Undefined):
            raise MissingValue(name, line)
        return value

    def _or_missing(self, value: Any) -> Any:
        return self.undefined(name="value") if value is None else value


def make_environment(*, autoescape: Any = False, strict: bool = False, loader: BaseLoader | None = None) -> Environment:
    """A new environment; `autoescape` as Jinja's, `strict` and `loader` as Environment's."""
    return Environment(autoescape=autoescape, strict=strict, loader=loader)


def evaluate(text: str, names: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """The value of an expression for one row: None, bool, Decimal, str, datetime, list or mapping. Raises ExpressionError.

    `names`: customer, event, arrived, steps, journey, brand (mappings; see customer_names, event_names and Facts.steps) and now.
    `functions`: those of `facts`.
    """
    found = values.normal(_compiled(text)(**{**names, **(functions or {})}))
    return str(found) if isinstance(found, Markup) else found


@lru_cache(maxsize=2048)
def _compiled(text: str) -> Callable[..., Any]:
    analysis = check([parse_expression(text)], Catalogue())
    if analysis.errors:
        raise analysis.errors[0]
    return _oracle().compile_expression(text)


@lru_cache(maxsize=1)
def _oracle() -> Environment:
    return make_environment()


def customer_names(columns: Mapping[str, Any], catalogue: object = None) -> dict[str, Any]:
    """`customer` for templates: a row of customer_profiles, with the attributes in the types the catalogue declares.

    A declared attribute whose value has another type is missing, as in SQL.
    """
    declared = as_catalogue(catalogue)
    attributes = columns.get("attributes")
    named: dict[str, Any] = {}
    for key, value in attributes.items() if isinstance(attributes, Mapping) else ():
        kind = attribute_kind(declared, key)
        plain = values.normal(value)
        if kind == "ts":
            named[key] = values.parse_time(plain) if isinstance(plain, str) else None
        else:
            named[key] = plain if kind is None or kind == values.kind_of(plain) else None
    named.update({key: values.normal(columns.get(key)) for key in CUSTOMER_COLUMNS})
    return named


def event_names(type: str | None, occurred_at: datetime | None, payload: Any) -> dict[str, Any] | None:
    """`event` or `arrived` for templates: the payload's keys with the envelope's type and occurred_at; None where there is no event."""
    if type is None:
        return None
    return {**(payload if isinstance(payload, Mapping) else {}), "type": type, "occurred_at": occurred_at}


def _finalized(value: Any) -> Any:
    if isinstance(value, Markup) or value is None or isinstance(value, Undefined):
        return "" if value is None else value
    if isinstance(value, Macro):
        return ""
    text = values.text_of(value)
    return "" if text is None else text


def _dumps(value: Any, **settings: Any) -> str:
    return json.dumps(value, default=_json_value, **settings)


def _json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return values.text_of(value)


def _default(value: Any, fallback: Any = None, also_false: bool = False) -> Any:
    plain = value if isinstance(value, Markup) else values.normal(value)
    return fallback if plain is None or (also_false and not plain) else plain


def _texts(function: Callable[[str], str]) -> Callable[[Any], Any]:
    def filtered(value: Any) -> Any:
        plain = values.normal(value)
        return function(str(plain)) if isinstance(plain, str) else Missing(name="value")

    return filtered


def _given(function: Callable[..., Any]) -> Callable[..., Any]:
    def filtered(value: Any, *arguments: Any) -> Any:
        found = function(value, *arguments)
        return Missing(name="value") if found is None else found

    return filtered


def _dated(value: Any, form: str = "%Y-%m-%d") -> str | None:
    when = values.time_of(value)
    return None if when is None else format_date(when.astimezone(UTC), form)


_FILTERS: dict[str, Callable[..., Any]] = {
    "lower": _texts(letters.lower),
    "upper": _texts(letters.upper),
    "trim": _texts(lambda text: text.strip(values.SPACES)),
    "length": _given(values.length_of),
    "count": _given(values.length_of),
    "default": _default,
    "d": _default,
    "int": _given(values.whole_of),
    "float": _given(values.number_of),
    "round": _given(values.rounded),
    "date": _given(_dated),
}
_TESTS: dict[str, Callable[[Any], bool]] = {
    "defined": lambda value: values.normal(value) is not None,
    "undefined": lambda value: values.normal(value) is None,
    "none": lambda value: values.normal(value) is None,
    "string": lambda value: values.kind_of(values.normal(value)) == "text",
    "number": lambda value: values.kind_of(values.normal(value)) == "num",
}
