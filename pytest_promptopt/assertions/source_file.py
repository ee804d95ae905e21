"""The user's source files: which function and which statement stand at a line."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cached_property, lru_cache
from io import FileIO
from types import CodeType

from pytest_promptopt.unpatched import os

#: Characters of a statement that are kept.
MAX_STATEMENT = 500

Function = ast.FunctionDef | ast.AsyncFunctionDef


class SourceFile:
    """A source file, parsed; one without content where it cannot be read."""

    def __init__(self, content: bytes = b"") -> None:
        """Raises `SyntaxError` and `ValueError` as `ast.parse` does."""
        self._tree = ast.parse(content)
        self.lines = re.split(r"\r\n|\r|\n", content.decode("utf-8"))
        self._functions = {
            min([node.lineno, *(each.lineno for each in node.decorator_list)]): node
            for node in _statements(self._tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }

    def function_of(self, code: CodeType) -> Function | None:
        """The function that `code` was made from."""
        found = self._functions.get(code.co_firstlineno)
        return found if found is not None and found.name == code.co_name else None

    def plain_function(self, name: str) -> Function | None:
        """The function of this name that the file itself defines; none with decorators, such as a fixture."""
        return self._plain.get(name)

    @cached_property
    def _plain(self) -> dict[str, Function]:
        return {
            node.name: node
            for node in self._tree.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.decorator_list
        }

    def lambda_of(self, code: CodeType) -> ast.Lambda | None:
        """The lambda that `code` was made from."""
        found = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Lambda)
            and node.lineno == code.co_firstlineno
            and _span(node.body) == _span_of_code(code)
        ]
        return found[0] if len(found) == 1 else None

    def statement_at(self, line: int) -> ast.stmt | None:
        """The innermost statement of `line`."""
        return self._by_line.get(line)

    @cached_property
    def _by_line(self) -> dict[int, ast.stmt]:
        found: dict[int, ast.stmt] = {}
        for node in _statements(self._tree):  # what is inside comes after what is around it
            found.update(dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), node))
        return found

    def condition_of(self, statement: ast.stmt) -> ast.expr | None:
        """The condition under which `statement` runs, when an ``if`` stands right around it."""
        around = self._around.get(id(statement))
        return around.test if around is not None else None

    @cached_property
    def _around(self) -> dict[int, ast.If]:
        found = (node for node in _statements(self._tree) if isinstance(node, ast.If))
        return {id(inside): node for node in found for inside in node.body}

    def text_of(self, statement: ast.stmt) -> str:
        """The source of `statement`, without its body and with the ``if`` around it."""
        if (around := self._around.get(id(statement))) is not None:
            return f"if {ast.unparse(around.test)}: {ast.unparse(statement)}"[:MAX_STATEMENT]
        body = getattr(statement, "body", None)
        last = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
        text = textwrap.dedent("\n".join(self.lines[statement.lineno - 1 : max(last, statement.lineno)]))
        return text if len(text) <= MAX_STATEMENT else text[: MAX_STATEMENT - 2].rstrip() + " …"


#: First line, first column, last line, last column.
_Span = tuple[int, int, int, int]


def _span(node: ast.expr) -> _Span:
    return node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0


def _span_of_code(code: CodeType) -> _Span | None:
    """From where to where the expression goes that a lambda returns."""
    spans = [
        (line, column, last, end)
        for line, last, column, end in code.co_positions()
        if line is not None and column is not None and last is not None and end is not None and end > column
    ]
    return (*min(span[:2] for span in spans), *max(span[2:] for span in spans)) if spans else None


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements inside `node`; far fewer than its nodes."""
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for each in getattr(node, part, ()):
            if isinstance(each, ast.stmt):
                yield each
            yield from _statements(each)


def source_file(path: str) -> SourceFile:
    """The source file `path`, read once for each of its states."""
    try:
        state = os.stat(path)
    except OSError:
        return SourceFile()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _read(path: str, changed: int, size: int) -> SourceFile:
    """:param changed: with `size`, tells apart the states of a file that is written anew."""
    try:
        with FileIO(path) as file:  # `open` may be that of another file system, with which a test works
            return SourceFile(file.readall())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return SourceFile()
