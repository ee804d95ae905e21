"""Which split a case belongs to: by its marks, else by a share of what makes it this case."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.pytest_engine.case_identity import asked_with, identity
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.searched_case import SearchedCase
from pytest_promptopt.records import Split
from pytest_promptopt.settings import Settings

K = TypeVar("K")
C = TypeVar("C", bound=SearchedCase)


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


def restrict(cases: dict[K, C], members: Collection[K]) -> None:
    """Give all `members`, and what repeats them, the strictest split among them, in place."""
    strictest = max((cases[item].case.split for item in members), key=lambda split: split.strictness)
    changed = {cases[item].case.id for item in members if cases[item].case.split is not strictest}
    if not changed:
        return
    for item, case in cases.items():
        if case.case.id in changed:
            cases[item] = replace(case, case=replace(case.case, split=strictest))


def with_splits(cases: dict[K, C], splits: Mapping[str, Split]) -> None:
    """Give cases, by their ids, other splits, in place."""
    for item, case in cases.items():
        if case.case.id in splits:
            cases[item] = replace(case, case=replace(case.case, split=splits[case.case.id]))


def share_by_question(cases: dict[K, C], asked: Mapping[K, frozenset[str]]) -> None:
    """Cases that have any model request in common, directly or through others, share the strictest split.

    :param asked: the keys of the requests of each case, as far as they are known.
    """
    groups: dict[str, tuple[list[K], set[str]]] = {}
    for item, keys in asked.items():
        found = {id(groups[key]): groups[key] for key in keys if key in groups}
        members, together = [item], set(keys)
        for items, others in found.values():
            members += items
            together |= others
        groups |= dict.fromkeys(together, (members, together))
    for members, _ in {id(group): group for group in groups.values()}.values():
        restrict(cases, members)
