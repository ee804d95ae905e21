"""Which criteria a test has its answers judged by, as far as its source says."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.assertions.function_source import assigned_once, root_of
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
    found, names = _read(function, values)
    return () if found is None else tuple(dict.fromkeys(_criteria(found, names)))


def _read(
    function: Callable[..., Any] | None, values: Mapping[str, Any]
) -> tuple[Function | None, Mapping[str, Any]]:
    """The source of `function`, None where there is none, and what its names mean."""
    while (wrapped := getattr(function, "__wrapped__", None)) is not None:
        function = wrapped
    code = getattr(function, "__code__", None)
    found = None if code is None else source_file(code.co_filename).function_of(code)
    return found, {**getattr(function, "__globals__", {}), **values}


def bars_of(function: Callable[..., Any] | None, values: Mapping[str, Any]) -> tuple[float, ...]:
    """The numbers that `function` compares scores of the fixture `judge` with, each once.

    :param values: what the test is parametrized with.
    """
    found, names = _read(function, values)
    return () if found is None else tuple(dict.fromkeys(_bars(found, names)))


def _bars(function: Function, names: Mapping[str, Any]) -> Iterator[float]:
    verdicts = {name for name, value in assigned_once(function).items() if _is_verdict(value)}
    for node in ast.walk(function):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        if any(_is_score(side, verdicts) for side in sides):
            for side in sides:
                with suppress(NoValue):
                    value = value_of(side, names)
                    if isinstance(value, (int, float)) and not isinstance(value, bool):
                        yield float(value)


def _is_score(node: ast.expr, verdicts: Collection[str]) -> bool:
    """Whether it is the score of a verdict, be it in a variable.

    :param verdicts: names of such variables.
    """
    if not isinstance(node, ast.Attribute) or node.attr != "score":
        return False
    return _is_verdict(node.value) or (isinstance(node.value, ast.Name) and node.value.id in verdicts)


def _is_verdict(node: ast.expr) -> bool:
    """Whether it is a call of the judge, awaited or not."""
    node = node.value if isinstance(node, ast.Await) else node
    return isinstance(node, ast.Call) and root_of(node.func) == JUDGE


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
