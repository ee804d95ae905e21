"""What a statement looks up in a table that stands in it: of all cases only this one's value is told."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from typing import Any

from pytest_promptopt.assertions.static_values import value_of

_TABLES = (ast.Dict, ast.List, ast.Tuple, ast.Set)


class LookedUp(ast.NodeTransformer):
    """Puts values for lookups and choices; ``...`` where one is not known without running the test's code.

    :param names: what the names mean in this run.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return self._value(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self._value(node) if isinstance(node.value, _TABLES) else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        asks = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, _TABLES)
        return self._value(node) if asks else self.generic_visit(node)

    def _value(self, node: ast.expr) -> ast.AST:
        try:
            return ast.parse(repr(value_of(node, self._names)), mode="eval").body
        except Exception:  # it is not known, or nothing that can be written
            return ast.Constant(...)


def looked_up(node: ast.stmt, names: Mapping[str, Any]) -> ast.stmt:
    """A copy of `node` with the values of this run for what it looks up."""
    found: ast.stmt = LookedUp(names).visit(copy.deepcopy(node))
    return found
