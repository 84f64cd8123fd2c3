"""Names and errors of a text: never raises, so that all errors of a project come at once."""

from __future__ import annotations

from jinja2 import nodes

from .check import Analysis, check
from .compile import compile_condition, compile_text
from .constants import constant_problem
from .errors import ExpressionError
from .names import as_catalogue
from .parse import error_at, parse_expression, parse_template
from .scope import placeholder_scope


def analyse(text: str, catalogue: object = None) -> Analysis:
    """Names and errors of one expression. `catalogue`: see `names.as_catalogue`; what it does not declare is not checked."""
    declared = as_catalogue(catalogue)
    try:
        analysis = check([parse_expression(text)], declared)
    except ExpressionError as wrong:
        return Analysis(errors=[wrong])
    if not analysis.errors:
        try:
            compile_condition(text, placeholder_scope(declared))
        except ExpressionError as wrong:
            analysis.errors.append(wrong)
    return analysis


def analyse_text(template: str, catalogue: object = None) -> Analysis:
    """Names and errors of a text with {{ }} as `compile_text` takes it: no statements."""
    declared = as_catalogue(catalogue)
    try:
        body = parse_template(template).body
    except ExpressionError as wrong:
        return Analysis(errors=[wrong])
    statements = [error_at(part, "only {{ }} is possible here, not {% %}") for part in body if not isinstance(part, nodes.Output)]
    parts = [part for output in body if isinstance(output, nodes.Output) for part in output.nodes]
    analysis = check([part for part in parts if not isinstance(part, nodes.TemplateData)], declared, truth=False)
    plain = [constant_problem(part.data) for part in parts if isinstance(part, nodes.TemplateData)]
    analysis.errors += statements + [ExpressionError(1, 1, problem) for problem in plain if problem]
    if not analysis.errors:
        try:
            compile_text(template, placeholder_scope(declared))
        except ExpressionError as wrong:
            analysis.errors.append(wrong)
    return analysis
