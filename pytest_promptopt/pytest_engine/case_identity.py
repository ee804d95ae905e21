"""What makes a case this case, whatever becomes of the cases around it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import pytest

from pytest_promptopt.assertions.plain_values import plain_value
from pytest_promptopt.text import without_addresses


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
    if question is None:
        chain = item.listchain()
        # A hook may add an item that belongs to no file; what it is part of begins with the session.
        file = next((number for number, node in enumerate(chain) if isinstance(node, pytest.File)), 0)
        return json.dumps([list(prompts), item.path.name, *(node.name for node in chain[file + 1 :])])
    return json.dumps([list(prompts)]) + question


def asked_with(item: pytest.Item) -> str | None:
    """The parameter values of a test, as text; None when it has none."""
    callspec = getattr(item, "callspec", None)
    given = {} if callspec is None else callspec.params
    values = {name: value for name, value in given.items() if not of_plugin(name)}
    if not values:
        return None
    text = json.dumps(plain_value(_placed(values, item.path.parent)), sort_keys=True)
    # Where objects live differs from process to process, so their test ids tell them apart.
    stable = without_addresses(text)
    return f"{stable} {callspec.id}" if callspec and stable != text else text


def _placed(value: Any, folder: Path) -> Any:
    """`value` with paths that do not depend on where the project lies."""
    kind = type(value)  # an object may say that it is of another
    if issubclass(kind, dict):
        return {key: _placed(each, folder) for key, each in dict.items(value)}
    if kind in (list, tuple):
        return [_placed(each, folder) for each in value]
    path = issubclass(kind, PurePath) and value.is_absolute()
    if path or (issubclass(kind, str) and str.startswith(value, f"{folder}{os.sep}")):
        return {"path": Path(os.path.relpath(value, folder)).as_posix()}
    return value
