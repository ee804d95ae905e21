"""Which modules the calls of a model need: found whatever else stands in these modules."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pytest_promptopt.assertions.matchers import is_approx, replace_matched
from pytest_promptopt.pytest_engine.patches import modules_of


class Odd:
    """A class that keeps something else where others have the name of their module."""

    __module__ = property(lambda self: "elsewhere")


class Model:
    """A model of the user's own."""


@pytest.mark.parametrize("found", [Odd, Odd()])
def test_a_module_may_hold_what_has_no_name_of_a_module(
    found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = ModuleType("house")
    house.odd, house.subprocess = found, sys.modules["subprocess"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "house", house)
    monkeypatch.setattr(Model, "__module__", "house")
    assert {"house", "subprocess"} <= modules_of(Model)


def test_so_may_an_expected_value() -> None:
    assert not is_approx(Odd())
    assert replace_matched([Odd()], ["a"])
