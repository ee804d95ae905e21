"""A reader sees a function on one screen and a module in one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest_promptopt

PACKAGE = Path(pytest_promptopt.__file__).parent

LONGEST_MODULE = 450
LONGEST_FUNCTION = 60


def too_long(name: str, source: str) -> Iterator[str]:
    """The module, if it is too long, and its functions that are, in words."""
    if (lines := len(source.splitlines())) > LONGEST_MODULE:
        yield f"{name} has {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if (lines := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION:
                yield f"{name}:{node.lineno} {node.name} has {lines} lines"


def test_no_module_and_no_function_is_too_long() -> None:
    sources = {
        str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")
    }
    assert [said for name, source in sorted(sources.items()) for said in too_long(name, source)] == []


def test_what_is_too_long_is_seen_also_inside_a_class() -> None:
    method = "class A:\n    async def b(self):\n" + "        pass\n" * LONGEST_FUNCTION
    assert list(too_long("a.py", method)) == [f"a.py:2 b has {LONGEST_FUNCTION + 1} lines"]
    assert list(too_long("a.py", "pass\n" * LONGEST_MODULE)) == []
    assert list(too_long("a.py", "pass\n" * (LONGEST_MODULE + 1))) == ["a.py has 451 lines"]
