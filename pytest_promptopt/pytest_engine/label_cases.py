"""``@pytest.mark.judge_labels``: labelled answers, as the cases of a test and to test a judge by."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.grading.judge_trust import LabelFile
from pytest_promptopt.labels import AnyLabel, Label, PairLabel
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.records import Split
from pytest_promptopt.settings import Settings

MARK = "judge_labels"

#: A test with this argument has a case for each label.
ARGUMENT = "label"


def parametrize_labels(metafunc: pytest.Metafunc, settings: Settings) -> None:
    """Give a marked test a case for each label. Raises `SettingsError`."""
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None or ARGUMENT not in metafunc.fixturenames:
        return
    labels = [label for file in _files(metafunc.definition, mark, settings) for label in file.labels()]
    metafunc.parametrize(
        ARGUMENT,
        [
            pytest.param(
                label,
                id=label.id,
                marks=[getattr(pytest.mark, label.split)] if label.split not in (None, "train") else [],
            )
            for label in labels
        ],
    )


def seen_labels(cases: Iterable[PromptCase]) -> frozenset[AnyLabel]:
    """Labels that an optimization of the judge's own prompt may see, where others are held out from it."""
    found: dict[Split, set[AnyLabel]] = {split: set() for split in Split}
    for case in cases:
        for value in case.values.values():
            if isinstance(value, Label | PairLabel):
                found[case.case.split].add(value)
    if not found[Split.HELDOUT]:
        return frozenset()
    return frozenset(found[Split.TRAIN] | found[Split.VALIDATION])


def label_files(items: Iterable[pytest.Item], settings: Settings) -> tuple[LabelFile, ...]:
    """All files that the marks of `items` and the settings name, each once. Raises `SettingsError`."""
    found = [
        file for item in items for mark in item.iter_markers(MARK) for file in _files(item, mark, settings)
    ]
    named = {file.path for file in found}  # with the criterion of their marks
    others = [_file(settings.rootdir / path, settings) for path in settings.judge_labels]
    return tuple(dict.fromkeys([*found, *(file for file in others if file.path not in named)]))


def _files(node: pytest.Item, mark: pytest.Mark, settings: Settings) -> list[LabelFile]:
    path, line, _ = node.location
    where = path if line is None else f"{path}:{line + 1}"
    accepted = "@pytest.mark.judge_labels(path, ..., criterion=None)"
    unknown = set(mark.kwargs) - {"criterion"}
    criterion = mark.kwargs.get("criterion") or ""
    if unknown or not isinstance(criterion, str):
        given = ", ".join(f"{name}={mark.kwargs[name]!r}" for name in sorted(unknown or {"criterion"}))
        raise SettingsError(f"{where}: judge_labels has {given}; accepted is {accepted}")
    paths = [_located(spec, node, settings, where) for spec in mark.args]
    if not mark.args:
        paths = [settings.rootdir / each for each in settings.judge_labels]
    if not paths:
        raise SettingsError(
            f"{where}: judge_labels names no file, and the ini value promptopt_judge_labels neither; "
            f"accepted is {accepted}"
        )
    return [_file(path, settings, criterion) for path in paths]


def _file(path: Path, settings: Settings, criterion: str = "") -> LabelFile:
    """The same one, however its path is spelled."""
    return LabelFile(Path(os.path.normpath(path)), settings.rootdir, criterion)


def _located(spec: object, node: pytest.Item, settings: Settings, where: str) -> Path:
    if not isinstance(spec, str | Path) or not str(spec).strip() or "\0" in str(spec):
        raise SettingsError(f"{where}: judge_labels takes paths of files, got {spec!r}")
    candidates = list(dict.fromkeys((node.path.parent / spec, settings.rootdir / spec)))
    for candidate in candidates:
        if os.path.isfile(candidate):
            return candidate
    looked = " and ".join(map(str, candidates))
    raise SettingsError(f"{where}: there is no file of labels '{spec}'; looked for {looked}")
