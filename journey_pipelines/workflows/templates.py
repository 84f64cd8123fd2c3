"""What a Jinja template names, read from its syntax tree: so that a missing attribute is found at validation, not at the 40,000th mail."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import jinja2
from jinja2 import meta, nodes

from journey_pipelines.expressions.environment import make_environment

# the parts of the context whose keys are looked at
_OBJECTS = ("customer", "event", "arrived", "journey", "brand", "message")


@dataclass(frozen=True)
class Use:
    """One place where a template reads `object.key`. `safe`: under `default`, a test or an `if`'s condition, where missing is no error."""

    object: str
    key: str
    line: int
    safe: bool


@dataclass(frozen=True)
class Trouble:
    """Something to refuse, with the template's line."""

    line: int
    message: str


@dataclass
class TemplateNames:
    """What one template text names."""

    uses: list[Use] = field(default_factory=list)
    # those of the uses that are written as they are, or their `default`
    written: list[Use] = field(default_factory=list)
    # names that the template does not set itself -> the line of their first use
    free: dict[str, int] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    includes: list[tuple[str, int]] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    def keys(self, name: str) -> set[str]:
        """The keys read of one object, such as the payload keys of `event`."""
        return {use.key for use in self.uses if use.object == name}


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return make_environment()


def names_of(text: str) -> TemplateNames:
    """Parse and walk; a syntax error, an unknown filter or a form that cannot be checked is one of the `troubles`."""
    found = TemplateNames()
    try:
        tree = _environment().parse(text)
        _environment().compile(tree)
        tree = _environment().parse(text)
        _Walk(found).visit(tree, safe=False)
    except jinja2.TemplateSyntaxError as error:
        found.troubles.append(Trouble(error.lineno, str(error.message)))
        return found
    except RecursionError:
        found.troubles.append(Trouble(1, "nested too deeply to be read"))
        return found
    undeclared = meta.find_undeclared_variables(tree)
    for name in tree.find_all(nodes.Name):
        if name.name in undeclared:
            found.free[name.name] = min(name.lineno, found.free.get(name.name, name.lineno))
    return found


class _Walk:
    def __init__(self, found: TemplateNames) -> None:
        self.found = found

    def visit(self, node: nodes.Node, *, safe: bool) -> None:
        match node:
            case nodes.Getattr() | nodes.Getitem() if self._chain(node, safe):
                return
            case nodes.Name(ctx="load", name=name) if name in _OBJECTS:
                if name != "arrived" or not safe:
                    self._trouble(node, f"'{name}' stands alone; name what of it, such as {name}.{_example(name)}")
            case nodes.Name(ctx="store" | "param", name=name):
                self.found.assigned.add(name)
                if name in _OBJECTS:
                    self._trouble(node, f"'{name}' is given by the engine; give your own variable another name")
            case nodes.Macro(name=name):
                self.found.assigned.add(name)
                self._children(node, safe=False)
            case nodes.Filter(name="default" | "d", node=subject):
                if subject is not None:
                    self.visit(subject, safe=True)
                for argument in node.args:
                    self.visit(argument, safe=safe)
            case nodes.Output():
                for child in node.nodes:
                    before = len(self.found.uses)
                    self.visit(child, safe=safe)
                    if isinstance(_without_default(child), nodes.Getattr | nodes.Getitem):
                        self.found.written.extend(self.found.uses[before : before + 1])
            case nodes.Test():
                self._children(node, safe=True)
            case nodes.If() | nodes.CondExpr():
                self.visit(node.test, safe=True)
                self._children(node, safe=safe, but=node.test)
            case nodes.Extends() | nodes.Include() | nodes.Import() | nodes.FromImport():
                self._reference(node)
                if isinstance(node, nodes.Import):
                    self.found.assigned.add(node.target)
                elif isinstance(node, nodes.FromImport):
                    self.found.assigned.update(name if isinstance(name, str) else name[1] for name in node.names)
            case _:
                self._children(node, safe=safe)

    def _children(self, node: nodes.Node, *, safe: bool, but: nodes.Node | None = None) -> None:
        for child in node.iter_child_nodes():
            if child is not but:
                self.visit(child, safe=safe)

    def _chain(self, node: nodes.Getattr | nodes.Getitem, safe: bool) -> bool:
        """Record `customer.a.b` as the key a; False where this is no chain that starts at one of the context's objects."""
        key: str | None = None
        at: nodes.Node = node
        while isinstance(at, nodes.Getattr | nodes.Getitem):
            if isinstance(at, nodes.Getattr):
                key = at.attr
            elif isinstance(at.arg, nodes.Const) and isinstance(at.arg.value, str):
                key = at.arg.value
            else:
                key = None
                self.visit(at.arg, safe=safe)
            at = at.node
        if not isinstance(at, nodes.Name) or at.name not in _OBJECTS:
            self.visit(at, safe=safe)
            return True
        if key is None:
            self._trouble(node, f"{at.name}[...] needs a name in quotes, such as {at.name}['{_example(at.name)}']")
        else:
            self.found.uses.append(Use(at.name, key, node.lineno, safe))
        return True

    def _reference(self, node: nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport) -> None:
        named = node.template
        if isinstance(named, nodes.Const) and isinstance(named.value, str):
            self.found.includes.append((named.value, node.lineno))
        else:
            self._trouble(node, "a template is named by its text, such as {% include 'footer.html' %}, never by an expression")

    def _trouble(self, node: nodes.Node, message: str) -> None:
        self.found.troubles.append(Trouble(node.lineno, message))


def _without_default(node: nodes.Node) -> nodes.Node:
    while isinstance(node, nodes.Filter) and node.name in ("default", "d") and node.node is not None:
        node = node.node
    return node


def _example(name: str) -> str:
    return {
        "customer": "first_name",
        "event": "order_id",
        "arrived": "type",
        "journey": "entered_at",
        "brand": "name",
        "message": "message_key",
    }[name]
