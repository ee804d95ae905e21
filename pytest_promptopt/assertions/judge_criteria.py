"""Which criteria a test has its answers judged by, as far as its source says."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.assertions.function_source import root_of
from pytest_promptopt.assertions.source_file import Function, source_file
from pytest_promptopt.assertions.static_values import NoValue, value_of
from pytest_promptopt.labels import Kind

#: The fixture.
JUDGE = "judge"

#: Which argument is the criterion, by the method; ``judge(...)`` itself has no name.
_PLACES = {"": 1, "acall": 1, "panel": 1, "apanel": 1, "compare": 2, "acompare": 2}


@dataclass(frozen=True)
class JudgedFor:
    """What a call of the judge grades, and whether answers or pairs of them."""

    criterion: str
    kind: Kind = "answers"


def criteria_of(function: Callable[..., Any] | None, values: Mapping[str, Any]) -> tuple[JudgedFor, ...]:
    """What the calls of the fixture `judge` in `function` grade, each once.

    :param values: what the test is parametrized with.
    """
    while (wrapped := getattr(function, "__wrapped__", None)) is not None:
        function = wrapped
    code = getattr(function, "__code__", None)
    found = None if code is None else source_file(code.co_filename).function_of(code)
    if found is None:
        return ()
    names = {**getattr(function, "__globals__", {}), **values}
    return tuple(dict.fromkeys(_criteria(found, names)))


def _criteria(function: Function, names: Mapping[str, Any]) -> Iterator[JudgedFor]:
    calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
    for node in sorted(calls, key=lambda each: (each.lineno, each.col_offset)):
        if root_of(node.func) != JUDGE:
            continue
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        place = _PLACES.get(method)
        if place is None:
            continue
        given = [each.value for each in node.keywords if each.arg == "criterion"]
        given += node.args[place : place + 1]
        for criterion in given[:1]:
            try:
                value = value_of(criterion, names)
            except NoValue:
                continue
            if isinstance(value, str):
                yield JudgedFor(value, "pairs" if place == _PLACES["compare"] else "answers")
