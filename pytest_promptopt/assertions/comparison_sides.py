"""The two sides of a comparison: which one the model said, and how each is told."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_promptopt.assertions.assert_reason import MIRRORED, TURNED, Comparison
from pytest_promptopt.assertions.function_source import (
    ASKING,
    arguments_of,
    assigned_once,
    comes_from_calls,
    is_measure,
    names_from_calls,
    root_of,
)
from pytest_promptopt.assertions.plain_values import readable_value
from pytest_promptopt.assertions.source_file import Function
from pytest_promptopt.assertions.static_values import symbol_of
from pytest_promptopt.assertions.table_lookups import LookedUp
from pytest_promptopt.completion import Completion
from pytest_promptopt.records import Call
from pytest_promptopt.text import safe_repr

#: Characters of one side of a comparison, and of the source of a check.
MAX_SIDE, MAX_SOURCE = 500, 300


class ComparisonContext:
    """Where something was compared."""

    def __init__(
        self,
        calls: Sequence[Call],
        *,
        function: Function | None = None,
        local: Mapping[str, Any] | None = None,
        names: Mapping[str, Any] | None = None,
        stated: Any | None = None,
    ) -> None:
        """:param function: the function around it, None without a source; `local` are its variables.
        :param names: what all names mean there.
        :param stated: what the test's source says that it expects, None if not known.
        """
        self._calls = calls
        self._last = calls[-1].text if calls else None
        self._stated = stated
        self._roots = frozenset[str]() if function is None else ASKING & arguments_of(function)
        given = {name for name, value in (local or {}).items() if issubclass(type(value), Completion)}
        self._made = given if function is None else names_from_calls(function, self._roots, given)
        named = {} if function is None else assigned_once(function)
        self._sources = {name: named[name] for name in named.keys() & (self._made - given)}
        self._names = names or {}
        #: With several calls a name says which answer is meant.
        self._answers = given if len(calls) == 1 else set()

    def turned(self, comparison: Comparison) -> tuple[Comparison, bool]:
        """`comparison` with what the model said on its left, if it can be; and whether that is its right."""
        right = self._right_is_actual(comparison)
        if not right or comparison.operator not in MIRRORED:
            return comparison, right
        nodes = comparison.nodes and (comparison.nodes[1], comparison.nodes[0])
        symbol = MIRRORED[comparison.operator]
        return Comparison(symbol, comparison.right, comparison.left, nodes), False

    def _right_is_actual(self, comparison: Comparison) -> bool:
        left, right = comparison.left, comparison.right
        judgements = []
        if comparison.nodes is not None:
            judgements.append([comes_from_calls(node, self._roots, self._made) for node in comparison.nodes])
        judgements.append([self._is_actual(left), self._is_actual(right)])
        if self._stated is not None:
            judgements.append([readable_value(side) != self._stated for side in (left, right)])
        if comparison.nodes is not None:
            judgements.append([not isinstance(node, ast.Constant) for node in comparison.nodes])
        return next((two for one, two in judgements if one is not two), False)

    def _is_actual(self, side: Any) -> bool:
        """Whether a side is what the model said last: its answer, the text, or a value in it."""
        if isinstance(side, Completion) or self._is_answer(side, self._calls[-1:]):
            return True
        return self._last is not None and _is_part(side, self._last)

    def _is_answer(self, side: Any, calls: Sequence[Call]) -> bool:
        return isinstance(side, str) and any(
            side.strip().casefold() == call.text.strip().casefold() for call in calls
        )

    def measures(self, comparison: Comparison) -> bool:
        """Whether what the model said is measured there, like its length, and not compared itself."""
        return comparison.nodes is not None and is_measure(comparison.nodes[0], self._sources)

    def constraint(self, comparison: Comparison, *, actual_right: bool) -> str:
        """``'refund' in answer``, ``len(answer) < 20``."""
        nodes = comparison.nodes or (None, None)
        left = self._told(comparison.left, nodes[0], is_actual=not actual_right)
        right = self._told(comparison.right, nodes[1], is_actual=actual_right)
        return f"{left} {comparison.operator} {right}"

    def _told(self, side: Any, node: ast.expr | None, *, is_actual: bool) -> str:
        if is_actual and node is not None and is_measure(node, self._sources):
            return self.source(node)
        if is_actual and node is not None and self._is_of_calls(side):
            return self.source(node)
        if isinstance(side, Completion) or (
            is_actual and (self._is_answer(side, self._calls) or self._is_actual(side))
        ):
            return "answer"
        if (
            is_actual
            and node is not None
            and (side is None or comes_from_calls(node, self._roots, self._made))
        ):
            return self.source(node)
        value = readable_value(side)  # of an object it is the `repr`, which is not quoted once more
        return (value if isinstance(value, str) and not isinstance(side, str) else safe_repr(value))[
            :MAX_SIDE
        ]

    def _is_of_calls(self, side: Any) -> bool:
        """Whether a side is a part of the calls of an answer that has no text."""
        return not isinstance(side, Completion) and bool(self._calls) and self._calls[-1].only_calls

    def check(self, node: ast.expr, *, negated: bool) -> str:
        """What a check of another kind asks for, as it is written."""
        text = self.source(node)
        if text == "answer":
            return "answer is empty" if negated else "answer is not empty"
        if not negated:
            return text
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            sides = self.source(node.left), self.source(node.comparators[0])
            return f" {TURNED[symbol_of(node.ops[0])]} ".join(sides)
        return f"not ({text})" if isinstance(node, (ast.BoolOp, ast.Compare)) else f"not {text}"

    def source(self, node: ast.expr) -> str:
        """The source of `node`, with ``answer`` for what asks the model."""
        roots = self._roots if len(self._calls) == 1 else frozenset[str]()
        shown = _Answers(roots, self._answers, self._sources, self._names).visit(copy.deepcopy(node))
        return ast.unparse(shown)[:MAX_SOURCE]


class _Answers(LookedUp):
    """Puts ``answer`` for a call of the prompt and for a name that holds its answer, and what other names
    were made of.
    """

    def __init__(
        self,
        roots: frozenset[str],
        answers: set[str],
        sources: Mapping[str, ast.expr],
        names: Mapping[str, Any],
    ) -> None:
        super().__init__(names)
        self._roots = roots
        self._answers = answers
        self._sources = dict(sources)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return ast.Name("answer") if root_of(node.func) in self._roots else super().visit_Call(node)

    def visit_Await(self, node: ast.Await) -> ast.AST:
        inside = self.visit(node.value)
        return inside if isinstance(inside, ast.Name) and inside.id == "answer" else node

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        return ast.Name("answer") if node.target.id in self._answers else self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._answers:
            return ast.Name("answer")
        source = self._sources.pop(node.id, None)  # each but once: it may be made of itself
        return node if source is None else self.visit(copy.deepcopy(source))


def _is_part(side: Any, text: str) -> bool:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return False
    todo = [whole]
    while todo:
        value = todo.pop()
        if type(value) is type(side) and value == side:
            return True
        todo.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    return False
