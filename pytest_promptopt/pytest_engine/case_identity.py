"""What makes a pytest item this case."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_promptopt.replay.case_identity import case_identity, question_text


def of_plugin(parameter: str) -> bool:
    """Whether a plugin, not the test, is what a parameter is for (pytest-repeat's step)."""
    return parameter.startswith("__")


def identity(item: pytest.Item, prompts: Sequence[str]) -> str:
    """What makes a case this case: its prompts and its parameter values, or its name when it has none.

    Adding, removing or reordering other cases changes nothing, nor does the place where pytest was started or
    the project lies, or an xdist ``@group`` suffix.

    :param prompts: paths of the prompt files, relative to the folder of the test file.
    """
    question = asked_with(item)
    return case_identity(prompts, question, _place(item) if question is None else ())


def asked_with(item: pytest.Item) -> str | None:
    """The parameter values of a test, as text; None when it has none."""
    callspec = getattr(item, "callspec", None)
    given = {} if callspec is None else callspec.params
    values = {name: value for name, value in given.items() if not of_plugin(name)}
    return question_text(values, item.path.parent, callspec.id) if callspec and values else None


def _place(item: pytest.Item) -> list[str]:
    chain = item.listchain()
    # A hook may add an item that belongs to no file; what it is part of begins with the session.
    file = next((number for number, node in enumerate(chain) if isinstance(node, pytest.File)), 0)
    return [item.path.name, *(node.name for node in chain[file + 1 :])]
