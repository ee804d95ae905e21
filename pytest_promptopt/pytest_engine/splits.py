"""Which split a case belongs to: by its marks, else by a share of what makes it this case."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.labels import Label, PairLabel
from pytest_promptopt.pytest_engine.case_identity import asked_with, identity
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.records import Split
from pytest_promptopt.replay.case_identity import prompt_paths
from pytest_promptopt.replay.case_table import CaseTable
from pytest_promptopt.replay.identity_split import split_by_identity
from pytest_promptopt.settings import Settings
from pytest_promptopt.suites.file_case import FileCase


def split_of(item: pytest.Item, files: Iterable[Path], settings: Settings, where: str) -> Split:
    """The split that a case is marked for, or that its identity falls into. Raises `SettingsError`.

    :param files: its prompt files.
    """
    marked = [name for name in ("heldout", "validation") if item.get_closest_marker(name)]
    if len(marked) == 2:
        raise SettingsError(f"{where}: {item.name} is marked heldout and validation; a case has one split")
    if marked:
        return Split(marked[0])
    if settings.split is None or _is_for_training(item):
        return Split.TRAIN
    return split_by_identity(identity(item, prompt_paths(files, item.path.parent)), settings.split)


def _is_for_training(item: pytest.Item) -> bool:
    """Whether a file says so of the case or the label that it is about; there is no mark for it."""
    callspec = getattr(item, "callspec", None)
    given = () if callspec is None else callspec.params.values()
    return any(isinstance(each, FileCase | Label | PairLabel) and each.split == Split.TRAIN for each in given)


def share_strictest(cases: CaseTable[pytest.Item, PromptCase]) -> None:
    """Cases with the same prompts and parameter values ask the same: they share the strictest split."""
    groups: dict[tuple[str, ...], list[pytest.Item]] = {}
    for item, case in cases.items():
        question = asked_with(item)
        key = (case.case.pair or case.case.id,) if question is None else (*case.case.prompts, question)
        groups.setdefault(key, []).append(item)
    for members in groups.values():
        cases.share_strictest_split(members)
