"""A failed case earns what the judge gave, only where the failed check asked the judge for more."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_promptopt.partial_credit import partial_credit
from pytest_promptopt.records import Failure
from pytest_promptopt.verdicts import Verdict


def earned(*scores: float, **why: Any) -> float:
    kind = why.pop("kind", "AssertionError")
    verdicts = [Verdict(score, (), (), (), "", "") for score in scores]
    return partial_credit(Failure(kind, "", "t.py:1", **why), verdicts)


@pytest.mark.parametrize(
    "why",
    [
        {"operator": ">=", "actual": 0.5, "constraint": "judge(answer, C).score >= 0.7"},
        {"operator": ">", "actual": 0.5, "constraint": "score > 0.7"},
        {"operator": "==", "actual": 0.5, "expected": 1},
        {"constraint": "judge(answer, C)"},
        {"constraint": "verdict"},
        {"constraint": "all(verdicts)"},
        {"constraint": "all((judge(answer, c) for c in CRITERIA))"},
        {"kind": "Failed"},
    ],
)
def test_a_score_that_was_not_enough_is_what_the_case_earns(why: dict[str, Any]) -> None:
    assert earned(0.5, **why) == 0.5


@pytest.mark.parametrize(
    "why",
    [
        {"operator": "<=", "constraint": "judge(answer, 'is rude').score <= 0.3"},
        {"operator": "<", "constraint": "judge(answer, 'is rude').score < 0.3"},
        {"operator": "!=", "constraint": "judge(answer, C).score != 1"},
        {"operator": "==", "expected": 0},
    ],
)
@pytest.mark.parametrize("score", [0.5, 1.0])
def test_a_score_that_was_too_high_earns_nothing(score: float, why: dict[str, Any]) -> None:
    assert earned(score, actual=score, **why) == 0


@pytest.mark.parametrize(
    "why",
    [
        {"operator": ">=", "actual": 1, "constraint": "answer.count('x') >= 2"},
        {"operator": "==", "actual": 1, "expected": 2},
        {"operator": ">", "actual": 1.0, "constraint": "ratio(answer) > 1"},
        {"constraint": "answer.isupper()"},
        {"constraint": "re.search(PATTERN, answer)"},
        {"kind": "KeyError"},
    ],
)
def test_another_check_earns_nothing_whatever_number_it_is_about(why: dict[str, Any]) -> None:
    assert earned(1.0, 0.2, **why) == 0
