"""Which split a case belongs to: by its marks, else by a share of what makes it this case."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.evaluation.case import PromptCase
from pytest_promptopt.evaluation.values import plain
from pytest_promptopt.records import Split
from pytest_promptopt.settings import Settings

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def identity(item: pytest.Item, prompts: Sequence[str]) -> str:
    """What makes a case this case: its prompts and its parameter values, or its place when it has none.

    Adding, removing or reordering other cases changes nothing, nor does an xdist ``@group`` suffix.
    """
    callspec = getattr(item, "callspec", None)
    if callspec is None or not callspec.params:
        assert item.parent is not None
        return json.dumps([list(prompts), item.parent.nodeid, item.name])
    text = json.dumps([list(prompts), plain(callspec.params)], sort_keys=True)
    # Where objects live differs from process to process, so their test ids tell them apart.
    return f"{_ADDRESS.sub('', text)} {callspec.id}" if _ADDRESS.search(text) else text


def split_of(item: pytest.Item, prompts: Sequence[str], settings: Settings, where: str) -> Split:
    """The split that a case is marked for, or that its identity falls into. Raises `SettingsError`."""
    marked = [name for name in ("heldout", "validation") if item.get_closest_marker(name)]
    if len(marked) == 2:
        raise SettingsError(f"{where}: {item.name} is marked heldout and validation; a case has one split")
    if marked:
        return Split(marked[0])
    if settings.split is None:
        return Split.TRAIN
    train, validation, _ = settings.split
    digest = hashlib.sha256(identity(item, prompts).encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return Split.TRAIN if place < train else Split.VALIDATION if place < train + validation else Split.HELDOUT


def share_strictest(cases: dict[pytest.Item, PromptCase]) -> None:
    """Cases with the same prompts and parameter values ask the same: they share the strictest split."""
    groups: dict[str, list[pytest.Item]] = {}
    for item, case in cases.items():
        groups.setdefault(identity(item, case.case.prompts), []).append(item)
    for members in groups.values():
        restrict(cases, members)


def restrict(cases: dict[pytest.Item, PromptCase], members: Sequence[pytest.Item]) -> None:
    """Give all `members` the strictest split among them, in place."""
    strictest = max((cases[item].case.split for item in members), key=lambda split: split.strictness)
    for item in members:
        case = cases[item]
        if case.case.split is not strictest:
            cases[item] = replace(case, case=replace(case.case, split=strictest))
