"""The tests that pytest has planned for a function: private of it, as what is in `internals`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from _pytest import python as _python
from _pytest.scope import Scope as _Scope

#: Its name since pytest 9.2, and before.
_CALL_SPEC: Any = vars(_python).get("CallSpec") or vars(_python).get("CallSpec2")


def parameter_marks(metafunc: pytest.Metafunc) -> list[tuple[str, list[pytest.Mark]]]:
    """Per parameter set of a function: its id and its own marks."""
    return [(call.id, list(call.marks)) for call in metafunc._calls]


def multiply(
    metafunc: pytest.Metafunc,
    parameter: str,
    values: Sequence[str],
    *,
    chosen: Callable[[Sequence[pytest.Mark]], bool],
) -> None:
    """Plan each test of a function once for each value, which is the last part of its id.

    Unlike by `metafunc.parametrize` not all tests of the function need to be multiplied, and no fixture is
    called for it.

    :param chosen: says by the marks of the parameters of a test whether it is.
    """
    calls: list[Any] = list(metafunc._calls) or [_CALL_SPEC()]
    if not any(chosen(call.marks) for call in calls):
        return
    metafunc._calls = [
        each
        for call in calls
        for each in (_with_values(call, parameter, values) if chosen(call.marks) else [call])
    ]


def _with_values(call: Any, parameter: str, values: Sequence[str]) -> list[Any]:
    return [
        dataclasses.replace(
            call,
            params={**call.params, parameter: value},
            indices={**call.indices, parameter: number},
            _arg2scope={**call._arg2scope, parameter: _Scope.Function},
            _idlist=[*call._idlist, value],
        )
        for number, value in enumerate(values)
    ]


def copy_with(item: pytest.Function, parameter: str, value: str) -> pytest.Function:
    """The same test once more, with one more parameter; the session knows nothing of it."""
    private: Any = item
    call = getattr(item, "callspec", None) or _CALL_SPEC()
    (callspec,) = _with_values(call, parameter, [value])
    copy: pytest.Function = type(item).from_parent(
        item.parent,
        name=f"{item.originalname}[{callspec.id}]",
        callspec=callspec,
        fixtureinfo=private._fixtureinfo,
        keywords={callspec.id: True},
        originalname=item.originalname,
    )
    copy.own_markers[:] = item.own_markers
    return copy
