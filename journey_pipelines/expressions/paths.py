"""Paths such as customer.address.city, event['x'][0] and steps.score.response.grade: how they are read, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Collection

from jinja2 import nodes

from .errors import did_you_mean
from .names import FUNCTIONS, ROOTS, STEP_RESULTS

Keys = list[str | int]

_EXAMPLES = {
    "customer": "first_name", "event": "type", "arrived": "type", "journey": "entered_at", "brand": "name", "steps": "score.response.grade",
}  # fmt: skip


def path_of(node: nodes.Node) -> tuple[nodes.Name, Keys] | None:
    """(root, keys) of customer.a.b, event['x'][0]; None for anything else."""
    keys: Keys = []
    while True:
        if isinstance(node, nodes.Name):
            return node, keys[::-1]
        if isinstance(node, nodes.Getattr):
            keys.append(node.attr)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and type(node.arg.value) in (str, int):
            keys.append(node.arg.value)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Neg) and isinstance(node.arg.node, nodes.Const):
            keys.append(-int(node.arg.node.value))
        else:
            return None
        node = node.node


def thing_of(node: nodes.Node) -> tuple[nodes.Name, str] | None:
    """(root, step) of a bare `event`, `arrived` or `steps.<id>` (step '' but for the last): things that are only asked for; else None."""
    match path_of(node):
        case (nodes.Name(name="event" | "arrived") as root, []):
            return root, ""
        case (nodes.Name(name="steps") as root, [str(step)]):
            return root, step
    return None


def foreign_problem(node: nodes.Expr) -> str:
    """Why a chain of keys that `path_of` does not take is none."""
    inner: nodes.Node = node
    while isinstance(inner, (nodes.Getattr, nodes.Getitem)):
        if isinstance(inner, nodes.Getitem) and not isinstance(inner.arg, nodes.Const):
            return "a key in [ ] is a text or a number written out"
        inner = inner.node
    return "a key can only be read from a name such as customer or event"


def bare_problem(root: str) -> str:
    """A name of the language that stands alone and is no value."""
    return f"{root} is not a value: name one of its fields, such as {root}.{_EXAMPLES[root]}"


def called_problem(root: str) -> str:
    """A name of the language that is called."""
    return f"{root} is no function{f': write {root}.{_EXAMPLES[root]}' if root in _EXAMPLES else ''}"


def unknown_problem(name: str, alone: bool, of_customer: Collection[str]) -> str:
    """A name that the language does not have. `alone`: no key follows; `of_customer`: what a customer may have."""
    if name in FUNCTIONS:
        return f"{name} is a function: write {FUNCTIONS[name].usage}."
    if name in ("null", "nil", "NULL"):
        return "what is missing is written none; ask with is defined."
    if name.lower() in ("true", "false"):
        return f"write {name.lower()}."
    if alone and name in of_customer:
        return f"unknown name {name!r}. Did you mean 'customer.{name}'?"
    quoted = f" A text is written in quotes: '{name}'." if alone else ""
    hint = did_you_mean(name, ROOTS)
    return f"unknown name {name!r}.{hint if 'mean' in hint or not quoted else quoted}"


def step_problem(keys: Keys, truth: bool) -> str | None:
    """Why steps.<keys> names no result of a step, or None. `truth`: only whether there is one is asked."""
    step, *path = keys
    if not isinstance(step, str) or not step:
        return f"steps[{step!r}]: a step is named by its id, such as steps.score.response.grade"
    if not path:
        ask = f"steps.{step} as a whole can only be asked for (when: steps.{step}); name what came of it: steps.{step}.response.grade"
        return None if truth else ask
    first = str(path[0])
    if first in STEP_RESULTS:
        return None if first == "response" or len(path) == 1 else f"steps.{step}.{first} has no parts"
    if step in STEP_RESULTS:
        return f"steps.{step}.{first} names no step: write steps.STEP.{step}, with the step's id in the middle"
    hint = did_you_mean(first, STEP_RESULTS)
    under = f" What a webhook answered is under response: steps.{step}.response.{first}."
    return f"the result of a step has no {first!r}.{hint if 'mean' in hint else under}"
