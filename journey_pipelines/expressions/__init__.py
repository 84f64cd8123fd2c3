"""The expression language: Jinja's grammar, compiled to SQL, with one Jinja environment that means the same.

Here live the names, the truth table, the parser, the checks, the compiler from syntax tree to SQLAlchemy Core, what an expression's truth
depends on and when time may change it, and the environment that templates are built on. What does not: workflows (who uses an expression
where), statements (the compiler's), connections and clocks: everything here is a function from values to values.
"""

from .analyse import analyse, analyse_text
from .check import Analysis
from .compile import Compiled, compile_condition, compile_text, compile_value
from .dependencies import Dependencies, dependencies
from .errors import ExpressionError
from .lookups import LookUps
from .names import Catalogue
from .recheck import compile_recheck
from .scope import EventScope, Scope

__all__ = [
    "Analysis",
    "Catalogue",
    "Compiled",
    "Dependencies",
    "EventScope",
    "ExpressionError",
    "LookUps",
    "Scope",
    "analyse",
    "analyse_text",
    "compile_condition",
    "compile_recheck",
    "compile_text",
    "compile_value",
    "dependencies",
]
