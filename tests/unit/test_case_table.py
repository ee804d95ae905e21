"""The cases of a run: one table for all who run them or decide on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Case, Request, Split
from pytest_promptopt.replay.case_table import CaseTable


@dataclass(frozen=True)
class Listed:
    """A case of a list."""

    case: Case
    files: Mapping[str, PromptFile] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    path: Path | None = None
    identity: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def model_of(self, file: PromptFile) -> str:
        return "demo"

    def bare_request(self, file: PromptFile) -> Request:
        return Request("demo", ())


def table(**splits: Split) -> CaseTable[str, Listed]:
    """A case for each name; what stands behind an underscore tells items of one case apart."""
    return CaseTable(
        {name: Listed(Case(name.partition("_")[0], ("p.md",), split)) for name, split in splits.items()}
    )


def splits(cases: CaseTable[str, Listed]) -> dict[str, Split]:
    return {name: each.case.split for name, each in cases.items()}


def test_cases_that_ask_the_same_share_the_strictest_split() -> None:
    """Also through others: `a` and `c` have nothing in common but `b`."""
    cases = table(a=Split.TRAIN, b=Split.VALIDATION, c=Split.HELDOUT, d=Split.TRAIN)
    asked = {"a": {"1"}, "b": {"1", "2"}, "c": {"2"}, "d": set[str]()}
    cases.share_by_question({name: frozenset(keys) for name, keys in asked.items()})
    assert splits(cases) == dict.fromkeys("abc", Split.HELDOUT) | {"d": Split.TRAIN}


def test_items_of_one_case_have_one_split() -> None:
    """Only the first is asked what it asks."""
    cases = table(a=Split.TRAIN, a_2=Split.TRAIN, b=Split.VALIDATION)
    cases.share_by_question({"a": frozenset("1"), "b": frozenset("1")})
    assert splits(cases) == dict.fromkeys(("a", "a_2", "b"), Split.VALIDATION)
    assert [case.id for case in cases.distinct] == ["a", "b"]


def test_splits_are_given_by_the_ids_of_cases() -> None:
    cases = table(a=Split.TRAIN, a_2=Split.TRAIN, b=Split.TRAIN)
    cases.give_splits({"a": Split.HELDOUT, "gone": Split.HELDOUT})
    assert splits(cases) == {"a": Split.HELDOUT, "a_2": Split.HELDOUT, "b": Split.TRAIN}


def test_a_new_text_reaches_all_cases_of_its_file_and_everybody_who_has_the_table(tmp_path: Path) -> None:
    for name in ("p.md", "q.md"):
        (tmp_path / name).write_text("old {{ x }}")
    p, q = (PromptFile.load(tmp_path / name, rootdir=tmp_path) for name in ("p.md", "q.md"))
    cases = CaseTable(
        {
            "one": Listed(Case("one", ("p.md",), Split.TRAIN), {"": p}),
            "both": Listed(Case("both", ("p.md", "q.md"), Split.TRAIN), {"first": p, "second": q}),
            "other": Listed(Case("other", ("q.md",), Split.TRAIN), {"": q}),
        }
    )
    (tmp_path / "p.md").write_text("new {{ x }}")
    cases.use_file(PromptFile.load(tmp_path / "p.md", rootdir=tmp_path))
    texts = {name: [file.prose for file in case.files.values()] for name, case in cases.items()}
    assert texts == {"one": ["new {{ x }}"], "both": ["new {{ x }}", "old {{ x }}"], "other": ["old {{ x }}"]}


def test_nobody_else_can_put_a_case_into_it() -> None:
    cases: Any = table(a=Split.TRAIN)
    with pytest.raises(TypeError):
        cases["a"] = None


def test_calls_that_were_seen_are_told_where_they_are_more_than_the_prompts() -> None:
    cases = table(a=Split.TRAIN, a_2=Split.TRAIN, b=Split.TRAIN)
    untouched = cases["b"]
    cases.give_calls({"a": 3, "b": 1, "gone": 9})
    assert [case.case.calls_per_run for case in cases.values()] == [3, 3, 1]
    assert cases["b"] is untouched


def test_the_cases_of_a_model_that_is_left_count_nowhere_and_share_the_splits() -> None:
    cases = table(a=Split.TRAIN, b=Split.TRAIN)
    for id in "ab":
        old = replace(cases[id].case, id=f"{id} old", reference=id)
        cases.add({old.id: replace(cases[id], case=old)})
    assert [case.id for case in cases.distinct] == ["a", "b"]
    assert cases.references == {"a": "a old", "b": "b old"}
    cases.give_splits({"b": Split.HELDOUT})
    splits = {case.case.id: case.case.split for case in cases.values()}
    assert splits == {
        "a": Split.TRAIN,
        "b": Split.HELDOUT,
        "a old": Split.TRAIN,
        "b old": Split.HELDOUT,
    }


def test_a_case_has_one_split_under_all_models() -> None:
    cases = table(ax=Split.TRAIN, ay=Split.TRAIN, bx=Split.HELDOUT)
    cases.add({id: replace(case, case=replace(case.case, pair=id[0])) for id, case in cases.items()})
    # Under one model it turns out to ask what a held-out case asks.
    asked = {"ax": frozenset({"same"}), "ay": frozenset({"other"}), "bx": frozenset({"same"})}
    cases.share_by_question(asked)
    assert {case.case.split for case in cases.values()} == {Split.HELDOUT}
