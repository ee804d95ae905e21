"""A judge's new text is taken only when it is shown to judge better, and in no way worse."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.optimizer.judge_guard import LabelVerdicts, why_no_better_judge, why_unjudged
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status


def judged(labelled: str, before: bool, after: bool, count: int) -> list[tuple[CaseResult, CaseResult]]:
    """So many labels of a class, right or wrong under each text."""
    pairs = []
    for number in range(count):
        case = Case(f"{labelled}-{before}-{after}-{number}", ("judge.md",), Split.HELDOUT, labelled=labelled)
        old, new = (
            CaseResult(case, (Outcome(case.id, Status.PASSED if right else Status.FAILED, float(right)),))
            for right in (before, after)
        )
        pairs.append((old, new))
    return pairs


def verdicts(*groups: tuple[str, bool, bool, int]) -> LabelVerdicts:
    pairs = [pair for group in groups for pair in judged(*group)]
    return LabelVerdicts.of([old for old, _ in pairs], [new for _, new in pairs])


STEADY = (("good", True, True, 10), ("bad", True, True, 10))


def test_more_good_answers_are_found_and_none_is_lost() -> None:
    found = verdicts(*STEADY, ("good", False, True, 6))
    assert (found.recall(False), found.recall(True)) == (10 / 16, 1.0)
    assert found.p_recall == 1 / 64
    assert why_no_better_judge(found, 0.05) == ""


def test_five_more_may_be_chance_where_two_figures_may_rise() -> None:
    why = why_no_better_judge(verdicts(*STEADY, ("good", False, True, 5)), 0.05)
    assert why == (
        "neither precision nor recall is shown to rise (on 25 held-out labels precision 1.00 to 1.00, "
        "recall 0.67 to 1.00; p = 0.031, 0.025 is asked)"
    )


def test_fewer_bad_answers_pass() -> None:
    found = verdicts(*STEADY, ("bad", False, True, 8))
    assert (found.precision(False), found.precision(True)) == (10 / 18, 1.0)
    assert found.p_precision == 1 / 256
    assert why_no_better_judge(found, 0.05) == ""


def test_one_figure_must_not_pay_for_the_other() -> None:
    """It agrees with the labels far more often, by calling more answers good, bad ones too."""
    found = verdicts(*STEADY, ("good", False, True, 30), ("bad", True, False, 5))
    assert why_no_better_judge(found, 0.05) == (
        "its precision falls (on 55 held-out labels precision 1.00 to 0.89, recall 0.25 to 1.00)"
    )


def test_without_held_out_labels_nothing_is_shown() -> None:
    assert "no held-out label" in why_no_better_judge(verdicts(), 0.05)
    other = judged("", True, False, 3)
    assert LabelVerdicts.of([old for old, _ in other], [new for _, new in other]).labels == 0


@pytest.mark.parametrize("changes", [(1, 0, 2, 1), (2, 1, 1, 0), (0, 0, 3, 0), (2, 2, 2, 2)])
def test_the_chance_of_a_rise_of_precision_is_that_of_all_exchanges(
    changes: tuple[int, int, int, int],
) -> None:
    won, lost, righted, wronged = changes
    found = verdicts(
        ("good", True, True, 3),
        ("bad", False, False, 2),
        ("good", False, True, won),
        ("good", True, False, lost),
        ("bad", False, True, righted),
        ("bad", True, False, wronged),
    )
    seen = found.precision(True) - found.precision(False)
    labels = ["good"] * (won + lost) + ["bad"] * (righted + wronged)
    as_high = 0
    for sides in product((False, True), repeat=len(labels)):  # which text is right
        new_true = 3 + sum(side for label, side in zip(labels, sides, strict=True) if label == "good")
        new_false = 2 + sum(not side for label, side in zip(labels, sides, strict=True) if label == "bad")
        old_true = 3 + sum(not side for label, side in zip(labels, sides, strict=True) if label == "good")
        old_false = 2 + sum(side for label, side in zip(labels, sides, strict=True) if label == "bad")
        gain = new_true / (new_true + new_false) - old_true / (old_true + old_false)
        as_high += gain >= seen - 1e-9
    assert found.p_precision == pytest.approx(as_high / 2 ** len(labels))


@given(st.lists(st.tuples(st.sampled_from(["good", "bad"]), st.booleans(), st.booleans()), max_size=30))
def test_whatever_is_judged_there_is_a_decision(rows: list[tuple[str, bool, bool]]) -> None:
    pairs = [
        pair
        for number, (label, one, two) in enumerate(rows)
        for pair in [
            (
                _result(f"{number}", label, one),
                _result(f"{number}", label, two),
            )
        ]
    ]
    found = LabelVerdicts.of([old for old, _ in pairs], [new for _, new in pairs])
    assert found.labels == len(rows)
    assert 0 < found.p_precision <= 1
    if not why_no_better_judge(found, 0.05):
        assert found.precision(True) >= found.precision(False)
        assert found.recall(True) >= found.recall(False)


def _result(name: str, labelled: str, right: bool) -> CaseResult:
    case = Case(name, ("judge.md",), Split.HELDOUT, labelled=labelled)
    return CaseResult(case, (Outcome(name, Status.PASSED if right else Status.FAILED, float(right)),))


def results(*seen: str) -> list[CaseResult]:
    """Of a case each: whether it was ``judged``, got no ``verdict``, or its model was ``down``."""
    found = []
    for number, each in enumerate(seen):
        case = Case(f"t.py::test[{number}]", ("p.md",), Split.TRAIN)
        status = Status.PASSED if each == "judged" else Status.ERRORED
        outcome = Outcome(case.id, status, float(each == "judged"), unjudged=each == "verdict")
        found.append(CaseResult(case, (outcome,)))
    return found


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (["judged"] * 9, ["judged"] * 4 + ["verdict"] * 5, True),
        (["judged"] * 9, ["judged"] * 5 + ["verdict"] * 4, False),
        (["verdict"] * 5 + ["judged"] * 5, ["judged"] * 5 + ["verdict"] * 5, False),
        (["verdict"] * 9, ["verdict"] * 9, False),
        (["judged"] * 9, ["down"] * 9, False),
    ],
)
def test_a_text_may_not_hide_answers_from_the_judge(before: list[str], after: list[str], said: bool) -> None:
    assert bool(why_unjudged(results(*before), results(*after), 0.05)) is said
