"""Which split a case is of, by what its file says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_promptopt.labels import Label
from pytest_promptopt.pytest_engine.splits import split_of
from pytest_promptopt.records import Split
from pytest_promptopt.suites.file_case import FileCase


@pytest.mark.parametrize(
    "given",
    [
        FileCase("a", {"q": "a"}, split="train"),
        Label("a", "polite", True, None, None, Split.TRAIN, "labels.jsonl:1", "a"),
    ],
    ids=["case", "label"],
)
def test_what_a_file_calls_train_is_not_divided_by_shares(given: object) -> None:
    item: Any = SimpleNamespace(
        get_closest_marker=lambda name: None, callspec=SimpleNamespace(params={"given": given})
    )
    settings: Any = SimpleNamespace(split=(0, 50, 50))
    assert split_of(item, [], settings, "test_it.py:1") is Split.TRAIN
