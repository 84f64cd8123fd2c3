"""The tree of a template with Jinja's operators replaced by those of the truth table, just before Jinja compiles it.

`not`, `and`, `or` and `if` stay Jinja's own: Python's truth of the values in `values` is the language's.
"""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

_REFUSED: dict[type[nodes.Node], str] = {nodes.FloorDiv: "//", nodes.Mod: "%", nodes.Pow: "**", nodes.Slice: "a slice"}


class _Rewriter(NodeTransformer):
    def __init__(self, strict: bool) -> None:
        self.strict = strict

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:
        self.generic_visit(node)
        left = node.expr
        result: nodes.Expr | None = None
        for operand in node.ops:
            pair = _call("compared", node, nodes.Const(operand.op, lineno=node.lineno), left, operand.expr)
            result = pair if result is None else nodes.And(result, pair, lineno=node.lineno)
            left = operand.expr
        return result or left

    def visit_Add(self, node: nodes.BinExpr) -> nodes.Expr:
        self.generic_visit(node)
        return _call("reckoned", node, nodes.Const(node.operator, lineno=node.lineno), node.left, node.right)

    visit_Sub = visit_Mul = visit_Div = visit_Add

    def visit_Neg(self, node: nodes.UnaryExpr) -> nodes.Expr:
        self.generic_visit(node)
        return _call("reckoned", node, nodes.Const(node.operator, lineno=node.lineno), nodes.Const(0, lineno=node.lineno), node.node)

    visit_Pos = visit_Neg

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        return _call("joined", node, *node.nodes)

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = _call("elements", node, node.iter)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Output:
        labels = [None if isinstance(part, nodes.TemplateData) else unparse(part) for part in node.nodes]
        self.generic_visit(node)
        if self.strict:
            node.nodes = [
                part if label is None else _call("written", part, part, nodes.Const(label), nodes.Const(int(part.lineno or 0)))
                for part, label in zip(node.nodes, labels, strict=True)
            ]
        return node

    def visit_FloorDiv(self, node: nodes.Node) -> nodes.Node:
        raise TemplateSyntaxError(f"{_REFUSED[type(node)]} is not in the language", int(node.lineno or 1))

    visit_Mod = visit_Pow = visit_Slice = visit_FloorDiv


def rewritten(tree: nodes.Template, strict: bool) -> nodes.Template:
    """Raises TemplateSyntaxError for operators that the language does not have."""
    return _Rewriter(strict).visit(tree)


def _call(method: str, node: nodes.Node, *arguments: Any) -> nodes.Call:
    function = nodes.EnvironmentAttribute(method, lineno=node.lineno)
    return nodes.Call(function, list(arguments), [], None, None, lineno=node.lineno)


_SYMBOLS = {"eq": "==", "ne": "!=", "lt": "<", "lteq": "<=", "gt": ">", "gteq": ">=", "in": "in", "notin": "not in"}


def unparse(node: Any) -> str:
    """The text of an expression's tree, in one spelling: what people see in logs and timelines."""
    match node:
        case nodes.Const():
            return _literal(node.value)
        case nodes.Name():
            return str(node.name)
        case nodes.Getattr():
            return f"{unparse(node.node)}.{node.attr}"
        case nodes.Getitem():
            return f"{unparse(node.node)}[{unparse(node.arg)}]"
        case nodes.List() | nodes.Tuple():
            return f"[{', '.join(unparse(item) for item in node.items)}]"
        case nodes.Call():
            named = [f"{keyword.key}={unparse(keyword.value)}" for keyword in node.kwargs]
            return f"{unparse(node.node)}({', '.join([*map(unparse, node.args), *named])})"
        case nodes.Filter():
            arguments = f"({', '.join(map(unparse, node.args))})" if node.args else ""
            return f"{unparse(node.node)} | {node.name}{arguments}"
        case nodes.Test():
            return f"{unparse(node.node)} is {node.name}"
        case nodes.Not() | nodes.Neg() | nodes.Pos():
            return f"{node.operator}{' ' if isinstance(node, nodes.Not) else ''}{unparse(node.node)}"
        case nodes.BinExpr():
            return f"({unparse(node.left)} {node.operator} {unparse(node.right)})"
        case nodes.Concat():
            return f"({' ~ '.join(map(unparse, node.nodes))})"
        case nodes.Compare():
            return f"({unparse(node.expr)}{''.join(f' {_SYMBOLS[o.op]} {unparse(o.expr)}' for o in node.ops)})"
        case nodes.CondExpr():
            otherwise = f" else {unparse(node.expr2)}" if node.expr2 is not None else ""
            return f"({unparse(node.expr1)} if {unparse(node.test)}{otherwise})"
    return type(node).__name__.lower()


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"'{escaped}'"
    return str(value)
