"""Which criteria a test has its answers judged by, as far as its source says."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from pytest_promptopt.assertions.function_source import assigned_once, root_of
from pytest_promptopt.assertions.source_file import Function, source_file
from pytest_promptopt.assertions.static_values import NoValue, value_of
from pytest_promptopt.labels import Kind
from pytest_promptopt.weak_cache import WeakCache

#: The fixture.
JUDGE = "judge"

#: Which argument is the criterion, by the method; ``judge(...)`` itself has no name.
_PLACES = {"": 1, "acall": 1, "panel": 1, "apanel": 1, "compare": 2, "acompare": 2}


@dataclass(frozen=True)
class JudgedFor:
    """What a call of the judge grades, and whether answers or pairs of them."""

    criterion: str
    kind: Kind = "answers"


@dataclass(frozen=True)
class _Judging:
    """How a test function has answers judged, as it is written: the same for all its cases.

    :param criteria: the expressions of the criteria, in the order of the calls.
    :param compared: the expressions in comparisons with a score.
    :param outer: what the names mean that are no parameters.
    """

    criteria: tuple[tuple[ast.expr, Kind], ...] = ()
    compared: tuple[ast.expr, ...] = ()
    outer: Mapping[str, Any] = field(default_factory=dict)


def criteria_of(function: Callable[..., Any] | None, values: Mapping[str, Any]) -> tuple[JudgedFor, ...]:
    """What the calls of the fixture `judge` in `function` grade, each once.

    :param values: what the test is parametrized with.
    """
    judging = _judging(function)
    names = {**judging.outer, **values}
    found = ((_value(criterion, names), kind) for criterion, kind in judging.criteria)
    return tuple(dict.fromkeys(JudgedFor(value, kind) for value, kind in found if isinstance(value, str)))


def bars_of(function: Callable[..., Any] | None, values: Mapping[str, Any]) -> tuple[float, ...]:
    """The numbers that `function` compares scores of the fixture `judge` with, each once.

    :param values: what the test is parametrized with.
    """
    judging = _judging(function)
    names = {**judging.outer, **values}
    found = (_value(side, names) for side in judging.compared)
    numbers = (each for each in found if isinstance(each, (int, float)) and not isinstance(each, bool))
    return tuple(dict.fromkeys(map(float, numbers)))


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of an expression; None where only running the test would tell it."""
    try:
        return value_of(node, names)
    except NoValue:
        return None


#: By test function.
_READ = WeakCache[tuple[tuple[tuple[ast.expr, Kind], ...], tuple[ast.expr, ...]]]()


def _judging(function: Callable[..., Any] | None) -> _Judging:
    while (wrapped := getattr(function, "__wrapped__", None)) is not None:
        function = wrapped
    code = getattr(function, "__code__", None)
    if code is None:
        return _Judging()
    criteria, compared = _READ.get(function, lambda: _read(code))
    return _Judging(criteria, compared, getattr(function, "__globals__", {}))


def _read(code: CodeType) -> tuple[tuple[tuple[ast.expr, Kind], ...], tuple[ast.expr, ...]]:
    found = source_file(code.co_filename).function_of(code)
    return ((), ()) if found is None else (tuple(_criteria(found)), tuple(_compared(found)))


def _criteria(function: Function) -> Iterator[tuple[ast.expr, Kind]]:
    calls = [each for each in ast.walk(function) if isinstance(each, ast.Call) and _is_verdict(each)]
    for node in sorted(calls, key=lambda each: (each.lineno, each.col_offset)):
        place = _PLACES.get(node.func.attr if isinstance(node.func, ast.Attribute) else "")
        if place is None:
            continue
        named = (each.value for each in node.keywords if each.arg == "criterion")
        for criterion in [*named, *node.args[place : place + 1]][:1]:
            yield criterion, "pairs" if place == _PLACES["compare"] else "answers"


def _compared(function: Function) -> Iterator[ast.expr]:
    verdicts = {name for name, value in assigned_once(function).items() if _is_verdict(value)}
    for node in ast.walk(function):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(_is_score(side, verdicts) for side in sides):
                yield from sides


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
