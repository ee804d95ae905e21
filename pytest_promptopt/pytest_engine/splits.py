"""Which split a case belongs to: by its marks, else by a share of what makes it this case."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import pytest

from pytest_promptopt.assertions.plain_values import plain_value
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.records import Split
from pytest_promptopt.settings import Settings
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


def split_of(item: pytest.Item, files: Iterable[Path], settings: Settings, where: str) -> Split:
    """The split that a case is marked for, or that its identity falls into. Raises `SettingsError`.

    :param files: its prompt files.
    """
    marked = [name for name in ("heldout", "validation") if item.get_closest_marker(name)]
    if len(marked) == 2:
        raise SettingsError(f"{where}: {item.name} is marked heldout and validation; a case has one split")
    if marked:
        return Split(marked[0])
    if settings.split is None:
        return Split.TRAIN
    train, validation, _ = settings.split
    prompts = [Path(os.path.relpath(file, item.path.parent)).as_posix() for file in files]
    digest = hashlib.sha256(identity(item, prompts).encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return Split.TRAIN if place < train else Split.VALIDATION if place < train + validation else Split.HELDOUT


def share_strictest(cases: dict[pytest.Item, PromptCase]) -> None:
    """Cases with the same prompts and parameter values ask the same: they share the strictest split."""
    groups: dict[tuple[str, ...], list[pytest.Item]] = {}
    for item, case in cases.items():
        question = asked_with(item)
        key = (case.case.id,) if question is None else (*case.case.prompts, question)
        groups.setdefault(key, []).append(item)
    for members in groups.values():
        restrict(cases, members)


def restrict(cases: dict[pytest.Item, PromptCase], members: Collection[pytest.Item]) -> None:
    """Give all `members`, and what repeats them, the strictest split among them, in place."""
    strictest = max((cases[item].case.split for item in members), key=lambda split: split.strictness)
    changed = {cases[item].case.id for item in members if cases[item].case.split is not strictest}
    if not changed:
        return
    for item, case in cases.items():
        if case.case.id in changed:
            cases[item] = replace(case, case=replace(case.case, split=strictest))


def share_by_question(
    cases: dict[pytest.Item, PromptCase], asked: Mapping[pytest.Item, frozenset[str]]
) -> None:
    """Cases that have any model request in common, directly or through others, share the strictest split.

    :param asked: the keys of the requests of each case, as far as they are known.
    """
    groups: dict[str, tuple[list[pytest.Item], set[str]]] = {}
    for item, keys in asked.items():
        found = {id(groups[key]): groups[key] for key in keys if key in groups}
        members, together = [item], set(keys)
        for items, others in found.values():
            members += items
            together |= others
        groups |= dict.fromkeys(together, (members, together))
    for members, _ in {id(group): group for group in groups.values()}.values():
        restrict(cases, members)
