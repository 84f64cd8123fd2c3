"""The templates of one workflow version, compiled once a run, and rendered within bounds of size and time."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes

from journey_pipelines.delivery.html_text import text_of_html, text_template_of_html
from journey_pipelines.expressions.environment import Environment, MissingValue, make_environment
from journey_pipelines.expressions.values import text_of
from journey_pipelines.workflows.templates import names_of

# A mail above 100 kB is cut by Gmail; this is where rendering stops
MAX_CHARACTERS = 500_000
MAX_SECONDS = 1.0
_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")


class RenderError(ValueError):
    """A message cannot be rendered; says which template, which line and what is wrong."""


class Text:
    """One template. `render` gives its text for one message and raises RenderError."""

    def __init__(self, environment: Environment, label: str, source: str, *, name: str | None = None) -> None:
        """`name`: of a file (its ending decides on autoescape); None = a text of workflow.yaml. Raises RenderError."""
        self.label = label
        self.source = source
        self._template: jinja2.Template | None = None
        if "{" not in source:
            return
        troubles = names_of(source).troubles
        if troubles:
            raise RenderError(f"{label}: line {troubles[0].line}: {troubles[0].message}")
        try:
            self._template = environment.get_template(name) if name is not None else environment.from_string(source)
        except jinja2.TemplateError as error:
            raise RenderError(f"{label}: {error}") from error

    def render(self, context: Mapping[str, Any]) -> str:
        if self._template is None:
            return self.source
        end = time.monotonic() + MAX_SECONDS
        parts: list[str] = []
        size = 0
        try:
            for part in self._template.generate(context):
                parts.append(part)
                size += len(part)
                if size > MAX_CHARACTERS:
                    raise RenderError(f"{self.label}: expected at most {MAX_CHARACTERS:,} characters, got more")
                if time.monotonic() > end:
                    raise RenderError(f"{self.label}: took longer than {MAX_SECONDS:.0f} s")
        except RenderError:
            raise
        except MissingValue as error:
            raise RenderError(f"{self.label}: {error}") from error
        except jinja2.TemplateError as error:
            raise RenderError(f"{self.label}: {error}") from error
        except Exception as error:
            # whatever a value made of a filter: it is this message's trouble and nobody else's
            raise RenderError(f"{self.label}: {type(error).__name__}: {error}") from error
        return "".join(parts)


class TextPart:
    """The text of a mail: its own template, or what its HTML says."""

    def __init__(self, environment: Environment, html: Text, own: Text | None) -> None:
        derived = None if own is not None else text_template_of_html(environment.lex(html.source))
        self._text = own or (Text(environment, f"{html.label} as text", derived) if derived is not None else None)

    def render(self, context: Mapping[str, Any], html: str) -> str:
        text = self._text.render(context) if self._text is not None else text_of_html(html)
        return _BLANK_LINES.sub("\n\n", text).strip() + "\n"


class Value:
    """A JSON value whose texts are templates; a text that is one lone `{{ expr }}` keeps the expression's type."""

    def __init__(self, environment: Environment, label: str, value: Any) -> None:
        """Raises RenderError."""
        self._label = label
        self._make = self._compiled(environment, value)

    def render(self, context: Mapping[str, Any]) -> Any:
        return self._make(context)

    def _compiled(self, environment: Environment, value: Any) -> Any:
        match value:
            case Mapping():
                fields = {str(key): self._compiled(environment, item) for key, item in value.items()}
                return lambda context: {key: make(context) for key, make in fields.items()}
            case list() | tuple():
                items = [self._compiled(environment, item) for item in value]
                return lambda context: [make(context) for make in items]
            case str() if expression := _lone_expression(environment, value):
                Text(environment, self._label, value)  # its checks
                compute = environment.compile_expression(expression, undefined_to_none=False)
                return lambda context: self._typed(expression, compute(**context))
            case str():
                return Text(environment, self._label, value).render
        return lambda context: value

    def _typed(self, expression: str, found: Any) -> Any:
        if isinstance(found, jinja2.Undefined):
            raise RenderError(f"{self._label}: {expression} is missing and has no default: write {{{{ {expression} | default(...) }}}}")
        return found


def json_value(value: Any) -> Any:
    """`default` for json.dumps: what templates compute with, as JSON has it."""
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return text_of(value)


def environment_of(templates: Mapping[str, str]) -> Environment:
    """Strict about missing values; HTML is escaped in files that end with .html and nowhere else."""
    return make_environment(
        autoescape=lambda name: name is not None and name.endswith(".html"), strict=True, loader=jinja2.DictLoader(dict(templates))
    )


@lru_cache(maxsize=1024)
def _expression_of(source: str) -> str | None:
    try:
        body = make_environment().parse(source.strip()).body
    except jinja2.TemplateError:
        return None
    if (
        len(body) == 1
        and isinstance(body[0], nodes.Output)
        and len(body[0].nodes) == 1
        and not isinstance(body[0].nodes[0], nodes.TemplateData)
    ):
        return source.strip().removeprefix("{{").removesuffix("}}").strip("-+ \t\n")
    return None


def _lone_expression(environment: Environment, source: str) -> str | None:
    return _expression_of(source) if source.strip().startswith("{{") else None
