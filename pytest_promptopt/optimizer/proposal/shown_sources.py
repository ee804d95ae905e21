"""The source of a test, without the texts of cases that a request must not tell.

The body of a test may hold a table of all cases, with the held-out ones. So only those of its constants are
shown that also stand in training cases or in the prompt, and those of ASCII punctuation alone, such as the
characters that are stripped; the code itself is shown.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_promptopt.records import CaseResult
from pytest_promptopt.text import fold_case_and_space

_PUNCTUATION = frozenset(string.punctuation + " \n\t")


class Known:
    """The texts that a request may hold."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._text = "\n".join(dict.fromkeys(map(_folded, texts)))

    def __contains__(self, value: object) -> bool:
        if isinstance(value, str | bytes):
            text = value if isinstance(value, str) else value.decode("latin-1")
            return _PUNCTUATION.issuperset(text) or _folded(text) in self._text
        return re.search(rf"(?<![\w.]){re.escape(str(value))}(?![\w.])", self._text) is not None


def texts_of(results: Iterable[CaseResult]) -> Iterator[str]:
    """All texts of cases: inputs, parameters, expected values and failures."""
    for outcome in (outcome for result in results for outcome in result.outcomes):
        parts: list[Any] = [outcome.inputs, outcome.parameters, outcome.expected]
        parts += (call.variables for call in outcome.calls)
        if (failure := outcome.failure) is not None:
            parts += (failure.expected, failure.constraint, failure.message)
        yield from _texts(parts)


def abridge_source(source: str, known: Known) -> str:
    """`source` with ``...`` for what is not `known`, without comments; empty when it cannot be read."""
    try:
        return ast.unparse(_Told(known).visit(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return ""


class _Told(ast.NodeTransformer):
    """Takes out strings that are not known, and numbers of tables and branches: other cases' may be there."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._apart = False

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if node.value is None or isinstance(node.value, bool) or node.value is ...:
            return node
        checked = isinstance(node.value, str | bytes) or self._apart
        return node if not checked or node.value in self._known else ast.Constant(...)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """A string that stands alone is a comment."""
        return (
            ast.Expr(ast.Constant(...)) if isinstance(node.value, ast.Constant) else self.generic_visit(node)
        )

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):  # how it is formatted is no text of a case
                part.value = self.visit(part.value)
            elif isinstance(part, ast.Constant) and part.value not in self._known:
                part.value = "..."
        return node

    def _of_some_case(self, node: Any) -> Any:
        before, self._apart = self._apart, True
        node = self.generic_visit(node)
        self._apart = before
        return node

    def _branch(self, node: Any) -> Any:
        """The condition of a branch is the same for every case."""
        asked, node.test = self.visit(node.test), ast.Constant(None)
        node = self._of_some_case(node)
        node.test = asked
        return node

    visit_Dict = visit_List = visit_Tuple = visit_Set = visit_Match = _of_some_case
    visit_If = visit_IfExp = _branch


def _folded(text: str) -> str:
    return fold_case_and_space(text)


def _texts(value: Any) -> Iterator[str]:
    """The texts, keys and numbers in JSON-like data."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)
