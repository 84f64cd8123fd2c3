"""One expression where it stands: what it names has to be known there. What one workflow adds (steps, payload keys) is `check_names`'."""

from __future__ import annotations

from jinja2 import nodes

from journey_pipelines.expressions import Analysis, ExpressionError, analyse, dependencies
from journey_pipelines.expressions import names as language
from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.expressions.parse import parse_expression
from journey_pipelines.workflows.events import BUILT_IN_EVENTS, RESERVED_PREFIXES
from journey_pipelines.workflows.known import Known
from journey_pipelines.workflows.problems import Place, Problems, nearest, one_of
from journey_pipelines.workflows.project import Catalogue
from journey_pipelines.workflows.reading import Role
from journey_pipelines.workflows.yaml_nodes import Text

_JOURNEY = ("customer", "event", "arrived", "steps", "journey", "brand", "now")
_PEOPLE = ("customer", "brand", "now")
ROOTS: dict[Role, tuple[str, ...]] = {
    "entry": ("customer", "event", "brand", "now"),
    "audience": _PEOPLE,
    "anchor": ("customer", "brand"),
    "condition": _PEOPLE,
    "consent": _PEOPLE,
    "rule": _JOURNEY,
    "state": tuple(root for root in _JOURNEY if root != "arrived"),
    "due": ("customer", "event", "steps", "journey", "brand"),
    "wait": _JOURNEY,
    "step": _JOURNEY,
}
_WHERE: dict[Role, str] = {
    "entry": "before the journey starts",
    "audience": "in an audience, which is asked about customers",
    "anchor": "in the date of a trigger, which is a date of the customer",
    "condition": "in a condition about customers",
    "consent": "in a rule of consent, which is asked about customers",
    "rule": "in a goal or an exit",
    "state": "in a goal or an exit that looks at no event",
    "due": "in the date of a wait",
    "wait": "in a wait",
    "step": "in a step",
}
WITHOUT_JOURNEY: frozenset[Role] = frozenset({"entry", "audience", "anchor", "condition", "consent"})


def check_expression(node: Text, text: str, label: str, role: Role, known: Known, problems: Problems) -> Analysis:
    """Report what is wrong with it, and what it names that is not known at such a place."""
    found = analyse(text, known.declared)
    check_found(found, node, label, role, known, problems)
    if role in WITHOUT_JOURNEY and not found.errors:
        for word in sorted(_since(text)):
            problems.error(node.at, f"{label}: since='{word}' asks about a journey, and there is none {_WHERE[role]}")
    return found


def check_found(found: Analysis, node: Text, label: str, role: Role, known: Known, problems: Problems) -> None:
    """As `check_expression`, of a text that is analysed already."""
    for error in found.errors:
        problems.error(place_in(node, error), f"{label}: {error.message}")
    for name in sorted(found.event_types):
        said = any(f"'{name}'" in error.message for error in found.errors)
        if name.startswith(RESERVED_PREFIXES) and not said and (problem := event_type_problem(name, known.catalogue)):
            problems.error(node.at, f"{label}: {problem}")
    for root in sorted(found.names & set(language.ROOTS) - set(ROOTS[role])):
        problems.error(node.at, f"{label}: '{root}' is not known {_WHERE[role]}; there are {one_of(ROOTS[role])}")
    if role in WITHOUT_JOURNEY:
        for function in sorted(found.functions & language.ENGAGEMENT.keys()):
            problems.error(node.at, f"{label}: {function}() asks about messages of a journey, and there is none {_WHERE[role]}")
    for name in sorted(found.workflows - known.workflows.keys()):
        problems.error(node.at, f"{label}: in_workflow('{name}'): there is no workflow '{name}'.{did_you_mean(name, known.workflows)}")
    for key in sorted(found.brand_keys - known.brand.keys()):
        problems.error(node.at, f"{label}: policies.yaml has no brand.{key}.{did_you_mean(key, known.brand)}")


def event_type_problem(name: str, catalogue: Catalogue) -> str | None:
    """Why there can be no event of that type, or None."""
    if name in BUILT_IN_EVENTS:
        return None
    if name.startswith(("enter.", "exit.")):
        return f"'{name}' is the engine's own; others start a workflow by `start_workflow`, or by its trigger `manual: true`"
    if name.startswith(RESERVED_PREFIXES):
        near = nearest(name, BUILT_IN_EVENTS) or f" The engine's own are {one_of(BUILT_IN_EVENTS)}"
        return f"unknown event type '{name}'.{near}"
    if catalogue.events is not None and name not in catalogue.events:
        near = did_you_mean(name, [*catalogue.events, *BUILT_IN_EVENTS])
        return f"unknown event type '{name}': catalogue.yaml declares none of that name.{near}"
    return None


def warn_of_cost(node: Text, text: str, label: str, problems: Problems) -> None:
    """A condition that is asked often: time alone changes it at no instant that can be computed, or each write of a profile does."""
    found = dependencies(text)
    if found.polled:
        problems.warn(
            node.at,
            f"{label}: can change by time alone, at instants that cannot be computed: it is asked every quarter of an hour for everybody, "
            "which costs time; where you can, write it as days_since(TIME) > NUMBER",
        )
    if "updated_at" in found.customer_keys:
        problems.warn(
            node.at,
            f"{label}: customer.updated_at changes with every write of a profile, whatever it writes: it is asked each time, which costs "
            "time; where you can, ask for the attribute or the event that you mean",
        )


def _since(text: str) -> set[str]:
    """`since='entry'` and `since='step'` of an expression that parses."""
    named = (keyword for keyword in parse_expression(text).find_all(nodes.Keyword) if keyword.key == "since")
    return {str(keyword.value.value) for keyword in named if isinstance(keyword.value, nodes.Const)}


def place_in(node: Text, error: ExpressionError) -> Place:
    """An expression's line and column -> the file's. In a folded or quoted text over several lines only the line is known."""
    if not node.one_line:
        return Place(node.at.file, node.first_line + error.line - 1)
    return Place(node.at.file, node.at.line, node.at.column + error.col - 1 + (0 if node.plain else 1))
