"""The hooks of pytest-promptopt; implement them in a ``conftest.py`` or a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_promptopt.failures import FailedCase
    from pytest_promptopt.models import Model


@pytest.hookspec(firstresult=True)
def pytest_promptopt_resolve_model(name: str) -> Model | None:
    """Provide the model called `name` (``provider/model``, as the user wrote it).

    Called once per model name and process, in the event loop's thread, before its first call. Return an object
    that satisfies `pytest_promptopt.models.Model`, or None to leave the name to others and to the built-in providers.

    Example, in ``conftest.py``::

        def pytest_promptopt_resolve_model(name):
            if name.startswith("house/"):
                return HouseModel(name.removeprefix("house/"))
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_categorize(case: FailedCase) -> str | None:
    """Name the category of a failed case; None leaves it to the built-in categories.

    `case` has the inputs, the expected and the actual text, where they differ, and the category that the plugin
    would choose. The name is shown to people and to the optimizer, so make it say what is wrong.

    Example::

        def pytest_promptopt_categorize(case):
            if "internal use only" in case.actual.lower():
                return "leaks internal text"
    """
