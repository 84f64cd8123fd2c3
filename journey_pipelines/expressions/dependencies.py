"""What the truth of an expression hangs on, so that it is asked again when one of these changes and only then."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import nodes

from .check import Analysis, check
from .names import STEP_EVENTS, WORKFLOW_EVENTS, as_catalogue
from .parse import parse_expression
from .paths import path_of
from .timing import timing

# of `journey`, what changes with each step it reaches
_OF_A_STEP = ("step_entered_at", "visit")


@dataclass(frozen=True)
class Dependencies:
    """customer_keys: keys of the profile, the first after the dot. event_types: whose arrival may change it. segments: by id.

    timed: it can change by time alone. polled: it does so at instants that cannot be worked out, so it is asked every quarter of an hour.
    of_step: it reads what is another thing at each step of a journey (journey.step_entered_at, journey.visit, since='step').
    """

    customer_keys: frozenset[str]
    event_types: frozenset[str]
    segments: frozenset[str]
    timed: bool
    polled: bool
    of_step: bool


def dependencies(text: str, catalogue: object = None) -> Dependencies:
    """Of a condition. `catalogue`: see `names.as_catalogue`. Raises ExpressionError, the first of them.

    The local clock and customer.zone hang on the profile's `timezone`; opened(), clicked(), ... on their message.*, steps.<id> on webhook
    answers and done tasks, in_workflow() on journeys entered and ended. `event`, `arrived`, `journey` and `brand` are the row's own.
    """
    tree = parse_expression(text)
    found = check([tree], as_catalogue(catalogue))
    if found.errors:
        raise found.errors[0]
    changes = timing(tree)
    return Dependencies(
        customer_keys=frozenset(_customer_keys(found)),
        event_types=frozenset(_event_types(found)),
        segments=frozenset(found.segments),
        timed=changes.timed,
        polled=changes.polled,
        of_step=_of_step(tree),
    )


def _customer_keys(found: Analysis) -> set[str]:
    local = "zone" in found.customer_fields or not found.functions.isdisjoint({"local_hour", "local_weekday"})
    return found.customer_fields | ({"timezone"} if local else set())


def _event_types(found: Analysis) -> set[str]:
    of_steps = STEP_EVENTS if found.step_results else ()
    of_workflows = WORKFLOW_EVENTS if found.workflows else ()
    return {*found.event_types, *of_steps, *of_workflows}


def _of_step(tree: nodes.Node) -> bool:
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Keyword)):
        match node:
            case nodes.Keyword(key="since", value=nodes.Const(value="step")):
                return True
            case nodes.Keyword(key="when", value=nodes.Const(value=str(text))) if _of_step(parse_expression(text)):
                return True
            case nodes.Getattr() | nodes.Getitem():
                path = path_of(node)
                if path is not None and path[0].name == "journey" and path[1][:1] and path[1][0] in _OF_A_STEP:
                    return True
    return False
