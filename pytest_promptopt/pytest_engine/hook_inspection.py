"""Which hooks of other plugins change how a test ends, and which only watch: read from their code."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

import pytest

from pytest_promptopt.records import Failure
from pytest_promptopt.text import cut_middle, without_addresses

#: Parts of a report, or of what a report is made from, that say how a test ended.
_VERDICT = frozenset({"outcome", "wasxfail", "excinfo"})

#: Functions of pytest, and methods of what an old wrapper is given, that end a test in another way.
_ENDS = frozenset({"fail", "skip", "xfail", "importorskip", "force_exception"})

#: Code of these is not looked at: it does what its caller says.
_RUNNING = frozenset({"_pytest", "pluggy", "pytest", "pytest_promptopt"})


def changes_report(hook: Callable[..., Any]) -> bool:
    """Whether an implementation of `pytest_runtest_makereport` changes how a test has ended."""
    return any(
        (step.opname == "STORE_ATTR" and step.argval in _VERDICT) or step.argval == "force_result"
        for code in _codes(hook)
        for step in dis.get_instructions(code)
    )


def ends_test(hook: Callable[..., Any]) -> bool:
    """Whether what wraps a phase of a test can end the test."""
    return any(
        step.opname == "RAISE_VARARGS" or step.argval in _ENDS
        for code in _codes(hook)
        for step in dis.get_instructions(code)
    )


def failure_in_report(report: pytest.TestReport, where: str) -> Failure:
    """The failure that a hook has written into a report without an exception."""
    return Failure("Failed", cut_middle(without_addresses(report.longreprtext)), where)


def _codes(hook: Callable[..., Any]) -> Iterator[CodeType]:
    """The code of a function, of those inside it, and of the functions and methods of the plugin it calls."""
    seen: set[object] = set()
    todo: list[tuple[object, object]] = [(hook, None)]
    while todo:
        found, owner = todo.pop()
        if isinstance(found, MethodType):
            owner, found = found.__self__, found.__func__
        if not isinstance(found, FunctionType) or found in seen or not _is_of_a_plugin(found):
            continue
        seen.add(found)
        codes = [found.__code__]
        for code in codes:
            codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
            yield code
            for name in code.co_names:
                todo.append((found.__globals__.get(name), None))
                todo.append((getattr(type(owner), name, None) if owner is not None else None, owner))


def _is_of_a_plugin(function: FunctionType) -> bool:
    top = str(function.__module__).partition(".")[0]
    return top not in sys.stdlib_module_names | _RUNNING
