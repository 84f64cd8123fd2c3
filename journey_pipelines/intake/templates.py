"""`{{ column }}` templates over one row, compiled once; plain columns and plain interpolations never enter Jinja.

A lone `{{ expr }}` keeps its type, anything else is text. A template that needs a missing value gives None (as in the workflow language),
never `c@example.org`.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from operator import methodcaller
from typing import Any

from jinja2 import TemplateError, meta, nodes

from journey_pipelines.expressions.environment import MissingValue, make_environment
from journey_pipelines.intake.errors import TemplateProblem

Render = Callable[[Mapping[str, Any]], Any]

_LONE = re.compile(r"\{\{[-+]?(.*?)[-+]?\}\}", re.DOTALL)


def plain_column(text: str) -> str | None:
    """The column that `column` or `{{ column }}` names, None for any other template."""
    lone = _LONE.fullmatch(text.strip())
    name = (lone[1] if lone else text).strip()
    return name if name.isidentifier() else None


class Templates:
    """Compiles options. `columns` are the names a row has; None where each row brings its own (JSON lines)."""

    def __init__(self, columns: Collection[str] | None) -> None:
        self._columns = columns
        # strict, so that text with a missing value in it is missing as a whole; `| default(...)` still catches it
        self._text = make_environment(strict=True)
        self._typed = make_environment()

    def compile(self, option: str, text: str, *, column_name: bool = False) -> Render:
        """With `column_name`, text without braces is the name of a column; otherwise it is the value itself. Raises TemplateProblem."""
        if "{{" not in text and "{%" not in text and "{#" not in text:
            if not column_name:
                return lambda row: text
            self._check({text}, f"{option} {text!r}: ")
            return methodcaller("get", text)
        try:
            tree = self._typed.parse(text)
            names = meta.find_undeclared_variables(tree)
        except TemplateError as error:
            raise TemplateProblem(f"{option} {text!r}: {error}") from error
        self._check(names - set(self._typed.globals) - {"row"}, f"{option} {text!r}: ")
        parts = _parts(tree)
        if parts is None:
            return self._general(text)
        if len(parts) == 1 and isinstance(parts[0], nodes.Name):
            return methodcaller("get", parts[0].name)
        lone = _LONE.fullmatch(text.strip())
        if len(parts) == 1 and not isinstance(parts[0], str) and lone:
            return self._typed_expression(lone[1])
        if all(isinstance(part, str | nodes.Name) for part in parts):
            return _joined(parts)
        return self._general(text)

    def _check(self, names: set[str], where: str) -> None:
        if self._columns is None:
            return
        for name in sorted(names - set(self._columns)):
            near = difflib.get_close_matches(name, self._columns, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TemplateProblem(f"{where}there is no column {name!r}.{hint} The columns are: {', '.join(self._columns)}")

    def _typed_expression(self, source: str) -> Render:
        compiled = self._typed.compile_expression(source, undefined_to_none=True)

        def render(row: Mapping[str, Any]) -> Any:
            return compiled(row if "row" in row else {**row, "row": row})

        return render

    def _general(self, text: str) -> Render:
        template = self._text.from_string(text)

        def render(row: Mapping[str, Any]) -> Any:
            try:
                return template.render(row if "row" in row else {**row, "row": row})
            except MissingValue:
                return None

        return render


def _parts(tree: nodes.Template) -> list[str | nodes.Expr] | None:
    """Text and expressions in their order; None where there is more than that (a tag, a block)."""
    parts: list[str | nodes.Expr] = []
    for child in tree.body:
        if not isinstance(child, nodes.Output):
            return None
        for part in child.nodes:
            parts.append(part.data if isinstance(part, nodes.TemplateData) else part)
    return parts


def _joined(parts: list[str | nodes.Expr]) -> Render:
    plan = [(part, "") if isinstance(part, str) else (None, part.name) for part in parts if isinstance(part, str | nodes.Name)]

    def render(row: Mapping[str, Any]) -> Any:
        out: list[str] = []
        for text, name in plan:
            if text is not None:
                out.append(text)
            else:
                value = row.get(name)
                if value is None:
                    return None
                out.append(value if isinstance(value, str) else str(value))
        return "".join(out)

    return render
