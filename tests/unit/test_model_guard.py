"""One text for several models: which falls are shown, and by what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.model_guard import (
    changes_by_model,
    fall_in_search,
    fall_on_unseen,
    lost_cases,
    newest_without_fall,
)
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.settings import Settings

SETTINGS = Settings(rootdir=Path("."))


def results(split: Split = Split.TRAIN, **verdicts: str) -> list[CaseResult]:
    """Of each model a letter per case: ``+`` passed, ``-`` failed, ``?`` errored."""
    found = []
    for model, letters in verdicts.items():
        for number, letter in enumerate(letters):
            id = f"{split}-{number}-{model}"
            status = {"+": Status.PASSED, "-": Status.FAILED, "?": Status.ERRORED}[letter]
            case = Case(id, ("p.md",), split, models=(f"house/{model}",))
            found.append(CaseResult(case, (Outcome(id, status, float(letter == "+")),)))
    return found


BEFORE = results(old="++++++++", new="--------")
#: Better on the mean, and with the old model worse on 5 cases: p = 1/32.
HARMFUL = results(old="-----+++", new="++++++++")
#: With 4 cases it may be chance: p = 1/16.
UNLUCKY = results(old="----++++", new="++++++++")


def test_a_fall_with_one_model_is_shown_however_much_others_gain() -> None:
    fall = fall_in_search(BEFORE, HARMFUL, 0.05)
    assert fall is not None
    assert fall.model == "house/old"
    assert fall.why == (
        "with house/old it is worse than the original: on train and validation cases, 100.0% to 37.5% of 8 "
        "cases, 0 fixed, 5 broken"
    )


def test_what_chance_explains_is_no_fall() -> None:
    assert fall_in_search(BEFORE, UNLUCKY, 0.05) is None
    assert fall_in_search(BEFORE, UNLUCKY, 0.1) is not None


def test_with_one_model_nothing_is_looked_at() -> None:
    assert fall_in_search(results(old="+" * 9), results(old="-" * 9), 0.05) is None
    assert fall_on_unseen([*zip(results(old="+" * 9), results(old="-" * 9), strict=True)], 0.05) is None
    assert changes_by_model({Split.TRAIN: (results(old="+"), results(old="-"))}) == ()


def test_fresh_answers_and_held_out_cases_count_together() -> None:
    """Neither of them alone is enough."""
    fresh = list(zip(results(old="++++", new="----"), results(old="---+", new="++++"), strict=True))
    held = (
        results(Split.HELDOUT, old="++++", new="----"),
        results(Split.HELDOUT, old="--++", new="++++"),
    )
    heldout = list(zip(*held, strict=True))
    assert fall_on_unseen(fresh, 0.05) is None
    assert fall_on_unseen(heldout, 0.05) is None
    fall = fall_on_unseen([*fresh, *heldout], 0.05)
    assert fall is not None
    assert (fall.model, "-62.5 points over 8 cases" in fall.why) == ("house/old", True)


def test_a_case_that_was_asked_often_counts_once() -> None:
    pair = list(zip(results(old="+", new="-"), results(old="-", new="+"), strict=True))
    assert fall_on_unseen(pair * 20, 0.05) is None


def test_a_case_without_an_answer_is_no_evidence() -> None:
    assert fall_in_search(BEFORE, results(old="?????+++", new="++++++++"), 0.05) is None


class TestSearch:
    def test_cases_that_a_fall_breaks_are_lost(self) -> None:
        lost = lost_cases(BEFORE, HARMFUL, SETTINGS)
        assert lost == tuple(f"train-{number}-old" for number in range(5))
        assert lost_cases(BEFORE, UNLUCKY, SETTINGS) == ()

    def test_where_none_may_be_broken_each_is_lost(self) -> None:
        strict = replace(SETTINGS, no_regressions=True)
        assert len(lost_cases(BEFORE, UNLUCKY, strict)) == 4

    def test_the_newest_text_without_a_fall_is_taken_and_the_others_are_told(self) -> None:
        versions = [EvaluatedCandidate(id, {}, {}) for id in ("0", "1.1", "2.1", "3.1")]
        notes: list[str] = []
        harmful = {"2.1": ("a", "b"), "3.1": ("c",)}
        found = newest_without_fall(versions, lambda version: harmful.get(version.id, ()), notes)
        assert found.id == "1.1"
        assert notes == [
            "candidate 3.1 is worse with one of the models: it fails 1 case that the original passed (c)",
            "candidate 2.1 is worse with one of the models: it fails 2 cases that the original passed (a)",
        ]

    def test_if_all_fall_the_original_stays(self) -> None:
        versions = [EvaluatedCandidate(id, {}, {}) for id in ("0", "1.1")]
        assert newest_without_fall(versions, lambda version: ("a",), []).id == "0"

    def test_the_incumbent_is_told_once(self) -> None:
        version = EvaluatedCandidate("1.1", {}, {})
        notes: list[str] = []
        newest_without_fall([EvaluatedCandidate("0", {}, {}), version, version], lambda _: ("a",), notes)
        assert len(notes) == 1


def test_each_model_has_its_scores() -> None:
    scored = {
        Split.TRAIN: (BEFORE, HARMFUL),
        Split.HELDOUT: (
            results(Split.HELDOUT, old="++", new="--"),
            results(Split.HELDOUT, old="+-", new="++"),
        ),
    }
    old, new = changes_by_model(scored)
    assert [(s.split, s.before, s.after, s.cases) for s in old.scores] == [
        (Split.TRAIN, 1.0, pytest.approx(0.375), 8),
        (Split.HELDOUT, 1.0, 0.5, 2),
    ]
    assert [(s.before, s.after) for s in new.scores] == [(0.0, 1.0), (0.0, 1.0)]
